"""What becomes of containers over time: those of an earlier gateway at the start, those nobody uses every now and then.

A gateway without sandboxed agents never asks Docker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from supervisor.plan import Plan
from supervisor.sandbox.containers import Keep
from supervisor.spawners.base import SpawnError
from supervisor.spawners.docker import DockerSpawner

#: Seconds between two looks for containers that nobody uses any more.
PRUNE_EVERY = 600.0


async def reap(boxes: DockerSpawner, plan: Plan) -> None:
    """Remove what an earlier gateway of this state folder left and nobody will ask for. Never raises."""
    if any(agent.placement.mode != "off" for agent in plan.agents.values()):
        await boxes.reap(_keeps(plan), set(plan.agents))


async def prune(boxes: DockerSpawner, plan: Callable[[], Plan]) -> None:
    """For ever: remove what has been idle for `sandbox.prune.idleHours`, or is `maxAgeDays` old."""
    while True:
        await asyncio.sleep(PRUNE_EVERY)
        with contextlib.suppress(SpawnError):
            await boxes.prune(_keeps(plan()), Keep())


def _keeps(plan: Plan) -> dict[str, Keep]:
    """How long each container of the configuration is kept."""
    found = {}
    for seat, worker in plan.fixed.items():
        if worker.container is not None:
            settings = plan.agents[seat.agent].sandbox.prune
            found[worker.container.name] = Keep(settings["idleHours"], settings["maxAgeDays"])
    return found
