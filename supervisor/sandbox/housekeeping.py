"""What becomes of containers over time: those of an earlier gateway at the start, those nobody uses every now and then.

A gateway without sandboxed agents never asks Docker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from protocol.session_key import parse_key
from supervisor.plan import Plan
from supervisor.sandbox.containers import Keep
from supervisor.sandbox.registry import Entry
from supervisor.spawners.base import SpawnError
from supervisor.spawners.docker import DockerSpawner
from supervisor.workerplan import AgentPlan

#: Seconds between two looks for containers that nobody uses any more.
PRUNE_EVERY = 600.0


async def reap(boxes: DockerSpawner, plan: Plan) -> None:
    """Remove what an earlier gateway of this state folder left and nobody will ask for. Never raises."""
    if any(agent.placement.mode != "off" for agent in plan.agents.values()):
        await boxes.reap(_of_places(plan), set(plan.agents))


async def prune(boxes: DockerSpawner, plan: Callable[[], Plan]) -> None:
    """For ever: remove what has been idle for `sandbox.prune.idleHours`, or is `maxAgeDays` old."""
    while True:
        await asyncio.sleep(PRUNE_EVERY)
        with contextlib.suppress(SpawnError):
            await boxes.prune(keeps(plan(), boxes.containers.entries()), Keep())


def keeps(plan: Plan, made: Iterable[Entry]) -> dict[str, Keep]:
    """How long each container is kept; of `made` those that belong to an agent of the configuration."""
    return {**_of_sessions(made, plan), **_of_places(plan)}


def _of_sessions(entries: Iterable[Entry], plan: Plan) -> dict[str, Keep]:
    """How long the containers of single sessions are kept: as their agent says."""
    owners = {one.container_name: parse_key(one.session_key) for one in entries}
    known = {name: plan.agents.get(key.agent) for name, key in owners.items() if key is not None}
    return {name: _keep(agent) for name, agent in known.items() if agent is not None}


def _of_places(plan: Plan) -> dict[str, Keep]:
    """How long each container of the configuration is kept."""
    found = {}
    for seat, worker in plan.fixed.items():
        if worker.container is not None:
            found[worker.container.name] = _keep(plan.agents[seat.agent])
    return found


def _keep(agent: AgentPlan) -> Keep:
    return Keep(agent.sandbox.prune["idleHours"], agent.sandbox.prune["maxAgeDays"])
