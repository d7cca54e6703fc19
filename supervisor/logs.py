"""The log file and its only writer. Everything that any process says passes here, and nothing leaves unmasked.

A line is `{"time", "level", "subsystem", "message", ...}`. When the disk is full lines are lost and counted; that is
written down as soon as there is room, and the gateway goes on.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec

from protocol.errors import UserError
from protocol.log import LEVELS, JsonFormatter, Masker
from supervisor.log_lines import Entry

#: Size at which the file is put aside, in bytes, and how many old ones are kept (SPEC 7.8).
MAX_FILE = 100 * 1024 * 1024
ARCHIVES = 5

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def timestamp() -> str:
    """Now, in local time with its offset."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


class LogFile:
    """Appends lines and turns over by size: `x.log`, `x.log.1` … `x.log.5`, the highest number being the oldest."""

    def __init__(self, path: Path, max_bytes: int = MAX_FILE, archives: int = ARCHIVES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._archives = archives
        self._lost = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise UserError(f"cannot write the log file: {error.strerror}", where=str(path)) from None

    def append(self, line: bytes) -> None:
        """Write one line. Never raises: a full disk must not stop the gateway."""
        try:
            if self._size and self._size + len(line) > self._max_bytes:
                self._turn_over()
            self._write_loss()
            os.write(self._fd, line + b"\n")
            self._size += len(line) + 1
        except OSError:
            self._lost += 1

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _turn_over(self) -> None:
        for number in range(self._archives - 1, 0, -1):
            older = self._archive(number)
            if older.exists():
                older.replace(self._archive(number + 1))
        self.path.replace(self._archive(1))
        os.close(self._fd)
        self._open()

    def _archive(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _write_loss(self) -> None:
        if self._lost:
            text = f"{self._lost} log lines could not be written"
            entry = {"time": timestamp(), "level": "error", "subsystem": "supervisor", "message": text}
            os.write(self._fd, msgspec.json.encode(entry) + b"\n")
            self._lost = 0


class Journal:
    """Takes entries, masks them, writes them to the file and, for people, to the console."""

    def __init__(self, file: LogFile, *, level: str = "info", console: TextIO | None = None) -> None:
        self._file = file
        self._console = console
        self._least = LEVELS.get(level, logging.INFO)
        self._masker = Masker()

    def learn(self, secrets: Iterable[str]) -> None:
        """Exact values that must never be written."""
        self._masker.learn(secrets)

    def set_level(self, level: str) -> None:
        self._least = LEVELS.get(level, logging.INFO)

    def log(self, level: str, subsystem: str, message: str, **extra: str | int | float | bool) -> None:
        """The supervisor's own words."""
        if LEVELS[level] >= self._least:
            self.write({"time": timestamp(), "level": level, "subsystem": subsystem, "message": message, **extra})

    def write(self, entry: Entry) -> Entry:
        """Write one entry; gives it back masked."""
        masked = {key: self._masker.mask(value) if isinstance(value, str) else value for key, value in entry.items()}
        self._file.append(msgspec.json.encode(masked))
        if self._console is not None:
            self._show(self._console, masked)
        return masked

    def _show(self, console: TextIO, entry: Entry) -> None:
        text = _CONTROL.sub("?", f"{str(entry['time'])[11:19]} [{entry['subsystem']}] {entry['message']}")
        try:
            console.write(text + "\n")
            console.flush()
        except (OSError, ValueError):
            self._console = None

    def close(self) -> None:
        self._file.close()


class JournalHandler(logging.Handler):
    """The supervisor's own `logging`, asyncio's complaints included."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self.setFormatter(JsonFormatter("supervisor"))

    def emit(self, record: logging.LogRecord) -> None:
        entry: dict[str, Any] = msgspec.json.decode(self.format(record))
        self._journal.write(entry)


def console_for_people(verbose: bool) -> TextIO | None:
    """stderr, when somebody is likely to read it."""
    return sys.stderr if verbose or sys.stderr.isatty() else None
