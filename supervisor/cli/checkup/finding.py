"""What a check has to say, and what would mend it: both are data, so that nothing is mended that was not shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

Level = Literal["error", "warning", "note"]


class Chmod(msgspec.Struct, frozen=True):
    """Take the rights of others away."""

    path: Path
    mode: int

    def __str__(self) -> str:
        return f"chmod {self.mode:04o} {self.path}"


class MakeFolder(msgspec.Struct, frozen=True):
    path: Path
    mode: int = 0o700

    def __str__(self) -> str:
        return f"make the folder {self.path}"


class Seed(msgspec.Struct, frozen=True):
    """A workspace gets the first files that it lacks."""

    path: Path

    def __str__(self) -> str:
        return f"put the missing first files into {self.path}"


class Unlink(msgspec.Struct, frozen=True):
    """A left-over that nobody uses."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"


class Rewrite(msgspec.Struct, frozen=True):
    """A change of the config file; all of them are written at once, after a backup."""

    text: str
    mutate: Callable[[dict[str, Any]], dict[str, Any]]

    def __str__(self) -> str:
        return self.text


Repair = Chmod | MakeFolder | Seed | Unlink | Rewrite


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing. `hint` is one line that can be typed; `repair` what `--fix` would do."""

    level: Level
    message: str
    where: str = ""
    hint: str = ""
    repair: Repair | None = None


def error(message: str, *, where: str = "", hint: str = "", repair: Repair | None = None) -> Finding:
    return Finding(level="error", message=message, where=where, hint=hint, repair=repair)


def warning(message: str, *, where: str = "", hint: str = "", repair: Repair | None = None) -> Finding:
    return Finding(level="warning", message=message, where=where, hint=hint, repair=repair)


def note(message: str, *, where: str = "", hint: str = "", repair: Repair | None = None) -> Finding:
    return Finding(level="note", message=message, where=where, hint=hint, repair=repair)
