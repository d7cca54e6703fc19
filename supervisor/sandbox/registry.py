"""`sandbox/containers.json`: which containers are ours, since when, and when each was last used (SPEC 5.8).

The truth is what Docker says; this file only remembers what Docker does not know, and lets `sandbox list` answer
without a gateway. A file that cannot be read is an empty one.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

FILE = "containers.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One container. Times in milliseconds since 1970. `session_key` is the scope key, `image` the configured one."""

    container_name: str
    backend_id: str = "docker"
    runtime_label: str
    session_key: str
    created_at_ms: int
    last_used_at_ms: int
    image: str
    config_label_kind: str = "Image"
    config_hash: str


class _File(msgspec.Struct, frozen=True):
    entries: tuple[Entry, ...] = ()


class Registry:
    """The file, read once and written whole at every change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, Entry] | None = None

    def entries(self) -> dict[str, Entry]:
        """By container name."""
        if self._entries is None:
            self._entries = {entry.container_name: entry for entry in read(self._folder / FILE)}
        return dict(self._entries)

    def put(self, entry: Entry) -> None:
        """Add it, or write it anew. Raises OSError."""
        self._write(self.entries() | {entry.container_name: entry})

    def touch(self, name: str, now_ms: int) -> None:
        """It was used just now. Raises OSError."""
        if entry := self.entries().get(name):
            self.put(msgspec.structs.replace(entry, last_used_at_ms=now_ms))

    def forget(self, name: str) -> None:
        """Raises OSError."""
        entries = self.entries()
        if entries.pop(name, None) is not None:
            self._write(entries)

    def _write(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f".{FILE}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_File(tuple(entries.values())))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._folder / FILE)


def read(path: Path) -> tuple[Entry, ...]:
    """What the file says, for whoever has no gateway to ask."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).entries
    except (OSError, msgspec.MsgspecError):
        return ()
