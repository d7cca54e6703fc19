"""What one container is to be, said completely: the configuration is read nowhere behind this point. Pure.

Two specs that are equal make the same container; one that differs makes a new one (`digest`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

#: Where things are inside. The agent's own folders first, then what belongs to the gateway.
WORKSPACE, AGENT_WORKSPACE = "/workspace", "/agent"
OWN = "/openclaw"
SESSIONS, LINK, PROXY, BOOT = f"{OWN}/sessions", f"{OWN}/link", f"{OWN}/proxy", f"{OWN}/boot"
#: The socket in BOOT where the first process of a container reports to the supervisor.
BOOT_SOCKET = "boot"


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of the host inside the container."""

    source: str
    target: str
    read_only: bool = True


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that must be there, and be the worker's, before its container is made.

    `seeded_from`: whose first files it gets. `is_link`: it holds a socket that the router makes and the worker uses.
    """

    path: str
    seeded_from: str = ""
    is_link: bool = False


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One container, for the sessions of one scope key.

    `agents` are those whose workers it may hold. `uid` and `gid` are what its processes run as; 0 where a launcher
    gives each worker a uid of its own (scope shared). `docker` holds the checked `sandbox.docker` settings, `setup` the
    commands that are run once in its image. `boot_folder` is the host's folder of BOOT. `owner` names the gateway, so
    that two gateways on one machine leave each other's containers alone.
    """

    name: str
    scope_key: str
    agents: tuple[str, ...]
    image: str
    uid: int
    gid: int
    mounts: tuple[Mount, ...]
    boot_folder: str
    owner: str
    setup: str = ""
    docker: Mapping[str, Any] = {}

    @property
    def launches(self) -> bool:
        """Whether its first process makes workers under uids of their own."""
        return self.uid == 0


def owner_of(state: Path) -> str:
    """Names the gateway of this state folder."""
    return hashlib.sha256(str(state).encode()).hexdigest()[:16]


def digest(spec: ContainerSpec) -> str:
    """Label `openclaw.configHash` (SPEC 5.8): 64 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()
