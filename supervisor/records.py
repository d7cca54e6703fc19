"""What became of each child, on disk, for whoever asks later: `run/records`, JSON, 0600.

`<name>.json` is the present state of a child (ProcessStatus); `crash-<time>-<name>.json` tells one crash. They are for
people and `openclaw status`, so a disk that cannot take them is no reason to stop: failures are reported to `warn`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from protocol.control import ProcessStatus

#: Crash reports kept; the oldest go first.
MAX_CRASHES = 50
#: Generations reserved on disk at once: a number is never used twice, also not after a crash of the supervisor.
_BLOCK = 10_000
_UNSAFE = re.compile(r"[^a-z0-9_-]+")


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """One end that nobody asked for. `time` is ISO with offset, `max_rss` in bytes (0 for unknown)."""

    name: str
    pid: str
    time: str
    ended: str
    reason: str
    code: int
    signal: int
    out_of_memory: bool
    max_rss: int
    lived: float
    config: str
    last_lines: tuple[str, ...]


class Records:
    """The folder of records. At construction the states of an earlier supervisor are removed, its crashes kept."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._warn = warn
        self._next_generation = self._reserved = 0
        for path in folder.glob("*.json"):
            if not path.name.startswith("crash-"):
                path.unlink(missing_ok=True)

    def keep(self, status: ProcessStatus) -> None:
        """Write the present state of a child."""
        self._write(self._path(status.name), msgspec.json.encode(status))

    def forget(self, name: str) -> None:
        """The child is no more part of the gateway."""
        self._path(name).unlink(missing_ok=True)

    def crash(self, report: CrashReport) -> Path:
        """Write a crash report and remove the oldest beyond the limit."""
        stamp = datetime.now().strftime("%Y%m%dT%H%M%S%f")
        path = self._folder / f"crash-{stamp}-{_file_name(report.name)}.json"
        self._write(path, msgspec.json.encode(report))
        for old in sorted(self._folder.glob("crash-*.json"))[:-MAX_CRASHES]:
            old.unlink(missing_ok=True)
        return path

    def crashes(self) -> tuple[CrashReport, ...]:
        """All kept reports, oldest first."""
        paths = sorted(self._folder.glob("crash-*.json"))
        return tuple(msgspec.json.decode(path.read_bytes(), type=CrashReport) for path in paths)

    def new_generation(self) -> int:
        """A number for a new worker that no worker of this state folder had before."""
        if self._next_generation == self._reserved:
            self._reserve()
        self._next_generation += 1
        return self._next_generation

    def _reserve(self) -> None:
        path = self._folder / "generation"
        try:
            used = int(path.read_text())
        except (OSError, ValueError):
            used = self._reserved
        self._next_generation, self._reserved = used, used + _BLOCK
        self._write(path, str(self._reserved).encode())

    def _path(self, name: str) -> Path:
        return self._folder / f"{_file_name(name)}.json"

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(data)
            temporary.replace(path)
        except OSError as error:
            self._warn(f"cannot write {path}: {error.strerror}")


def _file_name(name: str) -> str:
    return _UNSAFE.sub("-", name.lower())
