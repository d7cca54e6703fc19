"""Notices that the configuration may have changed: the file, what it includes, the two `.env` files, the approvals.

Looked at by name again and again, since editors replace files and a watch on a file would stay with the old one. A
look costs a few microseconds per file; a kernel watch per folder would save nothing and miss files on other machines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config import approvals
from supervisor.config.parse import MAX_INCLUDES, read_text

#: Device, inode, size and times of a file, None where there is none.
Mark = tuple[int, int, int, int, int] | None
Marks = Mapping[Path, Mark]

_INCLUDE = re.compile(r"""["']?\$include["']?\s*:\s*(\[[^\]]*\]|"[^"\n]*"|'[^'\n]*')""")
_NAME = re.compile(r"""["']([^"'\n]+)["']""")


class Watch:
    """The files of one configuration. `last` is what the last look saw."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._files: tuple[Path, ...] = ()
        self.last: Marks = {}

    def look(self) -> Marks:
        """How the files are now; equal to an earlier look when nothing has happened."""
        marks = {file: mark(file) for file in self._files}
        if not self._files or marks != self.last:
            # Another file may be included now. Read by pattern: a file that is broken names its includes too.
            self._files = (*self._beside(), *included(self._paths.config))
            marks = {file: mark(file) for file in self._files}
        self.last = marks
        return marks

    def _beside(self) -> tuple[Path, ...]:
        return self._paths.state / ".env", Path.cwd() / ".env", approvals.file_of(self._paths)


def mark(file: Path) -> Mark:
    """What changes when a file is written or replaced."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def included(config: Path) -> tuple[Path, ...]:
    """The file and whatever its text seems to include, at any depth; one too many does no harm."""
    found: dict[Path, None] = {}
    level = [config]
    for _ in range(MAX_INCLUDES + 1):
        found |= dict.fromkeys(level)
        level = [name for file in level for name in _names(file) if name not in found]
    return tuple(found)


def _names(file: Path) -> list[Path]:
    try:
        text = read_text(file) or ""
    except UserError:
        return []
    listed = [name for match in _INCLUDE.finditer(text) for name in _NAME.findall(match.group(1))]
    return [Path(os.path.normpath(file.parent / name)) for name in listed]
