"""A working OperatorDesk without router and worker: every agent repeats what it hears, word by word.

For tests of the listener and of the page. `python -m tests.support.fake_desk` serves it for a look at the page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from protocol.control import AccountStatus
from protocol.errors import Temporary, UserError
from protocol.messages import HistoryEntry
from router.web.desk import Pending
from router.web.events import AgentState, AgentView, Doing, Ended, Event, Growing, Said, UserSaid
from router.web.feed import Feed, Subscription

AGENTS = (
    AgentView(id="main", name="Main", emoji="🦞", is_default=True),
    AgentView(id="family", name="Family Bot", emoji="🏡"),
)


class FakeDesk:
    """`open_gate` cleared holds every answer after its first words; `silent` makes the workers not answer history."""

    def __init__(self, agents: Sequence[AgentView] = AGENTS, *, pace: float = 0.0) -> None:
        self.views = {view.id: view for view in agents}
        self.entries: dict[str, list[HistoryEntry]] = {view.id: [] for view in agents}
        self.waiting: dict[str, dict[str, Pending]] = {view.id: {} for view in agents}
        self.account_list: list[AccountStatus] = []
        self.failing: list[str] = []
        self.submitted: dict[str, str] = {}
        self.refuse: Exception | None = None
        self.silent = False
        self.answers: dict[str, str] = {}
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self.feed = Feed()
        self._pace = pace
        self._live: dict[str, dict[str, Event]] = {view.id: {} for view in agents}
        self._turns: set[asyncio.Task[None]] = set()

    def agents(self) -> Sequence[AgentView]:
        return tuple(self.views.values())

    def accounts(self) -> Sequence[AccountStatus]:
        return tuple(self.account_list)

    def ready(self) -> tuple[bool, list[str]]:
        return not self.failing, list(self.failing)

    def pending(self, agent: str) -> Sequence[Pending]:
        return tuple(self.waiting[agent].values())

    def subscribe(self, agent: str) -> Subscription:
        subscription = self.feed.subscribe(agent)
        for event in self._live[agent].values():
            subscription.offer(event)
        return subscription

    async def history(self, agent: str, limit: int) -> tuple[HistoryEntry, ...]:
        if self.silent:
            raise Temporary("the worker did not answer in time")
        return tuple(self.entries[agent][-limit:])

    async def submit(self, agent: str, text: str, client_key: str) -> str:
        if self.refuse is not None:
            raise self.refuse
        if agent not in self.views:
            raise UserError(f"no agent {agent!r}")
        if client_key in self.submitted:
            return self.submitted[client_key]
        number = self.submitted[client_key] = f"web-{len(self.submitted) + 1}"
        self.hear(agent, number, text)
        return number

    def hear(self, agent: str, number: str, text: str, *, sender: str = "", channel: str = "webchat") -> None:
        """A message arrives, from the page or from another channel, and gets its answer."""
        now = time.time()
        self.waiting[agent][number] = Pending(number, text, now)
        self.feed.publish(agent, UserSaid(id=number, text=text, at=now, sender=sender, channel=channel))
        entry = HistoryEntry(role="user", text=text, at=now, id=number, sender=sender, channel=channel)
        self.entries[agent].append(entry)
        turn = asyncio.get_running_loop().create_task(self._turn(agent, number, text))
        self._turns.add(turn)
        turn.add_done_callback(self._finish)

    def _finish(self, turn: asyncio.Task[None]) -> None:
        self._turns.discard(turn)
        if not turn.cancelled():
            turn.result()

    async def _turn(self, agent: str, number: str, text: str) -> None:
        answer = self.answers.get(text, f"You said: {text}")
        await self._work(agent, number, text)
        await self._grow(agent, number, answer)
        now = time.time()
        self.entries[agent].append(HistoryEntry(role="assistant", text=answer, at=now, id=number))
        self._live[agent].pop(number, None)
        self.feed.publish(agent, Said(id=number, seq=0, text=answer, at=now))
        self.end(agent, number)

    async def _work(self, agent: str, number: str, text: str) -> None:
        self.feed.publish(agent, Doing(id=number, doing="model"))
        await asyncio.sleep(self._pace * 10)
        if text.startswith("/run "):
            self.feed.publish(agent, Doing(id=number, doing="tool", label=f"exec {text[5:]}"))
            await asyncio.sleep(self._pace * 20)
            self.entries[agent].append(HistoryEntry(role="tool", text=f"exec {text[5:]}", at=time.time(), id=number))

    async def _grow(self, agent: str, number: str, answer: str) -> None:
        said = 0
        for word in answer.split(" "):
            piece = word if said == 0 else f" {word}"
            self.feed.publish(agent, Growing(id=number, seq=0, offset=said, text=piece))
            said += len(piece)
            self._live[agent][number] = Growing(id=number, seq=0, offset=0, text=answer[:said])
            await asyncio.sleep(self._pace)
            await self.open_gate.wait()

    def end(self, agent: str, number: str, outcome: str = "answered", error: str = "") -> None:
        self.waiting[agent].pop(number, None)
        self.feed.publish(agent, Ended(id=number, outcome=outcome, error=error))  # type: ignore[arg-type]

    def change(self, view: AgentView) -> None:
        """An agent's state changes."""
        self.views[view.id] = view
        self.feed.publish(view.id, AgentState(agent=view))

    async def close(self) -> None:
        for turn in tuple(self._turns):
            turn.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)


async def _show() -> None:
    from router.web.server import WebServer

    desk = FakeDesk(pace=0.05)
    desk.account_list = [
        AccountStatus(channel="telegram", account="ops", enabled=True, configured=True, running=True, connected=True),
    ]
    host, port = await WebServer("127.0.0.1", 18999, "look", desk).start()
    print(f"http://{host}:{port}/#token=look")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_show())
