"""The router's half of a request, whole but for links and disk: spool in memory, workers that note what they hear."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from protocol import messages as m
from protocol.config import Messages, Session, ToolList
from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.sandbox import HOST, Placement, Seat
from protocol.slices import Reach, RouterAgent, RouterSlice, ToolRules
from protocol.tasks import Tasks
from router.accounts import Accounts
from router.calls.service import Calls
from router.channels.fake import FakeChannel
from router.rules import Rules
from router.spool.base import Admission, InboxRow
from router.spool.memory import MemorySpool
from router.turns import Turns
from router.web.feed import Feed


class Wire:
    """What the router said to workers, and which of them it gave up."""

    def __init__(self) -> None:
        self.said: list[tuple[Seat, m.RouterToWorker]] = []
        self.bad: list[tuple[Seat, int, str]] = []
        self.heard = asyncio.Event()

    def send(self, seat: Seat, generation: int, message: m.RouterToWorker) -> bool:
        self.said.append((seat, message))
        self.heard.set()
        return True

    def misbehaved(self, seat: Seat, generation: int, reason: str) -> None:
        self.bad.append((seat, generation, reason))

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for _, message in self.said if isinstance(message, kind)]

    async def wait(self, kind: type[Any], count: int) -> list[Any]:
        async with asyncio.timeout(5):
            while len(self.of(kind)) < count:
                self.heard.clear()
                await self.heard.wait()
        return self.of(kind)


def agent(id: str, tools: ToolRules | None = None, **placement: Any) -> RouterAgent:
    where = Placement(**placement)
    return RouterAgent(id=id, name=id.upper(), max_concurrent=4, placement=where, tools=tools or ToolRules())


class Stage:
    """Agents a and b (unless others are given), each with a worker; one account of the channel `fake`."""

    def __init__(self) -> None:
        self.spool = MemorySpool()
        self.crashes: list[BaseException] = []
        self.tasks = Tasks(lambda _, error: self.crashes.append(error))
        self.channel = FakeChannel()
        self.accounts = Accounts(lambda *_: self.channel, _nothing, self.spool.cursor, self.tasks)
        self.feed = Feed()
        self.turns = Turns(self.spool, self.accounts, self.feed, self.tasks, lambda _: None)
        self.wire = Wire()
        self.turns.workers = self.wire  # type: ignore[assignment]  # a real object with what is used of Workers
        self.calls = Calls(self.spool, self.turns, self.accounts, self.feed, self.tasks)
        self.turns.calls = self.calls
        self.turns.grant = self.calls.grant
        self.number = 0
        self.first: InboxRow | None = None
        self.request = 0

    async def start(self, *agents: RouterAgent, loaded: bool = True, **fields: Any) -> Stage:
        given: dict[str, Any] = {
            "agents": agents or (agent("a"), agent("b")),
            "default_agent": "a",
            "bindings": (),
            "channels": {"fake": {"dmPolicy": "open"}},
            "session": Session(),
            "messages": Messages(),
            "broadcast": {},
            **dict.fromkeys(("spool", "credentials", "host", "token"), ""),
            "port": 0,
            **fields,
        }
        await self.spool.open()
        self.apply(RouterSlice(**given))
        await self.calls.start()
        if loaded:
            self.calls.loaded()
        self.seats = [Seat(one.id, place) for one in self.slice.agents for place in one.placement.fixed(one.id)]
        for seat in self.seats:
            self.turns.worker_up(seat, 1, m.Hello(version=m.PROTOCOL_VERSION, generation=1))
        rules = Rules(self.slice)
        await self.accounts.update(rules.accounts)
        account = self.accounts.find("fake", "default")
        assert account is not None
        await account.online.wait()
        return self

    def apply(self, slice: RouterSlice) -> None:
        self.slice = slice
        self.turns.update(slice.agents)
        self.calls.update(Rules(slice))

    def change(self, **fields: Any) -> None:
        self.apply(msgspec.structs.replace(self.slice, **fields))

    async def close(self) -> None:
        await self.accounts.close()
        await self.tasks.cancel()
        assert not self.crashes

    async def message(
        self, agent: str = "a", key: str = "", peer: Peer | None = None, sender: str = "7", **fields: Any
    ) -> InboxRow:
        """A message of somebody, delivered to the agent's worker."""
        self.number += 1
        peer = peer or Peer("direct", sender)
        inbound = Inbound(
            channel="fake", account="default", message_id=str(self.number), peer=peer, sender=Sender(sender, "Ann"),
            text="hello", at=1.0, reply=Address("fake", "default", peer.id), **fields,
        )  # fmt: skip
        (row,) = await self.spool.admit([Admission(agent, key or f"agent:{agent}:main", inbound)], None, 100.0)
        self.turns.add([row])
        return row

    async def own(self) -> InboxRow:
        """A message for the main session of a, the same one every time: a session has one at its worker."""
        self.first = self.first or await self.message()
        return self.first

    def send(self, row: InboxRow, tool: str, place: str = HOST, agent: str = "", **arguments: Any) -> int:
        """The worker asks; the number of its request."""
        self.request += 1
        text = msgspec.json.encode(arguments).decode()
        question = m.Request(request=self.request, turn=row.id, tool=tool, arguments=text)
        self.turns.worker_said(Seat(agent or row.agent, place), 1, question)
        return self.request

    async def answer(self, number: int) -> m.Response:
        async with asyncio.timeout(5):
            while True:
                for one in self.wire.of(m.Response):
                    if one.request == number:
                        return one  # type: ignore[no-any-return]
                self.wire.heard.clear()
                await self.wire.heard.wait()

    async def ask(self, row: InboxRow, tool: str, place: str = HOST, **arguments: Any) -> m.Response:
        return await self.answer(self.send(row, tool, place, **arguments))

    async def asked(self, row: InboxRow, tool: str, place: str = HOST, **arguments: Any) -> Any:
        """The answer as JSON."""
        return msgspec.json.decode((await self.ask(row, tool, place, **arguments)).text)

    async def delivered(self, count: int) -> m.Deliver:
        """The newest delivery, once there are so many."""
        return (await self.wire.wait(m.Deliver, count))[-1]  # type: ignore[no-any-return]

    async def reply(self, deliver: m.Deliver, text: str, place: str = HOST) -> None:
        """The worker answers a message and ends its turn."""
        seat = Seat(deliver.session_key.split(":")[1], place)
        count = len(self.wire.of(m.SayAck))
        self.turns.worker_said(seat, 1, m.Say(id=deliver.id, seq=0, text=text))
        await self.wire.wait(m.SayAck, count + 1)
        self.turns.worker_said(seat, 1, m.Done(id=deliver.id, outcome="answered"))


OPEN = Reach(agent_to_agent=True, allow=("*",))


def layer(**lists: tuple[str, ...]) -> ToolRules:
    return ToolRules(layers=(ToolList(**lists),))


async def _nothing(*_: object) -> None:
    return None
