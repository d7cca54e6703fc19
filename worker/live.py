"""Live text of an answer that is still being written: gathered for a moment, then sent on. Lossy by design."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worker.speech import undecided, without_tag

#: Seconds between two pieces: 30 a second look fluent, more only cost.
PAUSE = 0.03
#: Characters in one piece at most.
MAX_PIECE = 16_000


class LiveText:
    """One text that grows. `send(offset, piece)` is called at once for the first piece, then at most every PAUSE."""

    def __init__(self, send: Callable[[int, str], None]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._pieces: list[str] = []
        self._offset = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        if self._timer is None:
            self._flush()

    def close(self) -> None:
        """The whole text follows by other means: what still waits is dropped."""
        if self._timer is not None:
            self._timer.cancel()
        self._pieces.clear()

    def _flush(self) -> None:
        self._timer = None
        text = "".join(self._pieces)
        if self._offset == 0:
            text = text.lstrip()
            if undecided(text):
                self._pieces = [text]
                return
            text = without_tag(text)
        self._pieces.clear()
        if text:
            for start in range(0, len(text), MAX_PIECE):
                self._send(self._offset + start, text[start : start + MAX_PIECE])
            self._offset += len(text)
            self._timer = self._loop.call_later(PAUSE, self._flush)
