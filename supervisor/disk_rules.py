"""When there is too little room on a disk, and which agent took it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import msgspec

_MIB = 1024**2
#: What is kept free, in bytes: at least so much, or this part of the file system; never more, nor more than a quarter.
RESERVE, PART, MOST = 256 * _MIB, 50, 4096 * _MIB
#: Growth in bytes below which nobody is blamed.
WORTH = 16 * _MIB
#: Seconds between two looks, at most and at least; and how fast a disk may fill between them, in bytes a second.
SLOWEST, FASTEST, _FILLS = 5.0, 0.2, 1024 * _MIB


class Room(msgspec.Struct, frozen=True):
    """One file system, in bytes. `free` is what ordinary users may still take."""

    path: str
    free: int
    total: int

    @property
    def reserve(self) -> int:
        return reserve(self.total)


def reserve(total: int) -> int:
    """How many bytes of a file system of this size are to stay free."""
    return min(max(RESERVE, total // PART), MOST, total // 4)


def offender(free: int, reserve: int, before: Mapping[str, int | None], now: Mapping[str, int | None]) -> str | None:
    """The agent that took the room, None when there is enough or none of them did. None as a size is "not known"."""
    if free >= reserve:
        return None
    grown = {agent: growth for agent in sorted(now) if (growth := _growth(agent, before, now)) >= WORTH}
    return max(grown, key=lambda agent: grown[agent], default=None)


def _growth(agent: str, before: Mapping[str, int | None], now: Mapping[str, int | None]) -> int:
    first, last = before.get(agent, 0), now[agent]
    return 0 if first is None or last is None else last - first


def pause(rooms: list[Room]) -> float:
    """Seconds until the next look: no file system can be below its reserve for long before it."""
    margin = min((room.free - room.reserve for room in rooms), default=inf)
    return min(max(margin / _FILLS, FASTEST), SLOWEST)


def size_text(size: int) -> str:
    """`3.1 GB`, `120 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def over_limit(agent: str, held: int, limit: int) -> str:
    """What the operator is told of an agent that holds more than it may."""
    return (
        f"its folders hold {size_text(held)}, its limit is {size_text(limit)} (limits.disk);"
        f" hint: remove files, then openclaw gateway restart --agent {agent}"
    )


def filled(agent: str, before: int, now: int, room: Room) -> str:
    """What the operator is told of the agent that took the room."""
    return (
        f"filled the disk: its folders grew by {size_text(now - before)} to {size_text(now)},"
        f" {size_text(room.free)} are free; hint: free space, then openclaw gateway restart --agent {agent}"
    )
