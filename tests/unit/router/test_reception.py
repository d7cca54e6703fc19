"""From a platform's batch to messages of agents: one commit, nothing forgotten before it, repeats harmless."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from protocol import messages as m
from protocol.config import Binding, GroupChat, Identity, Match, Messages, Session
from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.sandbox import Seat
from protocol.slices import RouterAgent, RouterSlice
from protocol.tasks import Tasks
from router.accounts import Account, Accounts
from router.channels.fake import FakeChannel
from router.pairing_store import PairingStore
from router.reception import Reception
from router.spool.base import SpoolFailed
from router.spool.memory import MemorySpool
from router.turns import Turns
from router.web.feed import Feed

GROUP = Peer("group", "g")
OWNER = "7"


class Wire:
    """The workers, as far as the router hears of them: what was said to each."""

    def __init__(self) -> None:
        self.said: list[tuple[str, m.RouterToWorker]] = []

    def send(self, seat: Seat, generation: int, message: m.RouterToWorker) -> bool:
        self.said.append((seat.agent, message))
        return True

    def forget(self, seat: Seat, generation: int, *, close: bool = False) -> None:
        return None

    def delivered(self) -> list[tuple[str, str]]:
        return [(agent, one.session_key) for agent, one in self.said if isinstance(one, m.Deliver)]

    def last(self) -> m.Deliver:
        return [one for _, one in self.said if isinstance(one, m.Deliver)][-1]


def agent(id: str, *patterns: str) -> RouterAgent:
    chat = GroupChat(mention_patterns=patterns or None)
    return RouterAgent(id=id, name=id, max_concurrent=4, group_chat=chat, identity=Identity(name=id))


class Stage:
    """Agents a, b and c, each with a worker; one account of the channel `fake`."""

    def __init__(self, folder: Any, **fields: Any) -> None:
        self.spool = MemorySpool()
        self.crashes: list[BaseException] = []
        self.tasks = Tasks(lambda _, error: self.crashes.append(error))
        self.channel = FakeChannel()
        self.accounts = Accounts(lambda *_: self.channel, self._nothing, self.spool.cursor, self.tasks)
        self.turns = Turns(self.spool, self.accounts, Feed(), self.tasks, lambda _: None)
        self.wire = Wire()
        self.turns.workers = self.wire  # type: ignore[assignment]  # a real object with what Turns uses of Workers
        self.reception = Reception(self.spool, PairingStore(folder), self.turns)
        self.fields = fields
        self.number = 0

    async def start(self) -> None:
        settings = {"dmPolicy": "open", "allowFrom": ["*"], "groupPolicy": "open", "groupAllowFrom": [OWNER]}
        given: dict[str, Any] = {
            "agents": (agent("a"), agent("b"), agent("c")),
            "default_agent": "a",
            "bindings": (Binding(agent_id="c", match=Match(channel="fake", account_id="*")),),
            "channels": {"fake": {**settings, **self.fields.pop("settings", {})}},
            "session": Session(),
            "messages": Messages(),
            "broadcast": {},
            **dict.fromkeys(("spool", "credentials", "host", "token"), ""),
            "port": 0,
            **self.fields,
        }
        slice = RouterSlice(**given)
        await self.spool.open()
        self.reception.update(slice)
        self.turns.update(slice.agents)
        for one in slice.agents:
            self.turns.worker_up(Seat(one.id), 1, m.Hello(version=m.PROTOCOL_VERSION, generation=1))
        await self.accounts.update(self.reception.accounts())
        account = self.accounts.find("fake", "default")
        assert account is not None
        self.account: Account = account
        await account.online.wait()

    async def receive(self, *messages: Inbound) -> None:
        await self.reception.receive(self.account, messages, None)

    def message(self, text: str, peer: Peer = GROUP, sender: str = OWNER, **fields: Any) -> Inbound:
        self.number += 1
        return Inbound(
            channel="fake", account="default", message_id=str(self.number), peer=peer, sender=Sender(sender, "Ann"),
            text=text, at=1.0, reply=Address("fake", "default", peer.id), **fields,
        )  # fmt: skip

    def done(self, deliver: m.Deliver, agent: str) -> None:
        self.turns.worker_said(Seat(agent), 1, m.Done(id=deliver.id, outcome="answered"))

    async def texts(self, count: int) -> list[str]:
        return [one.text for one in await self.channel.wait_sent(count)]

    @staticmethod
    async def _nothing(*_: object) -> None:
        return None


@pytest.fixture
async def make(tmp_path: Any) -> AsyncIterator[Any]:
    made: list[Stage] = []

    async def start(**fields: Any) -> Stage:
        made.append(Stage(tmp_path, **fields))
        await made[-1].start()
        return made[-1]

    yield start
    for stage in made:
        await stage.accounts.close()
        await stage.tasks.cancel()
        assert not stage.crashes


async def test_what_a_group_wrote_goes_along_with_the_next_message_that_is_meant(make: Any) -> None:
    stage = await make()
    await stage.receive(stage.message("one"), stage.message("two"))
    assert stage.wire.delivered() == []
    await stage.receive(stage.message("c, what do you think?"))
    assert [one.text for one in stage.wire.last().message.history] == ["one", "two"]
    stage.done(stage.wire.last(), "c")
    await stage.receive(stage.message("c, again"))
    assert stage.wire.last().message.history == ()


async def test_inside_one_batch_each_line_goes_along_once(make: Any) -> None:
    stage = await make()
    texts = ("one", "c, first", "two", "c, second")
    await stage.receive(*(stage.message(text) for text in texts))
    rows, _ = await stage.spool.pending()
    assert [[one.text for one in row.message.history] for row in rows] == [["one"], ["two"]]


async def test_nothing_is_forgotten_before_it_is_on_disk(make: Any) -> None:
    """The spool refuses, the platform says it all again, and the group's lines are still there, once."""
    stage = await make()
    one, two = stage.message("one"), stage.message("c, hello")
    await stage.spool.close()
    with pytest.raises(SpoolFailed):
        await stage.receive(one, two)
    await stage.spool.open()
    await stage.receive(one, two)
    assert [line.text for line in stage.wire.last().message.history] == ["one"]


