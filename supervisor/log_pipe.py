"""One child's stdout and stderr, read as it comes. A flood costs the child that makes it, not the gateway.

What is over the budget is read and dropped, and the number of dropped lines is said. Far above it reading pauses for
the rest of the second, and the child waits in its own write.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from supervisor.log_lines import Budget, Entry, LineCutter
from supervisor.logs import Journal, timestamp

#: Lines kept for a crash report.
TAIL = 50
#: Bytes taken at once: a flood of short lines must not hold up the operators and the other children in between.
_READ = 8 * 1024
#: Bytes read of one child in a second before it has to wait, and in all after its end.
_PER_SECOND = 2 * 1024 * 1024
_AT_END = 1024 * 1024

#: Turns a line, with the time of reading, into an entry.
Wrap = Callable[[bytes, str], Entry]


class ChildLog:
    """The reading end; `write_fd` is for the child and closed with `close_writer` once the child has it."""

    def __init__(self, journal: Journal, wrap: Wrap, *, lines: float = 200, size: float = 1024 * 1024) -> None:
        self._journal = journal
        self._wrap = wrap
        self._loop = asyncio.get_running_loop()
        self._budget = Budget(lines, size, self._loop.time())
        self._cutter = LineCutter()
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        self._loop.add_reader(self._read_fd, self._on_readable)
        self._second = self._loop.time()
        self._got = 0
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.fatal: Entry | None = None

    def close_writer(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def finish(self) -> None:
        """The child has ended: read what is left, then close. Whatever still holds the other end is cut off."""
        if self._closed:
            return
        left = _AT_END
        while left > 0 and (data := self._read()):
            left -= len(data)
            self._take(self._cutter.feed(data))
        self._take(self._cutter.flush())
        self._close()

    def _read(self) -> bytes:
        try:
            return os.read(self._read_fd, _READ)
        except BlockingIOError:
            return b""

    def _on_readable(self) -> None:
        data = self._read()
        if not data:
            self._loop.remove_reader(self._read_fd)
            return
        self._take(self._cutter.feed(data))
        self._count(len(data))

    def _count(self, size: int) -> None:
        now = self._loop.time()
        if now - self._second >= 1:
            self._second, self._got = now, 0
        self._got += size
        if self._got > _PER_SECOND:
            self._loop.remove_reader(self._read_fd)
            self._pause = self._loop.call_at(self._second + 1, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._read_fd, self._on_readable)

    def _take(self, lines: list[bytes]) -> None:
        now = self._loop.time()
        for line in lines:
            if self._budget.take(len(line), now):
                self._write(self._wrap(line, timestamp()))
        if dropped := self._budget.settle(now):
            self._say_dropped(dropped)

    def _write(self, entry: Entry) -> None:
        masked = self._journal.write(entry)
        self.tail.append(str(masked["message"])[:2000])
        if "error" in masked:
            self.tail.extend(str(masked["error"]).splitlines()[-20:])
        if masked["level"] == "fatal":
            self.fatal = masked

    def _say_dropped(self, dropped: int) -> None:
        entry = self._wrap(f"{dropped} lines were dropped: logging too fast".encode(), timestamp())
        self._journal.write(entry | {"level": "warn", "dropped": dropped})

    def _close(self) -> None:
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        if self._budget.dropped:
            self._say_dropped(self._budget.dropped)
        self._loop.remove_reader(self._read_fd)
        os.close(self._read_fd)
        self.close_writer()
