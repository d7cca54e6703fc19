"""`MEDIA:<path>` lines in a model's answer: a wish to send a file, granted for the agent's own outbox folder only.

Whoever talks a model into `MEDIA:/etc/passwd` gets a note. What may be sent lies in `outbox/` of the workspace: a
regular file with one name, reached without any link, of limited size. No name is decoded or cleaned up: it is looked up
folder by folder in opened ones, or refused. No channel sends files yet, so a granted one becomes a line that names it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

OUTBOX = "outbox"
#: Largest file, in bytes.
MAX_FILE = 16 * 1024 * 1024
#: Files of one text, folders below each other, and characters of a path and of a name that is shown.
MAX_FILES = 20
_MAX_DEPTH, _MAX_PATH, _MAX_NAME = 8, 1024, 100

_END = r"\r\n\x0b\x0c\x85\u2028\u2029"
#: At the start of a line, or behind a reply tag there.
_WISH = re.compile(
    rf"(?:(?<=[{_END}])|\A)([^\S{_END}]*(?:\[\[[^\]{_END}]{{1,80}}\]\]\s*)?)MEDIA:([^{_END}]*)", re.IGNORECASE
)

_ELSEWHERE = f"file not sent: only files in the {OUTBOX} folder of the workspace can be"


class Refused(Exception):
    """Why a file is not sent, in words for people that tell nothing of other places."""


def replaced(text: str, describe: Callable[[str], str]) -> str:
    """The text with every wish taken out and what `describe(path)` says of it put there; it may raise Refused."""
    count = 0

    def line(wish: re.Match[str]) -> str:
        nonlocal count
        count += 1
        try:
            if count > MAX_FILES:
                raise Refused(f"file not sent: more than {MAX_FILES} in one answer")
            words = describe(wish.group(2).strip().strip("`\"'").strip())
        except Refused as error:
            words = str(error)
        return f"{wish.group(1)}[{words}]"

    return _WISH.sub(line, text)


class Outbox:
    """The outbox of one workspace; opened anew for every file, since commands may replace it."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def describe(self, path: str) -> str:
        """Name and size of a file that may be sent. Raises Refused."""
        parts = self._parts(path)
        try:
            size = self._size(parts)
        except (FileNotFoundError, NotADirectoryError):
            raise Refused(f"file not sent: {OUTBOX}/{_shown(parts[-1])} is not there") from None
        except OSError as error:
            raise Refused(f"file not sent: {OUTBOX}/{_shown(parts[-1])}: {os.strerror(error.errno or 0)}") from None
        if size > MAX_FILE:
            raise Refused(f"file not sent: {_shown(parts[-1])} is over {MAX_FILE >> 20} MiB")
        return f"file: {_shown(parts[-1])}, {size} bytes; this chat cannot take files yet"

    def _parts(self, path: str) -> list[str]:
        """The names below the outbox, which the path must spell out. Raises Refused."""
        if len(path) > _MAX_PATH or "\0" in path:
            raise Refused(_ELSEWHERE)
        below = path.removeprefix(f"{self._workspace}/").removeprefix("./")
        outbox, *parts = below.split("/")
        if outbox != OUTBOX or not 0 < len(parts) <= _MAX_DEPTH or any(part in ("", ".", "..") for part in parts):
            raise Refused(_ELSEWHERE)
        return parts

    def _size(self, parts: list[str]) -> int:
        """Raises OSError, Refused."""
        held = [os.open(self._workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        try:
            for name in (OUTBOX, *parts):
                held.append(os.open(os.fsencode(name), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held[-1]))
            found = os.fstat(held[-1])
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise Refused(f"file not sent: {_shown(parts[-1])} is not an ordinary file of its own")
            # It must be one that this agent may read.
            held.append(os.open(f"/proc/self/fd/{held[-1]}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return found.st_size
        except UnicodeEncodeError:
            raise Refused(_ELSEWHERE) from None
        finally:
            for fd in held:
                os.close(fd)


def _shown(name: str) -> str:
    """A file's name without anything that would change how the line around it looks."""
    name = "".join(char if char.isprintable() and char not in "[]" else "?" for char in name)
    return name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + "…"
