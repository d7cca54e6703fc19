"""What every spool must do: the same cases for the one in memory and the one on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.envelope import Address, Inbound, Outbound, Peer, Sender
from router.spool.base import INTERRUPTED, Admission, Cursor, InboxRow, OutboxRow, Spool, SpoolFailed, part_key
from router.spool.memory import MemorySpool
from router.spool.states import IllegalStep, OutState
from router.spool.store import SqliteSpool

NOW = 1_760_000_000.0
CHAT = Address(channel="telegram", account="work", target="7", reply_to="1")


@pytest.fixture(params=["memory", "sqlite"])
async def spool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Spool]:
    made: Spool = MemorySpool() if request.param == "memory" else SqliteSpool(tmp_path / "state" / "spool.sqlite")
    await made.open()
    yield made
    await made.close()


def inbound(message_id: str, text: str = "hello", account: str = "work") -> Inbound:
    return Inbound(
        channel="telegram",
        account=account,
        message_id=message_id,
        peer=Peer(kind="direct", id="7"),
        sender=Sender(id="7", name="Ann"),
        text=text,
        at=NOW,
        reply=CHAT,
        roles=("r1", "r2"),
    )


def admission(message_id: str, agent: str = "main") -> Admission:
    return Admission(agent, f"agent:{agent}:main", inbound(message_id))


def cursor(value: str, account: str = "work") -> Cursor:
    return Cursor("telegram", account, value)


def words(key: str, text: str = "hi") -> Outbound:
    return Outbound(key=key, address=CHAT, text=text)


def parts(inbound_id: str, seq: int, *texts: str) -> list[Outbound]:
    return [words(part_key(inbound_id, seq, number), text) for number, text in enumerate(texts)]


async def admit_one(spool: Spool, message_id: str = "1") -> InboxRow:
    (row,) = await spool.admit([admission(message_id)], None, NOW)
    return row


async def restart(spool: Spool) -> None:
    await spool.close()
    await spool.open()


async def outbox(spool: Spool) -> list[OutboxRow]:
    return (await spool.pending())[1]


async def test_an_admitted_message_comes_back_whole_after_a_restart(spool: Spool) -> None:
    """Every field of the message and its agent, session and origin survive."""
    item = Admission("work", "agent:work:main", inbound("1", "grüße 👋 \x00"), "operator")
    (row,) = await spool.admit([item], None, NOW)
    await restart(spool)
    assert (await spool.pending())[0] == [row]
    assert row == InboxRow(row.id, "work", "agent:work:main", item.message, 0, NOW, "operator")


async def test_a_repeated_update_is_stored_once(spool: Spool) -> None:
    """In the same call, in a later one, and after a restart."""
    first = await spool.admit([admission("1"), admission("1")], None, NOW)
    second = await spool.admit([admission("1"), admission("2")], None, NOW + 1)
    await restart(spool)
    third = await spool.admit([admission("1"), admission("2")], None, NOW + 2)
    assert [len(first), len(second), len(third)] == [1, 1, 0]


async def test_the_same_message_for_two_agents_is_two_rows(spool: Spool) -> None:
    """Broadcast: what makes a message the same includes the agent."""
    rows = await spool.admit([admission("1", "main"), admission("1", "work")], None, NOW)
    assert [row.agent for row in rows] == ["main", "work"]


async def test_the_same_message_id_on_another_account_is_another_message(spool: Spool) -> None:
    """Platform ids are unique within one login only."""
    items = [Admission("main", "k", inbound("1", account=account)) for account in ("work", "home")]
    assert len(await spool.admit(items, None, NOW)) == 2


async def test_the_cursor_is_stored_even_when_everything_was_a_repeat(spool: Spool) -> None:
    """Otherwise a platform would repeat the same page for ever."""
    await spool.admit([admission("1")], cursor("10"), NOW)
    assert await spool.admit([admission("1")], cursor("11"), NOW) == []
    await spool.admit([], cursor("3", "home"), NOW)
    await restart(spool)
    assert [await spool.cursor("telegram", name) for name in ("work", "home", "none")] == ["11", "3", None]


async def test_ids_are_unique_and_sort_by_arrival_even_when_the_clock_goes_back(spool: Spool) -> None:
    """Over a restart too: a worker recognises a message by this id alone."""
    ids = [(await admit_one(spool, "1")).id, (await admit_one(spool, "2")).id]
    await restart(spool)
    (row,) = await spool.admit([admission("3")], None, NOW - 5000)
    ids.append(row.id)
    assert sorted(set(ids)) == ids
    assert all(len(id) == 11 and id.isalnum() for id in ids)


async def test_an_id_is_not_used_again_after_a_purge(spool: Spool) -> None:
    """The transcript of a worker remembers longer than the spool."""
    row = await admit_one(spool)
    await spool.finish(row.id, "answered", "", NOW)
    assert await spool.purge(NOW + 1) == 1
    await restart(spool)
    (later,) = await spool.admit([admission("9")], None, NOW - 5000)
    assert later.id > row.id


async def test_a_finished_message_is_not_pending_and_may_be_finished_again(spool: Spool) -> None:
    """Done is repeated by a worker that saw no DoneAck."""
    row = await admit_one(spool)
    for _ in range(2):
        await spool.finish(row.id, "answered", "", NOW)
    assert (await spool.pending())[0] == []
    assert (await spool.counts())["in.done"] == 1


async def test_finishing_what_never_existed_is_our_bug(spool: Spool) -> None:
    """No table has a step for it."""
    with pytest.raises(IllegalStep, match="does not exist"):
        await spool.finish("nonsense", "answered", "", NOW)


async def test_blame_counts_crashes_of_unfinished_messages_only(spool: Spool) -> None:
    """The counts survive a restart: three crashes are three, whenever they were."""
    running, done = await admit_one(spool, "1"), await admit_one(spool, "2")
    await spool.finish(done.id, "answered", "", NOW)
    assert await spool.blame([running.id, done.id, "nonsense"]) == {running.id: 1}
    await restart(spool)
    assert await spool.blame([running.id]) == {running.id: 2}
    assert (await spool.pending())[0][0].crashes == 2


async def test_burying_stores_the_reason_and_the_farewell_together(spool: Spool) -> None:
    """Repeating it adds nothing, and the worker's late Done changes nothing."""
    row = await admit_one(spool)
    farewell = [words(f"{row.id}.end.0", "sorry")]
    (stored,) = await spool.bury(row.id, "killed its worker 3 times", farewell, NOW)
    assert await spool.bury(row.id, "again", farewell, NOW) == []
    await spool.finish(row.id, "answered", "", NOW)
    await restart(spool)
    assert await spool.pending() == ([], [stored])
    assert stored.inbound == row.id and stored.agent == "main"
    dead = [seen for seen in await spool.unfinished(10) if seen.state == "dead"]
    assert [(seen.id, seen.reason, seen.attempts) for seen in dead] == [(row.id, "killed its worker 3 times", 0)]


