"""`openclaw doctor --isolation`: living workers are asked to attack, and what came of it is handed on.

The router only carries: what is tried is chosen by the operator's command line, what must hold is judged there. A
worker is hostile, so its answer is cut to what was asked, and one that does not answer holds nobody up for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from protocol import control as c
from protocol.errors import OpenClawError, UserError
from protocol.messages import Finding, ProbeTarget
from protocol.sandbox import Seat

#: Most targets for one worker, seconds one may take, and workers that are asked at once: each forks for every attack.
MAX_TARGETS, MAX_SECONDS, AT_ONCE = 500, 600.0, 4
#: Characters of a detail that are passed on.
MAX_DETAIL = 500


class Probes(Protocol):
    """Reaches the living workers."""

    def living(self) -> list[tuple[Seat, int]]:
        """The newest generation at each seat."""

    async def probe(
        self, seat: Seat, generation: int, targets: tuple[ProbeTarget, ...], timeout: float
    ) -> tuple[Finding, ...]:
        """Raises Temporary when the worker does not answer in time."""


async def probe(workers: Probes, request: c.ProbeWorkers, say: Callable[[c.WorkerProbed], None]) -> None:
    """Ask every living worker of the wanted agents. Raises UserError when too much is asked."""
    wanted = {one.agent: one.targets for one in request.wanted}
    if any(len(targets) > MAX_TARGETS for targets in wanted.values()):
        raise UserError(
            f"more than {MAX_TARGETS} targets for one worker", hint="openclaw doctor --isolation --agent main"
        )
    room, timeout = asyncio.Semaphore(AT_ONCE), min(max(request.timeout, 1.0), MAX_SECONDS)

    async def one(seat: Seat, generation: int) -> None:
        async with room:
            say(await _probe_one(workers, seat, generation, wanted[seat.agent], timeout))

    asked = [(seat, number) for seat, number in workers.living() if seat.agent in wanted]
    await asyncio.gather(*(one(seat, number) for seat, number in sorted(asked)))


async def _probe_one(
    workers: Probes, seat: Seat, generation: int, targets: tuple[ProbeTarget, ...], timeout: float
) -> c.WorkerProbed:
    try:
        found = await workers.probe(seat, generation, targets, timeout)
    except OpenClawError as error:
        return c.WorkerProbed(agent=seat.agent, place=seat.place, generation=generation, problem=str(error))
    kept = tuple(_fitting(found, targets))
    return c.WorkerProbed(agent=seat.agent, place=seat.place, generation=generation, findings=kept)


def _fitting(found: Iterable[Finding], targets: tuple[ProbeTarget, ...]) -> Iterable[Finding]:
    """One finding for each target, in their order; what the worker kept to itself did not hold."""
    known = {(one.what, one.on): one for one in found}
    for target in targets:
        one = known.get((target.what, target.on))
        if one is None:
            yield Finding(what=target.what, on=target.on, held=False, detail="the worker said nothing of it")
        else:
            yield Finding(what=one.what, on=one.on, held=one.held, detail=one.detail[:MAX_DETAIL])
