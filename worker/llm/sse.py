"""Server-sent events: bytes in any pieces in, whole events out (WHATWG HTML, 9.2 "Server-sent events").

Pure: it has never heard of sockets or models. Only the two fields model vendors use are kept; `id` and `retry` mean
something to a client that reconnects, and we never do.
"""

from __future__ import annotations

import re

import msgspec

from worker.llm.base import ModelRefused

#: Largest single event, in bytes. A whole tool call in one delta is the biggest that vendors send.
MAX_EVENT = 4 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True):
    """One event: its `event` field (empty when there was none) and its data lines joined by line feeds."""

    name: str
    data: str


class Parser:
    """Feed it what the network gives; it answers with the events that became complete."""

    def __init__(self, *, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._started = False
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"Parser({self._size} bytes of an event waiting)"

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises ModelRefused for an event over the limit."""
        self._size += len(chunk)
        events = [event for line in self._lines(chunk) if (event := self._take(line)) is not None]
        if self._size > self._limit:
            raise ModelRefused(f"the model sent a stream event over {self._limit} bytes")
        return events

    def end(self) -> list[Event]:
        """Nothing: the standard drops an event that the end of the stream cut off."""
        return []

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that became complete. A piece without a line end is only put aside, so long lines stay cheap."""
        self._pieces.append(chunk)
        if _LINE_END.search(chunk) is None and not self._pieces[0].endswith(b"\r"):
            return []
        text = b"".join(self._pieces)
        # A CR at the very end may be half of a CRLF: keep it until the next byte tells.
        held = text[-1:] == b"\r"
        lines = _LINE_END.split(text[:-1] if held else text)
        self._pieces = [lines.pop() + (b"\r" if held else b"")]
        if lines and not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        return lines

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._flush()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        elif field == "event":
            self._name = value.removeprefix(" ")
        return None

    def _flush(self) -> Event | None:
        event = Event(self._name, "\n".join(self._data)) if self._data else None
        self._name, self._data, self._size = "", [], len(self._pieces[0])
        return event
