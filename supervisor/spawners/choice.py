"""One spawner for all workers: those with a container go to Docker, the others are processes of this machine.

There is no third way and no way from one to the other: a worker that is to live in a container is never made on the
host because Docker is not there.
"""

from __future__ import annotations

import asyncio

from supervisor.sandbox import rooms
from supervisor.spawners.base import Handle, HandleInfo, Spawner, SpawnSpec


class ChoiceSpawner:
    """Sends each worker to where its specification says."""

    def __init__(self, local: Spawner, containers: Spawner) -> None:
        self._local = local
        self._containers = containers

    async def spawn(self, spec: SpawnSpec) -> Handle:
        if spec.container is None:
            return await self._local.spawn(spec)
        await asyncio.to_thread(rooms.prepare, spec.folders, spec.uid, spec.gid)
        return await self._containers.spawn(spec)

    async def restore(self, info: HandleInfo) -> Handle | None:
        return await (self._containers if "container" in info else self._local).restore(info)
