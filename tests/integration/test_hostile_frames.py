"""A worker that was taken over says whatever it likes, over a real link; the router and the other agents go on.

Every attempt fails, and is logged or reported with the agent's name (FIELD S63 to S66).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from protocol import messages as m
from protocol.codec import encode
from protocol.link import RouterLinks, WorkerLink, new_keypair
from protocol.sandbox import Seat
from protocol.slices import AgentLink
from router.spool.base import InboxRow
from router.workers import Workers
from tests.unit.router.calls.stage import OPEN, Stage

HOSTILE, HONEST = Seat("a"), Seat("b")
#: Seconds after which a router that hears nobody any more has failed.
PATIENCE = 20.0


class Hostile:
    """A socket with the agent's own key and no manners."""

    def __init__(self, link: AgentLink, secret: str, name: int | str = 1) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.ROUTING_ID, str(name).encode())
        self._socket.set(zmq.CURVE_SERVERKEY, link.router_public.encode())
        self._socket.set(zmq.CURVE_PUBLICKEY, link.worker_public.encode())
        self._socket.set(zmq.CURVE_SECRETKEY, secret.encode())
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.SNDTIMEO, 200)
        self._socket.connect(f"ipc://{link.socket}")

    async def says(self, *messages: Any) -> None:
        await asyncio.to_thread(self._send, messages)

    def _send(self, messages: tuple[Any, ...]) -> None:
        for message in messages:
            try:
                self._socket.send(message if isinstance(message, bytes) else encode(message))
            except zmq.Again:
                return  # nobody reads any more

    def close(self) -> None:
        self._context.destroy(linger=0)


class Honest:
    """The worker of the other agent, as it should be."""

    def __init__(self, link: AgentLink, secret: str) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.link = WorkerLink(
            link.socket,
            generation=1,
            router_public=link.router_public,
            worker_public=link.worker_public,
            worker_secret=secret,
            on_message=lambda data: self.heard.put_nowait(m.router_to_worker.decode(data)),
            on_up=lambda: self.say(m.Hello(version=m.PROTOCOL_VERSION, generation=1)),
            on_down=lambda: None,
        )
        self.number = 0

    def say(self, message: Any) -> None:
        self.link.send(message)

    async def hears(self, kind: type[Any]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not isinstance(message := await self.heard.get(), kind):
                pass
        return message

    async def asks(self, turn: str) -> m.Response:
        """A request of its own, answered while all that goes on."""
        self.number += 1
        self.say(m.Request(request=self.number, turn=turn, tool="session_status", arguments="{}"))
        return await self.hears(m.Response)  # type: ignore[no-any-return]


class World(Stage):
    """A router with real links: agent a is hostile, agent b is not, and each has a message at its worker."""

    async def begin(self, folder: Path) -> World:
        self.links, self.reported = RouterLinks(), []  # type: ignore[var-annotated]
        self.turns.workers = Workers(self.links, self.turns, self._report, "life")
        self.changed = asyncio.Event()
        await self.start(reach=OPEN)
        router_public, router_secret = new_keypair()
        self.keys: dict[str, tuple[AgentLink, str]] = {}
        for seat in (HOSTILE, HONEST):
            public, secret = new_keypair()
            link = AgentLink(
                agent=seat.agent,
                socket=str(folder / seat.agent / "link"),
                router_secret=router_secret,
                router_public=router_public,
                worker_public=public,
            )
            self.keys[seat.agent] = link, secret
            self.turns.ended(seat, 1, False, "")
            self.turns.workers.expect(link, 1)
        self.honest = Honest(*self.keys["b"])
        self.hostile = Hostile(*self.keys["a"])
        await self.hostile.says(m.Hello(version=m.PROTOCOL_VERSION, generation=1))
        self.mine: InboxRow = await self.message("a")
        self.theirs: InboxRow = await self.message("b")
        await self.honest.hears(m.Deliver)
        await self.until(lambda: self.is_out(self.mine))
        return self

    def is_out(self, row: InboxRow) -> bool:
        return any(queue.owner(row.id) == 1 for queue in self.turns.queues(row.agent))

    def _report(self, message: m.RouterToSupervisor) -> None:
        self.reported.append(message)
        self.changed.set()

    async def until(self, fact: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not fact():
                await asyncio.sleep(0.005)

    async def named(self) -> str:
        """The reason for which the hostile worker is to be replaced."""
        await self.until(lambda: self.of(m.WorkerMisbehaved))
        (report,) = self.of(m.WorkerMisbehaved)
        assert (report.agent, report.generation) == ("a", 1)
        return str(report.reason)

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.reported if isinstance(one, kind)]

    async def others_go_on(self) -> None:
        assert (await self.honest.asks(self.theirs.id)).ok
        assert self.is_out(self.theirs)

    async def end(self) -> None:
        self.hostile.close()
        self.honest.link.close()
        await self.close()
        self.turns.workers.close()
        self.links.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="oc") as name:
        made = await World().begin(Path(name))
        yield made
        await made.end()


