"""The channels an account is to be in, and what became of that. Pure; `now` is a monotonic time in seconds.

| state   | meaning                        | leaves it by                       |
|---------|--------------------------------|------------------------------------|
| wanted  | JOIN is due at `due`           | JOIN sent -> asked                 |
| asked   | waiting for the server         | our JOIN -> in; refusal -> wanted  |
| in      | messages flow                  | KICK, PART -> wanted               |

A refusal or a kick makes the next try later: 10 s, doubling, up to an hour; being in for good starts over.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from router.channels.irc.names import fold
from router.channels.irc.settings import Room
from router.channels.irc.wire import build

FIRST_PAUSE = 10.0
LAST_PAUSE = 3600.0
#: Seconds in a channel after which an earlier kick is forgotten.
SETTLED = 600.0
#: Seconds to wait for the server's answer to JOIN before asking again.
ANSWER = 60.0

REFUSALS = {
    "403": "no such channel",
    "405": "too many channels",
    "437": "channel is unavailable now",
    "471": "channel is full",
    "473": "channel is by invitation only",
    "474": "banned from channel",
    "475": "wrong channel key",
    "476": "bad channel name",
    "477": "channel wants a registered nick",
    "480": "channel refuses joins now",
    "489": "channel is for TLS users only",
    "520": "channel is for operators only",
}


class State(Enum):
    WANTED = "wanted"
    ASKED = "asked"
    IN = "in"


class Seat:
    """Our place in one channel."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.state = State.WANTED
        self.reason = ""
        self.due = 0.0
        self.pause = FIRST_PAUSE
        self.since = 0.0

    def __repr__(self) -> str:
        return f"{self.room.name} {self.state.value}" + (f" ({self.reason})" if self.reason else "")


class Rooms:
    """All channels of one connection."""

    def __init__(self, rooms: Iterable[Room], casemapping: str) -> None:
        self._casemapping = casemapping
        self._seats = {fold(room.name, casemapping): Seat(room) for room in rooms}

    def __repr__(self) -> str:
        return ", ".join(map(repr, self._seats.values())) or "no channels"

    def find(self, name: str) -> Seat | None:
        """Our place in that channel; None if we were not asked to be there."""
        return self._seats.get(fold(name, self._casemapping))

    def missing(self) -> str:
        """Which channels we are kept out of, for the operator; empty if all is well."""
        kept_out = (seat for seat in self._seats.values() if seat.reason)
        return "; ".join(f"{seat.room.name}: {seat.reason}" for seat in kept_out)

    def next_due(self) -> float | None:
        """When `joins` has something to do again."""
        return min((seat.due for seat in self._seats.values() if seat.state is not State.IN), default=None)

    def joins(self, now: float) -> list[bytes]:
        """JOIN lines that are due."""
        due = [seat for seat in self._seats.values() if seat.state is not State.IN and seat.due <= now]
        for seat in due:
            seat.state, seat.due = State.ASKED, now + ANSWER
        return [_join(seat.room) for seat in due]

    def entered(self, name: str, now: float) -> None:
        """We joined."""
        if seat := self.find(name):
            seat.state, seat.reason, seat.since = State.IN, "", now

    def removed(self, name: str, reason: str, now: float) -> Seat | None:
        """We were kicked or parted: come back after a pause."""
        return self._later(name, reason, now)

    def refused(self, name: str, code: str, now: float) -> Seat | None:
        """The server answered JOIN with an error numeric."""
        seat = self.find(name)
        return self._later(name, f"{REFUSALS[code]} ({code})", now) if seat and seat.state is State.ASKED else None

    def _later(self, name: str, reason: str, now: float) -> Seat | None:
        seat = self.find(name)
        if seat is None:
            return None
        if seat.state is State.IN and now - seat.since >= SETTLED:
            seat.pause = FIRST_PAUSE
        seat.state, seat.reason, seat.due = State.WANTED, reason, now + seat.pause
        seat.pause = min(seat.pause * 2, LAST_PAUSE)
        return seat


def _join(room: Room) -> bytes:
    return build("JOIN", room.name, room.key) if room.key else build("JOIN", room.name)
