"""Workers in containers: the container's own first process forks them (worker/container.py), so none costs a
`docker exec` and a new one is there in milliseconds.

The Docker daemon is asked only when a container is made, stopped or removed. Nothing here runs while no agent is
sandboxed, and a daemon that comes back is used at the next spawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from protocol.tasks import Tasks
from supervisor.logs import Journal
from supervisor.sandbox.containers import Containers, Keep
from supervisor.sandbox.engine import Engine
from supervisor.sandbox.registry import Entry
from supervisor.spawners.base import Handle, HandleInfo, SpawnError, SpawnSpec


class DockerSpawner:
    """The Spawner of everything that has a container."""

    def __init__(self, containers: Containers) -> None:
        self.containers = containers

    @classmethod
    def of(cls, state: Path, owner: str, seccomp: str, journal: Journal, tasks: Tasks, host: str = "") -> DockerSpawner:
        """The usual one. `owner` is that of the ContainerSpecs, `seccomp` the text of our profile (JSON), `host` the
        daemon's address, empty for what the environment says. Touches neither Docker nor the disk."""
        return cls(Containers(Engine(host), state / "sandbox", owner, seccomp, journal, tasks))

    async def spawn(self, spec: SpawnSpec) -> Handle:
        """Raises SpawnError with what to type. May take minutes the first time (`setupCommand`)."""
        raise SpawnError("not built yet")

    async def restore(self, info: HandleInfo) -> Handle | None:
        """Always None: a container's process ends when the supervisor's end of its socket does."""
        return None

    async def reap(self, known: Collection[str], agents: Collection[str]) -> None:
        """At start: remove containers of ours that nobody will ask for. Never raises."""

    async def prune(self, keeps: Mapping[str, Keep], default: Keep) -> None:
        """Now and then: remove what has been idle or is old, by container name. Never raises."""

    async def remove(self, names: Collection[str]) -> list[str]:
        """`sandbox recreate`: remove them; their workers end and come back in new ones. Raises SpawnError."""
        return []

    async def rows(self) -> list[Entry]:
        """What `sandbox list` shows."""
        return []

    async def close(self) -> None:
        """The gateway ends: all containers end; they are kept for the next start."""
