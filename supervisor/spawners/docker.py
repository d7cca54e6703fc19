"""Workers in containers: the container's own first process forks them (worker/container.py), so none costs a
`docker exec` and a new one is there in milliseconds.

The Docker daemon is asked only when a container is made, stopped or removed. Nothing here runs while no agent is
sandboxed, and a daemon that comes back is used at the next spawn.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from protocol.pipe import frame, make_pair
from protocol.tasks import Tasks
from supervisor.logs import Journal
from supervisor.sandbox.box import BoxWorker
from supervisor.sandbox.containers import Containers, Keep
from supervisor.sandbox.engine import Engine
from supervisor.sandbox.spec import ContainerSpec
from supervisor.spawners.base import Handle, HandleInfo, SpawnError, SpawnSpec

#: Seconds for a new worker to take its boot message.
BOOTED_WITHIN = 10.0


class DockerSpawner:
    """The Spawner of everything that has a container. `admit` has a last look at each before it is made."""

    def __init__(
        self, containers: Containers, admit: Callable[[ContainerSpec], ContainerSpec] = lambda spec: spec
    ) -> None:
        self.containers = containers
        self._admit = admit

    @classmethod
    def of(cls, state: Path, owner: str, seccomp: str, journal: Journal, tasks: Tasks, host: str = "") -> DockerSpawner:
        """The usual one. `owner` is that of the ContainerSpecs, `seccomp` the text of our profile (JSON), `host` the
        daemon's address, empty for what the environment says. Touches neither Docker nor the disk."""
        return cls(Containers(Engine(host), state / "sandbox", owner, seccomp, journal, tasks))

    async def spawn(self, spec: SpawnSpec) -> Handle:
        """Raises SpawnError with what to type. May take minutes the first time (`setupCommand`)."""
        if spec.container is None:
            raise SpawnError("this worker is to have no container")
        ours, theirs = make_pair()
        with ours:
            with theirs:
                worker = await self._launch(spec, spec.container, theirs.fileno())
            ours.setblocking(False)
            try:
                async with asyncio.timeout(BOOTED_WITHIN):
                    await asyncio.get_running_loop().sock_sendall(ours, frame(spec.boot))
            except (OSError, TimeoutError):
                # It has ended or hangs: either way its end is reported like any other.
                worker.kill()
        return worker

    async def _launch(self, spec: SpawnSpec, container: ContainerSpec, boot_fd: int) -> BoxWorker:
        log_fd = os.dup(spec.log_fd)
        try:
            container = self._admit(container)
            box = await self.containers.ensure(container)
            uid, gid = (spec.uid, spec.gid) if container.launches else (0, 0)
            return await box.launch(spec.title, uid, gid, [boot_fd, log_fd])
        finally:
            os.close(log_fd)

    async def restore(self, info: HandleInfo) -> Handle | None:
        """Always None: a container's process ends when the supervisor's end of its socket does."""
        return None

    async def reap(self, known: Collection[str], agents: Collection[str]) -> None:
        """At start: remove containers of ours that nobody will ask for. Never raises. See Containers.reap."""
        await self.containers.reap(known, agents)

    async def prune(self, keeps: Mapping[str, Keep], default: Keep) -> list[str]:
        """Now and then: remove what has been idle or is old, by container name. Raises SpawnError."""
        return await self.containers.prune(keeps, default)

    async def remove(self, names: Collection[str]) -> list[str]:
        """`sandbox recreate`: remove them; their workers end and come back in new ones. Raises SpawnError."""
        return await self.containers.remove(names)

    async def close(self) -> None:
        """The gateway ends: all containers end; they are kept for the next start."""
        await self.containers.close()
