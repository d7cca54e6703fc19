"""`openclaw gateway restart`: the new configuration is read first, and a bad one changes nothing.

Then the difference is applied and the workers are replaced one by one; router and cliproxy stay up and are told what
changed, so no chat connection is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from protocol.errors import OpenClawError, UserError
from protocol.tasks import Tasks
from supervisor.apply import Applier
from supervisor.fleet import Fleet
from supervisor.logs import Journal

#: Takes a line for people who watch.
Watch = Callable[[str], None]


class Restarter:
    """Carries out one restart at a time."""

    def __init__(self, applier: Applier, fleet: Fleet, journal: Journal, tasks: Tasks) -> None:
        self._applier = applier
        self._fleet = fleet
        self._journal = journal
        self._tasks = tasks
        self._running: asyncio.Task[None] | None = None

    def start(self, agents: tuple[str, ...], watch: Watch) -> asyncio.Future[OpenClawError | None]:
        """Begin; the future tells how it went. Whoever watches may go away: the restart goes on without him.

        Raises UserError while another one is under way.
        """
        if self._running is not None and not self._running.done():
            raise UserError("a restart is under way", hint="openclaw gateway status")
        outcome: asyncio.Future[OpenClawError | None] = asyncio.get_running_loop().create_future()
        self._running = self._tasks.start(self._run(agents, watch, outcome), "restart")
        return outcome

    def cancel(self) -> None:
        """The gateway stops: whoever is being replaced is stopped like the others."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, agents: tuple[str, ...], watch: Watch, outcome: asyncio.Future[OpenClawError | None]) -> None:
        problem: OpenClawError | None = OpenClawError("the gateway is stopping")
        try:
            await self._restart(agents, watch)
            problem = None
            self._journal.log("info", "gateway", "restarted")
        except OpenClawError as error:
            problem = error
            self._journal.log("error", "gateway", f"restart: {error}")
        finally:
            if not outcome.done():
                outcome.set_result(problem)

    async def _restart(self, agents: tuple[str, ...], watch: Watch) -> None:
        def tell(text: str) -> None:
            self._journal.log("info", "gateway", f"restart: {text}")
            watch(text)

        async with self._applier.lock:
            plan = await self._applier.read()
            if unknown := [agent for agent in agents if agent not in plan.agents]:
                raise UserError(f'Agent "{unknown[0]}" not found.', hint="openclaw agents list")
            before = self._fleet.agents()
            tell("the configuration is valid")
            changes = await self._applier.apply(plan, restart_router=True)
        staying = [agent for agent in agents or before if agent in before and agent in plan.agents]
        problems, _ = await asyncio.gather(self._fleet.roll(staying, tell), self._applier.dismiss(changes))
        if problems:
            raise OpenClawError("; ".join(problems))
