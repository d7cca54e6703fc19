"""The worker's side of the link's protocol, against a link that is only lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol import messages as m
from protocol.codec import encode
from tests.unit.worker.worker_parts import KEY, agent, message, sessions, settings
from worker.agent import NEW_SESSION
from worker.llm.base import Request, UserTurn
from worker.llm.scripted import Answer, Say, ScriptedModel, Wait
from worker.service import HISTORY_CHARS, Service


class FakeLink:
    """Notes what is sent while `up`; `say` is the router talking."""

    def __init__(self) -> None:
        self.up = False
        self.full = False
        self.sent: list[Any] = []
        self.refused = 0
        self.reconnects = 0
        self.closed = asyncio.Event()
        self._changed = asyncio.Event()

    def connect(
        self, on_message: Callable[[bytes], None], on_up: Callable[[], None], on_down: Callable[[], None]
    ) -> FakeLink:
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        return self

    def send(self, message: Any) -> bool:
        if not self.up or self.full:
            self.refused += 1
            self._changed.set()
            return False
        self.sent.append(message)
        self._changed.set()
        return True

    def reconnect(self) -> None:
        self.reconnects += 1
        self._changed.set()

    def close(self, linger: float = 0.0) -> None:
        self.closed.set()

    def rise(self, welcome: bool = True) -> None:
        self.up = True
        self._on_up()
        if welcome:
            self.say(m.Welcome(version=m.PROTOCOL_VERSION, router="r"))

    def fall(self) -> None:
        self.up = False
        self._on_down()

    def say(self, message: Any) -> None:
        self._on_message(encode(message))

    def take(self) -> list[Any]:
        sent, self.sent = self.sent, []
        return sent

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not fact():
                self._changed.clear()
                await self._changed.wait()

    async def heard(self, kind: type[Any], count: int = 1) -> list[Any]:
        def found() -> list[Any]:
            return [one for one in self.sent if isinstance(one, kind)]

        await self.until(lambda: len(found()) >= count)
        return found()


class Rig:
    def __init__(self, folder: Path, script: Any, **fields: Any) -> None:
        self.settings = settings(folder, **fields)
        self.model = ScriptedModel(script)
        self.link = FakeLink()
        mind = agent(self.settings, self.model)
        self.service = Service(self.settings, 7, mind, sessions(self.settings))
        self.task = asyncio.ensure_future(self.service.run(self.link.connect))

    def deliver(self, id: str, text: str = "hi", key: str = KEY) -> None:
        self.link.say(m.Deliver(id=id, session_key=key, message=message(text)))

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    rigs: list[Rig] = []

    async def make(script: Any, *, up: bool = True, **fields: Any) -> Rig:
        rigs.append(Rig(tmp_path, script, **fields))
        await asyncio.sleep(0)
        if up:
            rigs[-1].link.rise()
        return rigs[-1]

    yield make
    for rig in rigs:
        await rig.close()


def gate() -> tuple[asyncio.Event, Callable[[Request], Answer]]:
    """A model that answers once the event is set."""
    event = asyncio.Event()
    return event, lambda _: [Wait(event), Say("late")]


async def test_hello_is_first_and_a_message_goes_accepted_say_done(start: Any) -> None:
    rig = await start([[Say("hello")]])
    rig.deliver("m1")
    await rig.link.heard(m.Say)
    rig.link.say(m.SayAck(id="m1", seq=0))
    kinds = [type(one).__name__ for one in rig.link.sent]
    assert kinds == ["Hello", "Accepted", "Activity", "Partial", "Say", "Done"]
    assert rig.link.sent[0] == m.Hello(version=m.PROTOCOL_VERSION, generation=7)


async def test_accepted_is_said_after_the_message_is_on_disk(start: Any) -> None:
    rig = await start(gate()[1])
    rig.deliver("m1", "remember me")
    assert isinstance(rig.link.sent[-1], m.Accepted)
    [path] = Path(rig.settings.sessions).glob("*.jsonl")
    assert "remember me" in path.read_text()


async def test_done_waits_for_the_says_and_is_repeated_until_acknowledged(start: Any) -> None:
    rig = await start([[Say("hello")]])
    rig.deliver("m1")
    await rig.link.heard(m.Say)
    assert not [one for one in rig.link.sent if isinstance(one, m.Done)]
    rig.link.fall()
    rig.link.take()
    rig.link.rise()
    assert rig.link.take() == [
        m.Hello(version=m.PROTOCOL_VERSION, generation=7, running=("m1",)),
        m.Say(id="m1", seq=0, text="hello"),
    ]
    rig.link.say(m.SayAck(id="m1", seq=0))
    done = m.Done(id="m1", outcome="answered")
    assert rig.link.take() == [done]
    rig.link.fall()
    rig.link.rise()
    assert rig.link.take() == [m.Hello(version=m.PROTOCOL_VERSION, generation=7, done=("m1",)), done]
    rig.link.say(m.DoneAck(id="m1"))
    rig.link.fall()
    rig.link.rise()
    assert rig.link.take() == [m.Hello(version=m.PROTOCOL_VERSION, generation=7)]


async def test_a_finished_turn_is_answered_again_from_the_transcript(start: Any) -> None:
    rig = await start([[Say("hello")]])
    rig.deliver("m1")
    await rig.link.heard(m.Say)
    rig.link.say(m.SayAck(id="m1", seq=0))
    rig.link.say(m.DoneAck(id="m1"))
    rig.link.take()
    rig.deliver("m1")
    assert rig.link.take() == [m.Accepted(id="m1"), m.Say(id="m1", seq=0, text="hello")]
    await rig.close()
    next_life = await start([])
    next_life.deliver("m1")
    assert next_life.link.take()[1:] == [m.Accepted(id="m1"), m.Say(id="m1", seq=0, text="hello")]
    next_life.link.say(m.SayAck(id="m1", seq=0))
    assert next_life.link.take() == [m.Done(id="m1", outcome="answered")]
    assert next_life.model.requests == []


async def test_a_running_turn_that_is_delivered_again_is_only_accepted(start: Any) -> None:
    event, script = gate()
    rig = await start(script)
    rig.deliver("m1")
    await rig.link.heard(m.Activity)
    rig.link.take()
    rig.deliver("m1")
    assert rig.link.take() == [m.Accepted(id="m1")]
    event.set()
    await rig.link.heard(m.Say)
    assert len(rig.model.requests) == 1


async def test_an_open_turn_of_an_earlier_life_goes_on(start: Any) -> None:
    rig = await start(gate()[1])
    rig.deliver("m1", "question")
    await rig.close()
    next_life = await start([[Say("answer")]])
    next_life.deliver("m1", "question")
    [said] = await next_life.link.heard(m.Say)
    assert said.text == "answer"
    [path] = Path(rig.settings.sessions).glob("*.jsonl")
    assert path.read_text().count("question") == 1


async def test_sessions_run_side_by_side_and_one_session_in_order(start: Any) -> None:
    event, script = gate()
    rig = await start(script, max_concurrent=2)
    rig.deliver("m1")
    rig.deliver("m2")
    rig.deliver("m3", key="agent:main:other")
    await rig.link.heard(m.Activity, 2)
    assert {one.id for one in rig.link.sent if isinstance(one, m.Activity)} == {"m1", "m3"}
    event.set()
    says = await rig.link.heard(m.Say, 3)
    assert says[-1].id == "m2"


async def test_cancel_ends_a_running_and_a_waiting_turn(start: Any) -> None:
    rig = await start(gate()[1])
    rig.deliver("m1")
    rig.deliver("m2")
    await rig.link.heard(m.Activity)
    for id in ("m2", "m1", "unknown"):
        rig.link.say(m.Cancel(id=id))
    dones = await rig.link.heard(m.Done, 2)
    assert {(one.id, one.outcome) for one in dones} == {("m1", "cancelled"), ("m2", "cancelled")}
    assert len(rig.model.requests) == 1


async def test_cancel_at_once_after_delivery_is_not_lost(start: Any) -> None:
    rig = await start(gate()[1])
    rig.deliver("m1")
    rig.link.say(m.Cancel(id="m1"))
    [done] = await rig.link.heard(m.Done)
    assert done.outcome == "cancelled"


async def test_drain_finishes_what_runs_takes_nothing_new_and_exits(start: Any) -> None:
    event, script = gate()
    rig = await start(script)
    rig.deliver("m1")
    await rig.link.heard(m.Activity)
    rig.link.say(m.Drain())
    rig.deliver("m2")
    event.set()
    await rig.link.heard(m.Say)
    rig.link.say(m.SayAck(id="m1", seq=0))
    await rig.link.heard(m.Done)
    assert not rig.task.done()
    rig.link.say(m.DoneAck(id="m1"))
    assert await asyncio.wait_for(rig.task, 5) == 0
    assert rig.link.sent[-1] == m.Drained()
    assert not [one for one in rig.link.sent if getattr(one, "id", "") == "m2"]
    assert rig.link.closed.is_set()


async def test_an_idle_worker_drains_at_once(start: Any) -> None:
    rig = await start([])
    rig.link.say(m.Drain())
    assert await asyncio.wait_for(rig.task, 5) == 0


async def test_ping_is_answered_at_once(start: Any) -> None:
    rig = await start([])
    rig.link.take()
    rig.link.say(m.Ping(n=3))
    assert rig.link.take() == [m.Pong(n=3)]


async def test_another_protocol_version_ends_the_worker_for_good(start: Any) -> None:
    rig = await start([], up=False)
    rig.link.rise(welcome=False)
    rig.link.say(m.Welcome(version=m.PROTOCOL_VERSION + 1, router="r"))
    assert await asyncio.wait_for(rig.task, 5) == 78


async def test_nonsense_from_the_router_ends_the_worker(start: Any) -> None:
    rig = await start([])
    rig.link._on_message(b'{"type":"Nonsense"}')
    assert await asyncio.wait_for(rig.task, 5) == 1


async def test_hello_is_repeated_until_welcome_and_then_the_connection_is_renewed(start: Any) -> None:
    rig = await start([], up=False)
    rig.link.rise(welcome=False)
    await rig.link.heard(m.Hello, 2)
    assert not [one for one in rig.link.sent if not isinstance(one, m.Hello)]


async def test_what_a_full_link_did_not_take_is_said_later(start: Any) -> None:
    event, script = gate()
    rig = await start(script)
    rig.deliver("m1")
    await rig.link.heard(m.Activity)
    rig.link.full = True
    event.set()
    await rig.link.until(lambda: rig.link.refused > 0 and "0 of" in repr(rig.service))
    rig.link.full = False
    assert (await rig.link.heard(m.Say))[0].text == "late"


async def test_history_shows_what_people_saw(start: Any) -> None:
    rig = await start([[Say("hello")]])
    rig.deliver("m1", "hi there")
    await rig.link.heard(m.Say)
    rig.link.take()
    rig.link.say(m.GetHistory(request=5, session_key=KEY, limit=10))
    [history] = rig.link.take()
    assert [(one.role, one.text, one.sender, one.id) for one in history.entries] == [
        ("user", "hi there", "Anna", "m1"),
        ("assistant", "hello", "", "m1"),
    ]
    rig.link.say(m.GetHistory(request=6, session_key="agent:main:none", limit=10))
    assert rig.link.take() == [m.History(request=6, entries=())]
    assert len(list(Path(rig.settings.sessions).glob("*.jsonl"))) == 1


async def test_a_long_history_fits_into_one_message(start: Any) -> None:
    rig = await start(lambda _: [Say("y" * 40_000)])
    for number in range(6):
        rig.deliver(f"m{number}", "x" * 20_000)
    await rig.link.heard(m.Say, 6)
    rig.link.take()
    rig.link.say(m.GetHistory(request=1, session_key=KEY, limit=1000))
    [history] = rig.link.take()
    assert 0 < sum(len(one.text) for one in history.entries) <= HISTORY_CHARS
    assert history.entries[-1].role == "assistant"


async def test_a_transcript_that_cannot_be_used_ends_the_message_with_a_reason(start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / "s.jsonl").write_text("not a transcript\n")
    (folder / "sessions.json").write_text(f'{{"{KEY}": {{"sessionId": "s"}}}}')
    rig = await start([])
    rig.deliver("m1")
    [done] = await rig.link.heard(m.Done)
    assert done.outcome == "failed"
    assert "s.jsonl does not begin like a transcript" in done.error


def give_command(rig: Rig, id: str, text: str = "") -> None:
    order = msgspec.structs.replace(message(text), command="new")
    rig.link.say(m.Deliver(id=id, session_key=KEY, message=order))


async def test_a_bare_new_begins_a_session_without_the_model_and_once(start: Any) -> None:
    rig = await start([[Say("one")], [Say("two")]])
    rig.deliver("m1")
    await rig.link.heard(m.Say)
    give_command(rig, "m2")
    _, said = await rig.link.heard(m.Say, 2)
    assert (said.id, said.text) == ("m2", NEW_SESSION)
    assert len(rig.model.requests) == 1
    give_command(rig, "m2")
    assert len(list(Path(rig.settings.sessions).glob("*.jsonl"))) == 1
    assert len(list(Path(rig.settings.sessions).glob("*.jsonl.reset.*"))) == 1


async def test_text_behind_new_is_the_first_message_of_the_new_session(start: Any) -> None:
    rig = await start([[Say("one")], [Say("two")]])
    rig.deliver("m1", "the old matter")
    await rig.link.heard(m.Say)
    give_command(rig, "m2", "a new matter")
    await rig.link.heard(m.Say, 2)
    assert rig.model.requests[1].turns == (UserTurn("a new matter"),)


async def test_a_reply_tag_travels_to_the_router_and_is_not_in_the_history(start: Any) -> None:
    rig = await start([[Say("[[reply_to_current]] yes")]])
    rig.deliver("m1")
    [said] = await rig.link.heard(m.Say)
    assert said.text == "[[reply_to_current]] yes"
    [live] = await rig.link.heard(m.Partial)
    assert live.text == "yes"
    rig.link.say(m.GetHistory(request=1, session_key=KEY, limit=10))
    [history] = await rig.link.heard(m.History)
    assert [entry.text for entry in history.entries] == ["hi", "yes"]