FRAMES = {
    "no JSON": b"\x00\xff\x00",
    "nothing": b"",
    "truncated": encode(m.Say(id="1", seq=0, text="x"))[:-5],
    "unknown tag": b'{"type":"ReadConfig"}',
    "no tag": b"{}",
    "a router's word": b'{"type":"Drain"}',
    "a supervisor's word": b'{"type":"RouterStop","grace":0}',
    "extra field": b'{"type":"Pong","n":1,"agent":"b"}',
    "the same key twice": b'{"type":"Pong","type":"Drain","n":1}',
    "NaN": b'{"type":"Pong","n":NaN}',
    "infinity": b'{"type":"Elevate","request":1,"turn":"1","command":"x","workdir":"/","timeout":1e999}',
    "a number beyond all": b'{"type":"Pong","n":' + b"9" * 10_000 + b"}",
    "deeply nested": b'{"type":"Pong","n":' + b"[" * 500_000,
    "deeply nested objects": b'{"type":"Pong","x":' + b'{"a":' * 100_000,
    "a lone surrogate": b'{"type":"Done","id":"\\ud800","outcome":"answered"}',
    "broken UTF-8": b'{"type":"Done","id":"\xc3\x28","outcome":"answered"}',
    "one byte too many": encode(m.Pong(n=1)).ljust(m.MAX_WORKER_MESSAGE + 1),
    "another life's Hello": encode(m.Hello(version=m.PROTOCOL_VERSION, generation=2)),
    "another version's Hello": encode(m.Hello(version=m.PROTOCOL_VERSION + 1, generation=1)),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
async def test_what_is_no_message_ends_that_worker_and_no_other(world: World, frame: bytes, caplog: Any) -> None:
    await world.hostile.says(frame)
    assert await world.named()
    assert "worker a generation 1 broke the protocol" in caplog.text
    await world.others_go_on()


async def test_a_frame_far_too_long_is_not_even_read(world: World) -> None:
    await world.hostile.says(b" " * (8 * m.MAX_WORKER_MESSAGE), encode(m.Done(id=world.theirs.id, outcome="answered")))
    await world.others_go_on()


async def test_a_hundred_thousand_tiny_frames_end_their_worker(world: World) -> None:
    flood = asyncio.ensure_future(world.hostile.says(*[encode(m.Accepted(id=world.mine.id))] * 100_000))
    await world.others_go_on()
    assert await world.named() == "it sends more than anybody could read"
    await world.others_go_on()
    await flood


async def test_a_flood_of_the_longest_frames_ends_its_worker(world: World) -> None:
    long = encode(m.Partial(id=world.mine.id, seq=0, offset=0, text="x" * (m.MAX_WORKER_MESSAGE - 200)))
    flood = asyncio.ensure_future(world.hostile.says(*[long] * 300))
    await world.others_go_on()
    assert await world.named() == "it sends more than anybody could read"
    await flood


async def test_a_flood_of_requests_ends_its_worker(world: World) -> None:
    asked = [
        m.Request(request=number, turn=world.mine.id, tool="sessions_list", arguments="{}") for number in range(5000)
    ]
    await world.hostile.says(*asked)
    assert "asks more than it may" in await world.named()
    await world.others_go_on()


async def test_the_turn_of_another_agent_can_neither_be_answered_nor_ended_nor_used(world: World, caplog: Any) -> None:
    id = world.theirs.id
    await world.hostile.says(
        m.Accepted(id=id),
        m.Say(id=id, seq=0, text="forged"),
        m.Done(id=id, outcome="failed", error="forged"),
        m.Request(request=1, turn=id, tool="message", arguments='{"action":"send","message":"forged"}'),
        m.ApprovalWanted(request=2, turn=id, command="id", workdir="/"),
        m.Elevate(request=3, turn=id, command="id", workdir="/", timeout=1),
    )
    await world.until(lambda: caplog.text.count("worker a generation 1 asks in the name of") == 3)
    await world.others_go_on()
    assert world.channel.sent == []
    world.honest.say(m.Say(id=id, seq=0, text="real"))
    assert [one.text for one in await world.channel.wait_sent(1)] == ["real"]


async def test_what_was_said_of_an_old_turn_is_said_in_vain(world: World) -> None:
    say, done = m.Say(id=world.mine.id, seq=0, text="once"), m.Done(id=world.mine.id, outcome="answered")
    ask = m.Request(
        request=1, turn=world.mine.id, tool="message", arguments='{"action":"send","message":"of my own accord"}'
    )
    await world.hostile.says(say)
    await world.channel.wait_sent(1)
    await world.hostile.says(done)
    await world.until(lambda: not world.is_out(world.mine))
    again = msgspec.structs.replace(say, seq=1, text="twice")
    await world.hostile.says(say, again, done, ask, m.Accepted(id=world.mine.id), m.Pong(n=1))
    follow = await world.message("a")
    await world.until(lambda: world.is_out(follow))
    await world.hostile.says(m.Say(id=follow.id, seq=0, text="next"))
    assert [one.text for one in await world.channel.wait_sent(2)] == ["once", "next"]


async def test_a_replayed_request_is_done_once(world: World) -> None:
    arguments = '{"action":"send","message":"of my own accord"}'
    ask = m.Request(request=1, turn=world.mine.id, tool="message", arguments=arguments)
    await world.hostile.says(*[ask] * 20, m.Say(id=world.mine.id, seq=0, text="answer"))
    assert sorted(one.text for one in await world.channel.wait_sent(2)) == ["answer", "of my own accord"]
    await world.others_go_on()
    assert len(world.channel.sent) == 2


async def test_the_key_of_one_agent_opens_no_other_link(world: World) -> None:
    (link, _), (_, secret) = world.keys["b"], world.keys["a"]
    forged = msgspec.structs.replace(link, worker_public=world.keys["a"][0].worker_public)
    thief = Hostile(forged, secret)
    await thief.says(m.Done(id=world.theirs.id, outcome="answered"))
    await world.others_go_on()
    thief.close()


async def test_an_earlier_life_of_the_same_worker_is_not_heard(world: World) -> None:
    earlier = Hostile(*world.keys["a"], name=0)
    await earlier.says(m.Hello(version=m.PROTOCOL_VERSION, generation=0), m.Done(id=world.mine.id, outcome="answered"))
    await world.others_go_on()
    assert world.is_out(world.mine)
    earlier.close()


async def test_who_floods_as_another_life_of_itself_is_named(world: World) -> None:
    later = Hostile(*world.keys["a"], name=77)
    flood = asyncio.create_task(later.says(*[m.Pong(n=1)] * 20_000))
    assert await world.named() == "it speaks as generation 77"
    await world.others_go_on()
    await flood
    later.close()


async def test_who_speaks_under_a_name_that_no_life_has_is_named(world: World) -> None:
    nameless = Hostile(*world.keys["a"], name="b")
    await nameless.says(m.Pong(n=1))
    assert await world.named() == "it speaks under the name b'b'"
    await world.others_go_on()
    nameless.close()