async def test_a_repeated_message_takes_nothing_along_and_drops_nothing(make: Any) -> None:
    stage = await make()
    first = stage.message("c, hello")
    await stage.receive(first)
    stage.done(stage.wire.last(), "c")
    await stage.receive(stage.message("between"))
    await stage.receive(first)
    await stage.receive(stage.message("c, now"))
    assert [line.text for line in stage.wire.last().message.history] == ["between"]


async def test_the_limit_of_the_account_holds(make: Any) -> None:
    stage = await make(settings={"historyLimit": 1})
    await stage.receive(stage.message("one"), stage.message("two"), stage.message("c?"))
    assert [line.text for line in stage.wire.last().message.history] == ["two"]


async def test_strangers_who_are_not_let_in_leave_no_trace(make: Any) -> None:
    stage = await make(settings={"groupPolicy": "allowlist"})
    await stage.receive(stage.message("evil", sender="666"), stage.message("c, hello"))
    assert stage.wire.last().message.history == ()


async def test_a_broadcast_reaches_every_agent_in_its_own_session_and_beats_the_bindings(make: Any) -> None:
    stage = await make(broadcast={"g": ["a", "b", "ghost"]}, settings={"groups": {"g": {"requireMention": False}}})
    message = stage.message("good morning")
    await stage.receive(message)
    await stage.receive(message)
    assert stage.wire.delivered() == [("a", "agent:a:fake:group:g"), ("b", "agent:b:fake:group:g")]


async def test_a_broadcast_that_names_one_agent_is_for_that_one(make: Any) -> None:
    stage = await make(broadcast={"fake:g": ["a", "b"]})
    await stage.receive(stage.message("just talk"))
    assert stage.wire.delivered() == []
    await stage.receive(stage.message("b, and you?"))
    assert stage.wire.delivered() == [("b", "agent:b:fake:group:g")]
    stage.done(stage.wire.last(), "b")
    await stage.receive(stage.message("everybody", mentioned=True))
    assert [name for name, _ in stage.wire.delivered()] == ["b", "a", "b"]


async def test_in_sequence_the_next_agent_begins_when_the_one_before_has_ended(make: Any) -> None:
    stage = await make(broadcast={"strategy": "sequential", "g": ["b", "a", "c"]})
    await stage.receive(stage.message("all of you", mentioned=True))
    assert stage.wire.delivered() == [("b", "agent:b:fake:group:g")]
    stage.turns.worker_said(Seat("b"), 1, m.Done(id=stage.wire.last().id, outcome="failed", error="broken"))
    assert [name for name, _ in stage.wire.delivered()] == ["b", "a"]
    stage.done(stage.wire.last(), "a")
    assert [name for name, _ in stage.wire.delivered()] == ["b", "a", "c"]


