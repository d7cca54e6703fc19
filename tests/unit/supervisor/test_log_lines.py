"""Lines of children: cut, counted, and with a sender they cannot choose."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from supervisor.log_lines import Budget, LineCutter, ours, workers

NOW = "2026-01-02T03:04:05.000+00:00"


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_lines_come_whole_whatever_the_portions_are() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"one\ntw") == [b"one"]
    assert cutter.feed(b"o\n\nthree") == [b"two"]
    assert cutter.flush() == [b"three"]
    assert cutter.flush() == []


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_nothing_is_lost_or_invented_below_the_limit(portions: list[bytes]) -> None:
    cutter = LineCutter(limit=10_000)
    got = [found for portion in portions for found in cutter.feed(portion)] + cutter.flush()
    assert got == [one for one in b"".join(portions).split(b"\n") if one]


def test_a_line_without_end_is_cut_and_says_by_how_much() -> None:
    cutter = LineCutter(limit=10)
    assert cutter.feed(b"x" * 1000) == []
    assert cutter.feed(b"x" * 1000) == []
    assert cutter.feed(b"\nnext\n") == ["xxxxxxxxxx … [1990 bytes cut]".encode(), b"next"]


def test_a_budget_lets_two_seconds_worth_through_and_counts_the_rest() -> None:
    budget = Budget(lines=10, size=1000, now=0.0)
    assert [budget.take(10, 0.0) for _ in range(25)].count(True) == 20
    assert (budget.dropped, budget.settle(0.5), budget.settle(1.0), budget.settle(2.5)) == (5, 0, 5, 0)
    assert [budget.take(10, 1.0) for _ in range(25)].count(True) == 10


def test_a_budget_also_counts_bytes() -> None:
    budget = Budget(lines=10, size=1000, now=0.0)
    assert [budget.take(900, 0.0) for _ in range(3)] == [True, True, False]


def test_our_own_children_name_their_subsystem_and_time() -> None:
    said = {"time": "2026-01-01T00:00:00.1Z", "level": "warn", "subsystem": "telegram", "message": "x", "n": 1}
    assert ours("router", line(**said), NOW) == said


def test_our_own_children_cannot_speak_for_a_worker_or_the_supervisor() -> None:
    for name in ("worker/main", "supervisor"):
        assert ours("router", line(message="x", subsystem=name), NOW)["subsystem"] == f"router/{name}"
    assert ours("router", line(message="x", subsystem="a b\n"), NOW)["subsystem"] == "router"


def test_what_is_no_json_is_kept_as_it_is() -> None:
    expected = {"time": NOW, "level": "warn", "subsystem": "router", "message": "Traceback …"}
    assert ours("router", "Traceback …".encode(), NOW) == expected
    assert workers("main", b"[1, 2]", NOW)["message"] == "[1, 2]"
    assert workers("main", b"\xff\xfe", NOW)["message"] == "��"
    assert workers("main", b"[" * 9000, NOW)["message"].startswith("[[[")


def test_a_worker_chooses_neither_its_name_nor_its_time_nor_an_unknown_level() -> None:
    forged = line(time="1999-01-01T00:00:00Z", level="silent", subsystem="router", message="x", agent="ops", part="y")
    assert workers("main", forged, NOW) == {
        "time": NOW, "level": "info", "subsystem": "worker/main", "message": "x", "part": "router",
    }  # fmt: skip


def test_extra_values_are_plain_few_and_short() -> None:
    many = {f"k{number}": number for number in range(100)}
    entry = workers("main", line(message="x", nested={"a": 1}, long="y" * 5000, **many), NOW)
    assert "nested" not in entry and len(entry["long"]) == 1024 and len(entry) == 4 + 16
