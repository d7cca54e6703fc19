"""Sessions of one agent are worked on at different places: each message goes to its own, also when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol import messages as m
from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.errors import Temporary
from protocol.sandbox import HOST, Placement, Seat, slug
from protocol.slices import RouterAgent
from protocol.tasks import Tasks
from router.accounts import Accounts
from router.channels.fake import FakeChannel
from router.spool.base import Admission
from router.spool.memory import MemorySpool
from router.turns import REST_AFTER, Turns
from router.web.feed import Feed

MAIN, GROUP = "agent:a:main", "agent:a:fake:group:g"
BOX = Seat("a", slug("agent:a"))


class Wire:
    """The links, as far as the router hears of them."""

    def __init__(self) -> None:
        self.said: list[tuple[Seat, m.RouterToWorker]] = []
        self.closed: list[Seat] = []

    def send(self, seat: Seat, generation: int, message: m.RouterToWorker) -> bool:
        self.said.append((seat, message))
        return True

    def forget(self, seat: Seat, generation: int, *, close: bool = False) -> None:
        if close:
            self.closed.append(seat)

    def delivered(self, seat: Seat) -> list[str]:
        return [one.session_key for at, one in self.said if at == seat and isinstance(one, m.Deliver)]


class Stage:
    def __init__(self) -> None:
        self.spool = MemorySpool()
        self.crashes: list[BaseException] = []
        self.tasks = Tasks(lambda _, error: self.crashes.append(error))
        self.reported: list[Any] = []
        accounts = Accounts(lambda *_: FakeChannel(), self._nothing, self.spool.cursor, self.tasks)
        self.turns = Turns(self.spool, accounts, Feed(), self.tasks, self.reported.append)
        self.wire = Wire()
        self.turns.workers = self.wire  # type: ignore[assignment]  # a real object with what Turns uses of Workers
        self.number = 0

    def configure(self, mode: str, scope: str = "agent") -> None:
        placement = Placement(mode=mode, scope=scope)  # type: ignore[arg-type]
        self.turns.update([RouterAgent(id="a", name="a", max_concurrent=2, placement=placement)])

    def up(self, *seats: Seat) -> None:
        for seat in seats:
            self.turns.worker_up(seat, 1, m.Hello(version=m.PROTOCOL_VERSION, generation=1))

    async def message(self, session_key: str) -> str:
        self.number += 1
        message = Inbound(
            channel="fake", account="default", message_id=str(self.number), peer=Peer("direct", "7"),
            sender=Sender("7"), text="hi", at=0.0, reply=Address("fake", "default", "7"),
        )  # fmt: skip
        rows = await self.spool.admit([Admission("a", session_key, message, "test")], None, 0.0)
        self.turns.add(rows)
        return rows[0].id

    async def close(self) -> None:
        await self.tasks.cancel()
        await self.spool.close()
        assert self.crashes == []

    async def _nothing(self, *_: Any) -> None:
        return None


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.spool.open()
    yield stage
    await stage.close()


async def test_the_main_session_stays_on_the_host_and_others_go_into_the_sandbox(stage: Stage) -> None:
    stage.configure("non-main")
    stage.up(Seat("a"), BOX)
    await stage.message(MAIN)
    await stage.message(GROUP)
    assert (stage.wire.delivered(Seat("a")), stage.wire.delivered(BOX)) == ([MAIN], [GROUP])


async def test_a_worker_is_asked_for_with_its_place_and_a_session_that_waits_for_it(stage: Stage) -> None:
    stage.configure("all", "session")
    await stage.message(GROUP)
    await stage.message(GROUP)
    assert stage.reported == [m.WorkerWanted(agent="a", place=slug(GROUP), session_key=GROUP)], "asked once"


async def test_what_waits_goes_where_its_session_is_worked_on_now(stage: Stage) -> None:
    stage.configure("off")
    await stage.message(GROUP)
    stage.configure("all")
    stage.up(BOX)
    assert stage.wire.delivered(BOX) == [GROUP]
    assert stage.turns.queue("a", GROUP) is not None


async def test_what_a_worker_has_is_finished_by_it_and_only_what_follows_moves(stage: Stage) -> None:
    stage.configure("off")
    stage.up(Seat("a"))
    first = await stage.message(GROUP)
    await stage.message(GROUP)
    stage.configure("all")
    stage.up(BOX)
    assert stage.wire.delivered(BOX) == [], "the order of a session is kept"
    stage.turns.worker_said(Seat("a"), 1, m.Done(id=first, outcome="answered"))
    assert stage.wire.delivered(BOX) == [GROUP]


async def test_what_was_with_a_dead_worker_moves_too(stage: Stage) -> None:
    stage.configure("off")
    stage.up(Seat("a"))
    await stage.message(GROUP)
    stage.configure("all")
    stage.turns.ended(Seat("a"), 1, False, "stopped")
    stage.up(BOX)
    assert stage.wire.delivered(BOX) == [GROUP]


async def test_one_place_cannot_answer_for_another(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.configure("non-main")
    stage.up(Seat("a"), BOX)
    own = await stage.message(MAIN)
    for lie in (m.Say(id=own, seq=0, text="I am the main session"), m.Done(id=own, outcome="answered")):
        stage.turns.worker_said(BOX, 1, lie)
    queue = stage.turns.queue("a", MAIN)
    assert queue is not None and queue.owner(own) == 1, "it is still being worked on where it belongs"
    await asyncio.sleep(0)
    assert (await stage.spool.pending())[1] == [], "nothing was said to anybody"
    named = [line.message for line in caplog.records if "not its own" in line.message]
    assert len(named) == 1 and named[0].startswith(f"worker {BOX} "), "and the liar is named, once"


async def test_one_place_cannot_answer_a_question_that_was_put_to_another(stage: Stage) -> None:
    stage.configure("non-main")
    stage.up(Seat("a"), BOX)
    asking = asyncio.create_task(stage.turns.history("a", MAIN, 10))
    await asyncio.sleep(0)
    question = next(one for _, one in stage.wire.said if isinstance(one, m.GetHistory))
    forged = m.HistoryEntry(role="assistant", text="forged", at=0.0)
    stage.turns.worker_said(BOX, 1, m.History(request=question.request, entries=(forged,)))
    await asyncio.sleep(0)
    assert not asking.done()
    stage.turns.worker_said(Seat("a"), 1, m.History(request=question.request, entries=()))
    assert await asking == ()


async def test_the_history_of_a_session_without_a_worker_is_asked_for_later(stage: Stage) -> None:
    stage.configure("non-main")
    with pytest.raises(Temporary):
        await stage.turns.history("a", GROUP, 10)
    assert stage.reported == [m.WorkerWanted(agent="a", place=BOX.place, session_key=GROUP)]


async def test_a_worker_of_one_session_rests_after_a_while_and_others_do_not(stage: Stage) -> None:
    stage.configure("non-main", "session")
    own = Seat("a", slug(GROUP))
    stage.up(Seat("a"), own)
    id = await stage.message(GROUP)
    assert stage.turns.unused(0.0) == stage.turns.unused(REST_AFTER) == []
    stage.turns.worker_said(own, 1, m.Done(id=id, outcome="answered"))
    assert stage.turns.unused(REST_AFTER) == []
    assert stage.turns.unused(2 * REST_AFTER) == [own]
    assert stage.turns.unused(3 * REST_AFTER) == [], "told once"
    await stage.message(GROUP)
    assert stage.reported[-1] == m.WorkerWanted(agent="a", place=own.place, session_key=GROUP)


async def test_the_link_of_a_session_is_closed_with_its_worker_and_that_of_the_host_stays(stage: Stage) -> None:
    stage.configure("non-main", "session")
    for seat in (Seat("a"), Seat("a", slug(GROUP))):
        stage.turns.ended(seat, 1, False, "done")
    assert stage.wire.closed == [Seat("a", slug(GROUP))]
    assert Seat("a").place == HOST


async def test_a_request_in_the_name_of_a_message_elsewhere_has_nobodys_name(stage: Stage) -> None:
    heard: list[Any] = []

    class Calls:
        def heard(self, seat: Seat, generation: int, row: Any, message: Any) -> None:
            heard.append((seat.place, row.id if row else None))

    stage.turns.calls = Calls()
    stage.configure("non-main")
    stage.up(Seat("a"), BOX)
    own = await stage.message(MAIN)
    request = m.Request(request=1, turn=own, tool="sessions_list", arguments="{}")
    stage.turns.worker_said(BOX, 1, request)
    stage.turns.worker_said(Seat("a"), 1, request)
    stage.turns.worker_said(Seat("a"), 2, request)
    assert heard == [(BOX.place, None), (HOST, own), (HOST, None)]