async def test_a_done_message_cannot_be_buried(spool: Spool) -> None:
    """It was answered: a farewell would be a lie."""
    row = await admit_one(spool)
    await spool.finish(row.id, "answered", "", NOW)
    with pytest.raises(IllegalStep, match="done cannot become dead"):
        await spool.bury(row.id, "late", [words("x")], NOW)
    assert await outbox(spool) == []


async def test_a_say_is_stored_once_under_its_number(spool: Spool) -> None:
    """Also when the second time has another text, another number of parts, or comes after a restart."""
    row = await admit_one(spool)
    first = await spool.say(row.id, 0, parts(row.id, 0, "a", "b"), NOW)
    again = await spool.say(row.id, 0, parts(row.id, 0, "other", "b", "c"), NOW)
    await restart(spool)
    third = await spool.say(row.id, 0, parts(row.id, 0, "a"), NOW)
    other = await spool.say(row.id, 1, parts(row.id, 1, "next"), NOW)
    assert (again, third) == ([], [])
    assert [seen.message.text for seen in await outbox(spool)] == ["a", "b", "next"]
    assert [seen.key for seen in first + other] == [f"{row.id}.0.0", f"{row.id}.0.1", f"{row.id}.1.0"]


async def test_saying_nothing_is_allowed_and_stores_nothing(spool: Spool) -> None:
    """A text of spaces has no parts."""
    row = await admit_one(spool)
    assert await spool.say(row.id, 0, [], NOW) == []


async def test_a_say_for_a_message_that_has_ended_is_dropped(spool: Spool) -> None:
    """A worker given up for dead must not answer after the farewell."""
    row = await admit_one(spool)
    await spool.bury(row.id, "gone", [], NOW)
    assert await spool.say(row.id, 0, parts(row.id, 0, "late"), NOW) == []
    assert await spool.say("nonsense", 0, parts("nonsense", 0, "late"), NOW) == []
    assert await outbox(spool) == []


