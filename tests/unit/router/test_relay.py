"""Agents that answer one after the other."""

from __future__ import annotations

from router.relay import Relay
from router.spool.base import InboxRow
from tests.unit.router.test_dispatch import ids, queue, row


def run(*names: str) -> tuple[Relay, list[InboxRow]]:
    """Rows of one platform message."""
    rows = [InboxRow(name, name, "s", row("same").message, 0, 0.0) for name in names]
    relay = Relay()
    return relay, rows


def test_each_waits_for_the_one_before() -> None:
    relay, (a, b, c) = run("a", "b", "c")
    assert [relay.join(one) for one in (a, b, c)] == [False, True, True]
    assert relay.leave(a) is b
    assert relay.leave(c) is None
    assert relay.leave(b) is None


def test_one_that_ends_before_its_turn_is_skipped() -> None:
    relay, (a, b, c) = run("a", "b", "c")
    for one in (a, b, c):
        relay.join(one)
    assert relay.leave(b) is None
    assert relay.leave(a) is c


def test_messages_of_their_own_never_wait() -> None:
    relay = Relay()
    assert not relay.join(row("x"))
    assert not relay.join(row("y"))
    assert relay.leave(row("z")) is None


def test_a_held_message_stops_its_own_session_only() -> None:
    made = queue(row("b1", "b"), row("b2", "b"), row("c1", "c"))
    made.hold("b1")
    assert ids(made) == ["c1"]
    made.let_go("b1")
    assert ids(made) == ["b1"]


def test_a_held_message_that_ends_holds_nobody() -> None:
    made = queue(row("b1", "b"), row("b2", "b"))
    made.hold("b1")
    made.finish("b1")
    assert ids(made) == ["b2"]
