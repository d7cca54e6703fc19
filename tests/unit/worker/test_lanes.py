"""One turn per session, sessions side by side, never more than the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.lanes import Lanes


def test_a_session_has_one_turn_at_a_time_in_order() -> None:
    lanes = Lanes(4)
    lanes.add("s", "1")
    lanes.add("s", "2")
    assert lanes.start() == ["1"]
    assert lanes.start() == []
    lanes.finish("1")
    assert lanes.start() == ["2"]


def test_a_busy_session_does_not_hold_up_another() -> None:
    lanes = Lanes(2)
    for session, turn in (("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")):
        lanes.add(session, turn)
    assert lanes.start() == ["1", "3"]
    assert repr(lanes) == "Lanes(2 of 2 running, 2 waiting)"
    lanes.finish("3")
    assert lanes.start() == ["4"]


def test_only_waiting_turns_can_be_taken_back_and_known_ones_are_not_added_again() -> None:
    lanes = Lanes(1)
    lanes.add("a", "1")
    lanes.add("a", "2")
    lanes.start()
    lanes.add("a", "1")
    assert not lanes.remove("1")
    assert lanes.remove("2")
    assert not lanes.knows("2")
    assert (lanes.running, lanes.waiting) == (("1",), ())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40), st.integers(1, 3))
def test_whatever_comes_each_session_runs_in_order_within_the_limit(steps: list[tuple[str, bool]], limit: int) -> None:
    lanes, order, sessions = Lanes(limit), [], {}
    for number, (session, end_one) in enumerate(steps):
        sessions[str(number)] = session
        lanes.add(session, str(number))
        order += lanes.start()
        assert len(lanes.running) <= limit
        assert len({sessions[turn] for turn in lanes.running}) == len(lanes.running)
        if end_one and lanes.running:
            lanes.finish(lanes.running[0])
    order += lanes.start()
    while lanes.running:
        lanes.finish(lanes.running[0])
        order += lanes.start()
    for session in "abc":
        own = [int(turn) for turn in order if sessions[turn] == session]
        assert own == sorted(own)
    assert len(order) == len(steps)