async def test_a_say_is_still_known_when_its_answer_was_sent_and_purged(spool: Spool) -> None:
    """Rows of a running turn stay, or a resumed turn would speak twice."""
    row = await admit_one(spool)
    await spool.say(row.id, 0, parts(row.id, 0, "a"), NOW, "note")
    await spool.sent(f"{row.id}.0.0", "99", NOW)
    assert await spool.purge(NOW + 1) == 0
    assert await spool.say(row.id, 0, parts(row.id, 0, "a"), NOW) == []


async def test_parts_must_carry_the_keys_of_their_say(spool: Spool) -> None:
    """The key is what makes a repeat harmless, so a wrong one is refused before anything is stored."""
    row = await admit_one(spool)
    with pytest.raises(ValueError, match="has the key"):
        await spool.say(row.id, 0, [words("free choice")], NOW)
    assert await outbox(spool) == []


async def test_the_first_part_can_be_on_its_way_in_the_same_commit(spool: Spool) -> None:
    """The others wait for it, so that the order holds."""
    row = await admit_one(spool)
    rows = await spool.say(row.id, 0, parts(row.id, 0, "a", "b"), NOW, "nonce-1")
    assert [(seen.state, seen.note) for seen in rows] == [(OutState.SENDING, "nonce-1"), (OutState.QUEUED, "")]
    assert await outbox(spool) == rows


async def test_what_was_being_sent_when_the_process_died_is_uncertain(spool: Spool) -> None:
    """Never simply sent again; the note survives so that the platform can be asked."""
    row = await admit_one(spool)
    await spool.say(row.id, 0, parts(row.id, 0, "a", "b"), NOW)
    await spool.sending(f"{row.id}.0.0", "nonce-2", NOW)
    await restart(spool)
    first, second = await outbox(spool)
    assert (first.state, first.note, first.reason) == (OutState.UNCERTAIN, "nonce-2", INTERRUPTED)
    assert second.state is OutState.QUEUED


async def test_a_delayed_send_waits_and_counts_its_attempts(spool: Spool) -> None:
    """Until it is taken; then it is no longer pending."""
    (row,) = await spool.post([words("notice-1")], NOW)
    for attempt in (1, 2):
        await spool.sending(row.key, "", NOW)
        await spool.delay(row.key, NOW + 30 * attempt, "429")
    (waiting,) = await outbox(spool)
    assert (waiting.state, waiting.attempts, waiting.not_before) == (OutState.QUEUED, 2, NOW + 60)
    assert waiting.reason == "429"
    await spool.sending(row.key, "", NOW)
    await spool.sent(row.key, "77", NOW)
    assert await outbox(spool) == []
    assert (await spool.counts())["out.sent"] == 1


@pytest.mark.parametrize("end", ["sent", "delay", "refuse"])
async def test_an_uncertain_send_ends_by_what_the_platform_says(spool: Spool, end: str) -> None:
    """Taken after all, surely not taken, or given up."""
    (row,) = await spool.post([words("notice-1")], NOW)
    await spool.sending(row.key, "", NOW)
    await spool.uncertain(row.key, "no answer")
    assert [(seen.state, seen.reason) for seen in await outbox(spool)] == [(OutState.UNCERTAIN, "no answer")]
    match end:
        case "sent":
            await spool.sent(row.key, "5", NOW)
        case "delay":
            await spool.delay(row.key, NOW, "not there")
        case _:
            await spool.refuse(row.key, "operator gave up")
    counts = await spool.counts()
    assert counts[{"sent": "out.sent", "delay": "out.queued", "refuse": "out.dead"}[end]] == 1


async def test_steps_that_are_not_in_the_table_are_refused_and_change_nothing(spool: Spool) -> None:
    """A sent message is never queued again, a queued one is not sent without leaving."""
    (row,) = await spool.post([words("notice-1")], NOW)
    with pytest.raises(IllegalStep, match="queued cannot become sent"):
        await spool.sent(row.key, "1", NOW)
    await spool.sending(row.key, "", NOW)
    await spool.sent(row.key, "1", NOW)
    for step in (spool.delay(row.key, NOW, "x"), spool.refuse(row.key, "x"), spool.sending(row.key, "", NOW)):
        with pytest.raises(IllegalStep, match="sent cannot become"):
            await step
    with pytest.raises(IllegalStep, match="does not exist"):
        await spool.uncertain("nonsense", "x")
    assert (await spool.counts())["out.sent"] == 1


