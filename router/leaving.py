"""Agents that are configured no more and still have messages: the supervisor hears when each has answered its last.

Only then does its worker go, so that what was accepted for an agent is answered by it (ARCHITECTURE 5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from protocol import messages as m
from protocol.tasks import Tasks

#: Seconds between two looks, while there is anybody to look at.
_EVERY = 0.05


class Leaving:
    """Watches the queues of leaving agents. `unfinished(agent)` tells how many messages one still has."""

    def __init__(
        self, unfinished: Callable[[str], int], report: Callable[[m.RouterToSupervisor], None], tasks: Tasks
    ) -> None:
        self._unfinished = unfinished
        self._report = report
        self._tasks = tasks
        self._agents: set[str] = set()
        self._version = 0
        self._watching: asyncio.Task[None] | None = None

    def update(self, agents: Iterable[str], version: int) -> None:
        """These agents are leaving, and no others: who came back is not looked at any more, who was told of is told
        of again."""
        self._agents, self._version = set(agents), version
        self._look()
        if self._agents and (self._watching is None or self._watching.done()):
            self._watching = self._tasks.start(self._watch(), "leaving agents")

    async def _watch(self) -> None:
        while self._agents:
            await asyncio.sleep(_EVERY)
            self._look()

    def _look(self) -> None:
        for agent in [agent for agent in self._agents if not self._unfinished(agent)]:
            self._agents.discard(agent)
            self._report(m.AgentIdle(agent=agent, version=self._version))
