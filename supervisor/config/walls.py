"""Which walls the host worker of an agent gets on this machine (ARCHITECTURE 6). Pure.

    root, may mount       own uid, own mount namespace (state folder and closed folders covered), Landlock domain
    root, may not mount   own uid, Landlock below everything that is not its own
    not root, may mount   the same mounts by way of a user namespace, Landlock domain
    not root              Landlock below everything that is not its own

A workspace that belongs to a user of this machine keeps its owner, and the agent runs as that user. Several agents may
then have one uid: mounts and Landlock stand between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from protocol.config import AgentLimits
from protocol.slices import Bind, Limits, Walls, WorkerSlice

#: Largest file one command may write, in bytes; and processes of one agent where its uid is its own.
MAX_FILE_SIZE = 8 * 1024**3
MAX_PROCESSES = 512
#: Weight of an agent against the router and the supervisor (1024 each).
CPU_SHARES = 256
#: Where a program of the same user, or of the right group, would start whatever it is asked to, outside of all walls.
_ENGINES = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")
_SESSION = "/run/user"
_GROUPS = "/sys/fs/cgroup"


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine and our user allow. `runtime` are the folders of the interpreter and of our packages.

    `user` is our uid, `uids` tells whether other uids can be had. `landlock` is the kernel's ABI, 0
    for none; `memory` and `cpus` are the machine's, in bytes and in processors.
    """

    user: int = 0
    uids: bool = False
    mounts: Literal["", "root", "user"] = ""
    landlock: int = 0
    runtime: tuple[str, ...] = ()
    memory: int = 0
    cpus: int = 0


class Owner(msgspec.Struct, frozen=True):
    """Whom an agent runs as; uid 0 for the gateway's own user. `own`: nobody else ever has this uid."""

    uid: int = 0
    gid: int = 0
    own: bool = False


def walls_for(
    told: WorkerSlice,
    ground: Ground,
    owner: Owner,
    state: str,
    config_files: Iterable[str],
    processes: int = MAX_PROCESSES,
) -> Walls:
    """The walls of one agent's host worker.

    `state` is the state folder, `config_files` the configuration and its copies; only those outside of the state folder
    matter. `processes` is how many a user may have at once that is the agent's own.
    """
    own, skills = (told.workspace, told.sessions), f"{state}/skills"
    sockets = (_folder(told.link_socket), _folder(told.proxy_socket))
    outside = tuple(path for path in config_files if not _inside(path, state))
    folders = tuple(path for path in told.forbidden_paths if path not in outside)
    folders = tuple(dict.fromkeys((state, *folders, *_doors(ground, owner))))
    # What else is allowed are the workspaces of agents that share theirs.
    writable = tuple(dict.fromkeys((*own, *(path for path in told.allowed_paths if path != skills))))
    readable = (skills, *sockets)
    plain = Walls(
        uid=owner.uid,
        gid=owner.gid,
        denied=outside,
        needed=(*own, *sockets),
        max_processes=processes if owner.own else 0,
        max_file_size=MAX_FILE_SIZE,
    )
    if ground.mounts:
        binds = (*(Bind(path=path, writable=True) for path in writable), *map(_bind, readable))
        return replace(plain, mounts=ground.mounts, covers=folders, binds=(*binds, *map(_bind, ground.runtime)))
    below = tuple(path for path in ground.runtime if any(_inside(path, one) for one in folders))
    return replace(plain, denied=(*folders, *outside), readable=(*readable, *below), writable=writable)


def _doors(ground: Ground, owner: Owner) -> tuple[str, ...]:
    """Ways around the walls for who runs as a user that others run as, too."""
    if owner.own:
        return _ENGINES
    # A control group that was delegated to our user could be left by an agent of the same user.
    return (*_ENGINES, f"{_SESSION}/{owner.uid or ground.user}", *(() if owner.uid else (_GROUPS,)))


def limits_for(ground: Ground, own: AgentLimits | None, shared: AgentLimits | None) -> Limits:
    """What an agent may use: its own settings over the defaults', else half of the machine's memory and a modest number
    of processes."""
    own, shared = own or AgentLimits(), shared or AgentLimits()
    return Limits(
        memory=_bytes(_first(own.memory, shared.memory, ground.memory // 2)),
        disk=_bytes(_first(own.disk, shared.disk, 0)),
        pids=_first(own.pids, shared.pids, MAX_PROCESSES),
        cpus=_first(own.cpus, shared.cpus, ground.cpus / 2),
        shares=CPU_SHARES,
    )


def weaknesses(ground: Ground, root: bool) -> tuple[str, ...]:
    """What is missing on this machine, one line each, for the log and for `doctor`."""
    found = []
    if root and not ground.uids:
        found.append(
            "agents cannot be given users of their own here (capabilities SETUID, SETGID, CHOWN or the user namespace's"
            " map are missing): all run as the gateway's user"
        )
    if root and not ground.mounts:
        found.append(
            "agents cannot be given file trees of their own here (capability SYS_ADMIN is missing): an agent cannot be"
            " started below a folder that is closed to it"
        )
    if not ground.landlock:
        found.append("this kernel has no Landlock: one wall between agents is missing")
    if not ground.landlock and not ground.mounts and not ground.uids:
        found.append("agents on the host can read each other's files; sandbox.mode=all separates them")
    return tuple(found)


def _bytes(size: int | str) -> int:
    """`512m`, as Docker writes sizes."""
    text = str(size)
    factor = 1024 ** (1 + "kmgt".index(text[-1])) if text[-1] in "kmgt" else 1
    return int(float(text.rstrip("kmgt")) * factor)


def _first(*values: Any) -> Any:
    """The first that is set; the last is the default."""
    return next((value for value in values if value is not None), values[-1])


def _bind(path: str) -> Bind:
    return Bind(path=path)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
