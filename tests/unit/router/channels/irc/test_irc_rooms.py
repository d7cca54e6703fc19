"""Channels: asked for, entered, lost, tried again ever later."""

from __future__ import annotations

from router.channels.irc.rooms import ANSWER, LAST_PAUSE, SETTLED, Rooms
from router.channels.irc.settings import Room, Secret


def rooms() -> Rooms:
    return Rooms([Room("#Team", Secret("key")), Room("#open")], "rfc1459")


def test_all_channels_are_asked_for_once() -> None:
    """Ensure JOIN with the key where there is one, and no second JOIN while the answer is out."""
    ours = rooms()
    assert ours.joins(0.0) == [b"JOIN #Team :key\r\n", b"JOIN :#open\r\n"]
    assert ours.joins(1.0) == []
    assert ours.next_due() == ANSWER
    assert len(ours.joins(ANSWER)) == 2


def test_names_are_compared_as_the_server_does() -> None:
    """Ensure our JOIN is recognised however the server writes it."""
    ours = rooms()
    ours.joins(0.0)
    ours.entered("#TEAM", 1.0)
    ours.entered("#elsewhere", 1.0)
    assert repr(ours) == "#Team in, #open asked"
    assert ours.missing() == ""


def test_a_refusal_is_told_and_tried_again_ever_later() -> None:
    """Ensure the pause doubles up to an hour, and the reason can be read."""
    ours = rooms()
    pauses = []
    now = 0.0
    for _ in range(12):
        ours.joins(now)
        seat = ours.refused("#team", "474", now)
        assert seat is not None
        pauses.append(seat.due - now)
        now = seat.due
    assert pauses[:3] == [10, 20, 40] and pauses[-1] == LAST_PAUSE
    assert ours.missing() == "#Team: banned from channel (474)"


def test_a_refusal_that_is_not_of_a_join_is_not_ours() -> None:
    """Ensure that 403 for a message does not throw us out of a channel we are in."""
    ours = rooms()
    ours.joins(0.0)
    ours.entered("#team", 0.0)
    assert ours.refused("#team", "403", 1.0) is None
    assert ours.refused("#other", "403", 1.0) is None


def test_a_kick_after_a_quiet_time_starts_over() -> None:
    """Ensure that old kicks are forgotten, and being in clears the reason."""
    ours = rooms()
    for now in (0.0, 10.0, 30.0):
        ours.joins(now)
        ours.entered("#team", now)
        ours.removed("#team", "kicked by ann", now)
    ours.joins(100.0)
    ours.entered("#team", 100.0)
    assert ours.missing() == ""
    seat = ours.removed("#team", "kicked by ann", 100.0 + SETTLED)
    assert seat is not None and seat.due == 110.0 + SETTLED
    assert ours.removed("#other", "kicked", 0.0) is None
