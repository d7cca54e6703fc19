"""Which message goes to which worker: order in a session, credit, generations, suspects."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.sandbox import Seat
from router.dispatch import AgentQueue
from router.spool.base import InboxRow


def row(id: str, session: str = "s", crashes: int = 0) -> InboxRow:
    message = Inbound(
        channel="fake",
        account="default",
        message_id=id,
        peer=Peer("direct", "1"),
        sender=Sender("1"),
        text=id,
        at=0.0,
        reply=Address("fake", "default", "1"),
    )
    return InboxRow(id, "main", session, message, crashes, 0.0)


def queue(*rows: InboxRow, credit: int = 4, generation: int | None = 1) -> AgentQueue:
    made = AgentQueue(Seat("main"), credit)
    for one in rows:
        made.add(one)
    if generation is not None:
        made.connect(generation, ())
    return made


def ids(made: AgentQueue) -> list[str]:
    return [delivery.row.id for delivery in made.next()]


def test_a_session_has_one_message_out_and_the_next_follows_its_end() -> None:
    made = queue(row("a1", "a"), row("a2", "a"), row("b1", "b"))
    assert ids(made) == ["a1", "b1"]
    assert ids(made) == []
    made.finish("a1")
    assert ids(made) == ["a2"]


def test_no_more_messages_are_out_than_the_agents_credit() -> None:
    made = queue(*(row(str(n), str(n)) for n in range(5)), credit=2)
    assert ids(made) == ["0", "1"]
    made.finish("0")
    assert ids(made) == ["2"]


def test_without_a_worker_everything_waits() -> None:
    made = queue(row("a"), generation=None)
    assert ids(made) == []
    assert (made.waiting, made.out) == (1, 0)


def test_what_was_out_at_a_dead_generation_goes_first_to_the_next_one() -> None:
    made = queue(row("a1", "a"), row("b1", "b"), row("c1", "c"), credit=2)
    assert ids(made) == ["a1", "b1"]
    assert [lost.id for lost in made.lose(1)] == ["a1", "b1"]
    made.connect(2, ())
    assert ids(made) == ["a1", "b1"]


def test_a_worker_that_goes_on_after_a_router_restart_is_not_sent_its_messages_again() -> None:
    made = queue(row("a1", "a"), row("b1", "b"), generation=None)
    made.connect(7, ["b1"])
    assert made.owner("b1") == 7
    assert ids(made) == ["a1"]


def test_a_message_lost_on_the_way_to_a_living_worker_is_sent_again_after_its_hello() -> None:
    made = queue(row("a1", "a"))
    assert ids(made) == ["a1"]
    made.connect(1, ())
    assert ids(made) == ["a1"]


def test_a_retired_generation_keeps_what_it_has_and_the_session_waits_for_it() -> None:
    made = queue(row("a1", "a"), row("a2", "a"), row("b1", "b"), credit=1)
    assert ids(made) == ["a1"]
    made.connect(2, ())
    made.retire(1)
    made.credit = 4
    assert [(d.generation, d.row.id) for d in made.next()] == [(2, "b1")]
    made.finish("a1")
    assert [(d.generation, d.row.id) for d in made.next()] == [(2, "a2")]


def test_an_older_generations_hello_does_not_take_over() -> None:
    made = queue(row("a1", "a"), generation=5)
    made.connect(4, ())
    assert made.current == 5


def test_a_suspect_goes_out_alone() -> None:
    made = queue(row("calm", "a"), row("suspect", "b", crashes=1), row("later", "c"))
    assert ids(made) == ["calm"]
    made.finish("calm")
    assert ids(made) == ["suspect"]
    made.finish("suspect")
    assert ids(made) == ["later"]


def test_ending_an_unknown_message_changes_nothing() -> None:
    made = queue(row("a1"))
    assert made.finish("zzz") is None
    assert ids(made) == ["a1"]


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3)),
        st.tuples(st.just("next"), st.just(0)),
        st.tuples(st.just("finish"), st.integers(0, 30)),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("up"), st.just(0)),
        st.tuples(st.just("rehello"), st.integers(0, 7)),
    ),
    max_size=80,
)


@given(_steps)
def test_whatever_happens_no_message_is_lost_none_is_out_twice_and_sessions_keep_their_order(
    steps: list[tuple[str, int]],
) -> None:
    made, generation, made_rows, ended = AgentQueue(Seat("main"), 3), 0, 0, set[str]()
    order: dict[str, list[str]] = {}
    for step, number in steps:
        match step:
            case "add":
                new = row(f"m{made_rows}", f"s{number}")
                made_rows += 1
                order.setdefault(new.session_key, []).append(new.id)
                made.add(new)
            case "up":
                generation += 1
                made.connect(generation, ())
            case "crash" if made.current is not None:
                for lost in made.lose(made.current):
                    made.replace(msgspec.structs.replace(lost, crashes=lost.crashes + 1))
            case "rehello" if made.current is not None:
                out = [r.id for r in made.rows() if made.owner(r.id) == made.current]
                made.connect(made.current, out[:number])
            case "finish":
                if made.owner(f"m{number}") is not None and made.finish(f"m{number}"):
                    ended.add(f"m{number}")
            case "next":
                for delivery in made.next():
                    session = order[delivery.row.session_key]
                    assert all(before in ended for before in session[: session.index(delivery.row.id)])
        assert made.out <= 3
        assert made.waiting + made.out + len(ended) == made_rows
    made.connect(generation + 1, ())
    for _ in range(made_rows * 2):
        for delivery in made.next():
            made.finish(delivery.row.id)
            ended.add(delivery.row.id)
        for stuck in [r.id for r in made.rows() if made.owner(r.id) not in (None, generation + 1)]:
            made.lose(made.owner(stuck) or 0)
    assert len(ended) == made_rows