async def test_a_posted_text_is_stored_once_by_its_key(spool: Spool) -> None:
    """It belongs to no message and no agent."""
    (row,) = await spool.post([words("pair-1")], NOW)
    assert await spool.post([words("pair-1"), words("pair-2")], NOW) != []
    assert (row.inbound, row.agent) == ("", "")
    assert [seen.key for seen in await outbox(spool)] == ["pair-1", "pair-2"]


async def test_a_dead_answer_shows_its_reason_to_the_operator(spool: Spool) -> None:
    """Newest first, both boxes, no finished rows, never more than asked for."""
    row = await admit_one(spool, "1")
    await spool.say(row.id, 0, parts(row.id, 0, "a"), NOW + 1)
    await spool.refuse(f"{row.id}.0.0", "bot was blocked")
    await spool.admit([admission("2")], None, NOW + 2)
    seen = await spool.unfinished(10)
    assert [(view.box, view.state) for view in seen] == [("in", "queued"), ("out", "dead"), ("in", "queued")]
    assert (seen[1].id, seen[1].reason, seen[1].account) == (f"{row.id}.0.0", "bot was blocked", "work")
    assert len(await spool.unfinished(1)) == 1


async def test_counts_name_every_state(spool: Spool) -> None:
    """Zero is said, so that an operator need not guess."""
    counts = await spool.counts()
    assert set(counts) == {
        *("in.queued", "in.done", "in.dead"),
        *("out.queued", "out.sending", "out.sent", "out.uncertain", "out.dead"),
    }
    await admit_one(spool)
    assert (await spool.counts())["in.queued"] == 1


async def test_purge_forgets_what_ended_before_and_nothing_else(spool: Spool) -> None:
    """Unfinished rows stay however old they are; a purged message would be new again."""
    old, waiting = await admit_one(spool, "1"), await admit_one(spool, "2")
    await spool.say(old.id, 0, parts(old.id, 0, "a"), NOW, "")
    await spool.sent(f"{old.id}.0.0", "5", NOW)
    await spool.finish(old.id, "answered", "", NOW)
    assert await spool.purge(NOW) == 0
    assert await spool.purge(NOW + 1) == 2
    assert [row.id for row in (await spool.pending())[0]] == [waiting.id]
    assert len(await spool.admit([admission("1"), admission("2")], None, NOW)) == 1


async def test_many_callers_at_once_each_get_their_own_rows(spool: Spool) -> None:
    """One failing call does not disturb those that share its commit."""

    async def talk(number: int) -> str:
        row = await admit_one(spool, str(number))
        await spool.say(row.id, 0, parts(row.id, 0, f"answer {number}"), NOW, "")
        with pytest.raises(IllegalStep):
            await spool.sending(f"{row.id}.0.0", "", NOW)
        await spool.sent(f"{row.id}.0.0", "", NOW)
        await spool.finish(row.id, "answered", "", NOW)
        return row.id

    ids = await asyncio.gather(*(talk(number) for number in range(200)))
    assert len(set(ids)) == 200
    counts = await spool.counts()
    assert (counts["in.done"], counts["out.sent"]) == (200, 200)


async def test_a_closed_spool_says_so_and_closing_twice_is_harmless(spool: Spool) -> None:
    """Nothing is accepted that would not be kept."""
    await spool.close()
    await spool.close()
    with pytest.raises(SpoolFailed, match="closed"):
        await spool.admit([admission("1")], None, NOW)


async def test_a_known_message_is_found_by_what_makes_it_the_same(spool: Spool) -> None:
    """For a caller that repeats itself and needs the first id."""
    row = await admit_one(spool)
    assert await spool.known("telegram", "work", "1", "main") == row.id
    assert await spool.known("telegram", "work", "1", "other") == ""


async def test_the_newest_message_of_each_session_is_found_also_when_it_was_answered(spool: Spool) -> None:
    first = await admit_one(spool)
    await spool.admit([admission("2", "work")], None, NOW + 1)
    (newest,) = await spool.admit([admission("3")], None, NOW + 2)
    await spool.finish(first.id, "answered", "", NOW + 3)
    await spool.finish(newest.id, "answered", "", NOW + 3)
    found = [(row.agent, row.message.message_id) for row in await spool.sessions(10)]
    assert found == [("main", "3"), ("work", "2")]
    assert [row.message.message_id for row in await spool.sessions(1)] == ["3"]