async def test_in_sequence_an_agent_that_cannot_start_gives_way(make: Any) -> None:
    stage = await make(broadcast={"strategy": "sequential", "g": ["b", "a"]})
    stage.turns.ended(Seat("b"), 1, False, "stopped")
    await stage.receive(stage.message("all of you", mentioned=True))
    assert stage.wire.delivered() == []
    stage.turns.give_way(Seat("b"))
    assert [name for name, _ in stage.wire.delivered()] == ["a"]
    stage.done(stage.wire.last(), "a")
    await stage.receive(stage.message("and again", mentioned=True))
    assert [name for name, _ in stage.wire.delivered()] == ["a", "a"]


async def test_a_command_is_answered_at_the_door_once(make: Any) -> None:
    stage = await make(commands={"ownerAllowFrom": ["fake:7"]})
    message = stage.message("/whoami", Peer("direct", OWNER))
    await stage.receive(message)
    await stage.receive(message)
    await stage.receive(stage.message("/status", Peer("direct", OWNER)))
    identity, status = await stage.texts(2)
    assert "User id: 7" in identity and "Owner: yes" in identity
    assert "agent:c:main" in status
    assert stage.wire.delivered() == []


async def test_a_command_needs_no_mention_but_a_name_on_the_list(make: Any) -> None:
    stage = await make()
    await stage.receive(stage.message("/new", sender="666"))
    assert stage.wire.delivered() == []
    await stage.receive(stage.message("/new plan the week"))
    deliver = stage.wire.last()
    assert (deliver.message.command, deliver.message.text) == ("new", "plan the week")


async def test_stop_cancels_what_runs_and_takes_back_what_waits(make: Any) -> None:
    stage = await make()
    direct = Peer("direct", OWNER)
    await stage.receive(stage.message("work", direct), stage.message("more work", direct))
    running = stage.wire.last()
    stop = stage.message("stop!", direct)
    await stage.receive(stop)
    assert stage.wire.said[-1] == ("c", m.Cancel(id=running.id))
    assert await stage.texts(1) == ["⚙️ Agent was aborted."]
    stage.turns.worker_said(Seat("c"), 1, m.Done(id=running.id, outcome="cancelled"))
    await stage.receive(stage.message("new work", direct))
    assert stage.wire.last().message.text == "new work"
    await stage.receive(stop)
    assert not isinstance(stage.wire.said[-1][1], m.Cancel)


async def test_stop_is_a_word_while_nothing_runs(make: Any) -> None:
    stage = await make()
    await stage.receive(stage.message("stop", Peer("direct", OWNER)))
    assert stage.wire.last().message.text == "stop"


async def test_with_commands_switched_off_a_slash_is_text(make: Any) -> None:
    stage = await make(commands={"text": False})
    await stage.receive(stage.message("/new", Peer("direct", OWNER)))
    assert (stage.wire.last().message.text, stage.wire.last().message.command) == ("/new", "")


async def test_an_answer_quotes_as_the_account_says_and_as_the_agent_asks(make: Any) -> None:
    stage = await make(settings={"replyToMode": "first"})
    await stage.receive(stage.message("hello", Peer("direct", OWNER)))
    deliver = stage.wire.last()
    for seq, text in enumerate(("one", "two", "[[reply_to:12]] three")):
        stage.turns.worker_said(Seat("c"), 1, m.Say(id=deliver.id, seq=seq, text=text))
        await stage.channel.wait_sent(seq + 1)
    assert [(one.text, one.address.reply_to) for one in stage.channel.sent] == [
        ("one", "1"), ("two", None), ("three", "12")
    ]  # fmt: skip


async def test_a_thread_has_its_own_session(make: Any) -> None:
    stage = await make()
    reply = Address("fake", "default", "g", "171.5")
    await stage.receive(msgspec.structs.replace(stage.message("c, in a thread"), reply=reply))
    assert stage.wire.delivered() == [("c", "agent:c:fake:group:g:thread:171.5")]
