"""What a child wrote, as log entries: cut, counted, and with a sender that the child cannot choose.

Pure. A worker runs what a model wrote, so of its lines only level, message and plain extra values are believed; who
said it and when is put in here. The other children are ours: their subsystem is kept when it has the form of one and
does not claim to be somebody else's worker.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.log import LEVELS, MAX_LINE

Entry = dict[str, Any]

_SUBSYSTEM = re.compile(r"[a-z0-9][a-z0-9_./:-]{0,63}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d:\d\d|Z)")
_OURS = frozenset({"time", "level", "subsystem", "message", "agent", "part"})
_MAX_FIELDS = 16
_MAX_VALUE = 1024


class LineCutter:
    """Bytes in any portions to whole lines, none longer than `limit`; the rest of a longer one is dropped."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = b""
        self._cut = 0

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._rest + data).split(b"\n")
        whole = [self._whole(line) for line in lines]
        self._cut += max(0, len(rest) - self._limit)
        self._rest = rest[: self._limit]
        return [line for line in whole if line]

    def flush(self) -> list[bytes]:
        """The last line, which may have no newline."""
        return self.feed(b"\n")

    def _whole(self, line: bytes) -> bytes:
        cut = self._cut + max(0, len(line) - self._limit)
        self._cut = 0
        return line[: self._limit] + (f" … [{cut} bytes cut]".encode() if cut else b"")


class Budget:
    """How much one child may log: so many lines and bytes a second, and two seconds' worth at once."""

    def __init__(self, lines: float, size: float, now: float) -> None:
        self._rates = (lines, size)
        self._left = [lines * 2, size * 2]
        self._at = self._said_at = now
        self.dropped = 0

    def take(self, size: int, now: float) -> bool:
        """Whether a line of this size may be written; otherwise it is counted as dropped."""
        self._refill(now)
        if self._left[0] < 1 or self._left[1] < size:
            self.dropped += 1
            return False
        self._left[0] -= 1
        self._left[1] -= size
        return True

    def settle(self, now: float) -> int:
        """How many lines were dropped, at most once a second; then counting begins anew."""
        if not self.dropped or now < self._said_at + 1:
            return 0
        dropped, self.dropped, self._said_at = self.dropped, 0, now
        return dropped

    def _refill(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), now
        self._left = [min(left + rate * passed, rate * 2) for left, rate in zip(self._left, self._rates, strict=True)]


def ours(kind: str, line: bytes, now: str) -> Entry:
    """A line of the router, the cliproxy or the zygote."""
    found = _parse(line)
    if found is None:
        return {"time": now, "level": "warn", "subsystem": kind, "message": line.decode(errors="replace")}
    time, said = found.get("time"), found.get("subsystem")
    return {
        "time": time if isinstance(time, str) and _TIME.fullmatch(time) else now,
        "level": _level(found),
        "subsystem": _subsystem(kind, said),
        "message": str(found["message"]),
    } | _extras(found)


def workers(agent: str, line: bytes, now: str) -> Entry:
    """A line of a worker."""
    entry: Entry = {"time": now, "level": "info", "subsystem": f"worker/{agent}"}
    found = _parse(line)
    if found is None:
        return entry | {"message": line.decode(errors="replace")}
    entry |= {"level": _level(found), "message": str(found["message"])}
    said = found.get("subsystem")
    if isinstance(said, str) and _SUBSYSTEM.fullmatch(said) and said != "worker":
        entry["part"] = said
    return entry | _extras(found)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("message"), str) else None


def _level(found: Entry) -> str:
    level = found.get("level")
    return level if isinstance(level, str) and level in LEVELS and level != "silent" else "info"


def _subsystem(kind: str, said: object) -> str:
    if not isinstance(said, str) or not _SUBSYSTEM.fullmatch(said):
        return kind
    return f"{kind}/{said}"[:64] if said.split("/")[0] in {"worker", "supervisor"} else said


def _extras(found: Entry) -> Entry:
    plain = (
        (key, value[:_MAX_VALUE] if isinstance(value, str) and key != "error" else value)
        for key, value in found.items()
        if key not in _OURS and _FIELD.fullmatch(key) and isinstance(value, str | int | float | bool)
    )
    return dict(list(plain)[:_MAX_FIELDS])
