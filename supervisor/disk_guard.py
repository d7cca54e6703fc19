"""One agent that fills the disk must not stop the others: it is found, stopped, and kept in quarantine.

As long as every file system in question has more free than its reserve, only that is looked at. Below the reserve the
agents' own folders are measured, and the one that grew most since the last good time is barred until there is room
again. Who merely holds much is left alone: stopping it would free nothing. A limit of its own (`limits.disk`) bars an
agent whatever is free.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path

from supervisor.disk_rules import Room, filled, offender, over_limit, pause, size_text
from supervisor.disk_usage import Home, Usage, measure

#: Seconds between two measurements while there is room: for limits, and to know who grew.
_LIMITS_EVERY, _KNOWN_EVERY = 60.0, 600.0
#: After a measurement nobody measures for so many times its duration.
_REST = 3


class DiskGuard:
    """Looks at the disk for ever. `bar(agent, reason)` stops an agent, and is said again as long as that holds."""

    def __init__(
        self,
        state: Path,
        homes: Callable[[], Mapping[str, Home]],
        bar: Callable[[str, str], None],
        log: Callable[[str], None],
    ) -> None:
        self._state = str(state)
        self._homes = homes
        self._bar = bar
        self._log = log
        self._before: dict[int, dict[str, int | None]] = {}
        self._paths: Mapping[int, str] = {}
        self._known_at = self._limits_at = -inf
        self._rests_until = -inf
        self._filled: dict[str, tuple[int, str]] = {}
        self._over: dict[str, str] = {}
        self._low: set[int] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            wait = await self.look()
            await asyncio.sleep(wait)

    async def look(self) -> float:
        """One look; returns seconds until the next one."""
        if self._known_at == -inf:
            await self._learn()
        rooms = self._rooms()
        low = {device: room for device, room in rooms.items() if room.free < room.reserve}
        self._relieve(low, rooms)
        if low and time.monotonic() >= self._rests_until:
            await self._blame(low)
        elif not low:
            await self._keep_known()
        for agent, reason in {**self._over, **{one: told for one, (_, told) in self._filled.items()}}.items():
            self._bar(agent, reason)
        return pause(list(rooms.values()))

    def _rooms(self) -> dict[int, Room]:
        found = {}
        for device, path in self._paths.items():
            try:
                told = os.statvfs(path)
            except OSError:
                continue
            found[device] = Room(path, told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize)
        return found

    async def _measure(self) -> Usage:
        began = time.monotonic()
        usage = await asyncio.to_thread(measure, self._state, dict(self._homes()))
        self._paths = usage.paths
        self._rests_until = time.monotonic() + _REST * (time.monotonic() - began)
        self._judge_limits(usage)
        return usage

    async def _learn(self) -> None:
        self._before = dict((await self._measure()).sizes)
        self._known_at = time.monotonic()

    async def _keep_known(self) -> None:
        now = time.monotonic()
        if now >= self._known_at + _KNOWN_EVERY:
            await self._learn()
        elif now >= self._limits_at + _LIMITS_EVERY:
            self._limits_at = now
            if self._over or any(home.limit for home in self._homes().values()):
                await self._measure()

    def _judge_limits(self, usage: Usage) -> None:
        self._limits_at = time.monotonic()
        self._over = {}
        for agent, home in self._homes().items():
            held = sum(sizes.get(agent) or 0 for sizes in usage.sizes.values())
            if home.limit and held > home.limit:
                self._over[agent] = over_limit(agent, held, home.limit)

    async def _blame(self, low: Mapping[int, Room]) -> None:
        usage = await self._measure()
        for device, room in low.items():
            sizes, before = usage.sizes.get(device, {}), self._before.get(device, {})
            agent = offender(room.free, room.reserve, before, {one: sizes[one] for one in sizes.keys() - self._filled})
            if agent is not None:
                self._filled[agent] = device, filled(agent, before.get(agent) or 0, sizes[agent] or 0, room)
                self._before[device] = dict(sizes)  # the others are blamed only for what they take from here on
            elif device not in self._low:
                self._log(
                    f"the disk is nearly full: {size_text(room.free)} are free, and it is none of the agents' doing;"
                    f" hint: du -xsh {room.path}/*"
                )
            self._low.add(device)

    def _relieve(self, low: Mapping[int, Room], rooms: Mapping[int, Room]) -> None:
        """Where there is room again, who had filled it may be tried again."""
        for device in [device for device in self._low if device in rooms and device not in low]:
            self._low.discard(device)
            self._known_at = -inf  # who made room may have held much a moment ago, and is to be blamed from here on
            freed = [agent for agent, (where, _) in self._filled.items() if where == device]
            for agent in freed:
                del self._filled[agent]
            again = f"; tried again soon: {', '.join(freed)}" if freed else ""
            self._log(f"the disk has room again: {size_text(rooms[device].free)} are free{again}")
