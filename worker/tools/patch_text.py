"""Reading and applying patches of the form `*** Begin Patch … *** End Patch` (SPEC 5.5, apply_patch). Pure.

A patch names files to add, delete, update and move. The lines of an update say what is there: ` ` kept, `-` taken
out, `+` put in; `@@ text` goes on behind the next line that reads so, `*** End of File` says that those are the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import normpath
from typing import Literal, NamedTuple

from protocol.errors import OpenClawError

#: Files that one patch may touch.
MAX_FILES = 100

_BEGIN, _END = "*** Begin Patch", "*** End Patch"
_ADD, _DELETE, _UPDATE, _MOVE = "*** Add File: ", "*** Delete File: ", "*** Update File: ", "*** Move to: "
_LAST = "*** End of File"


class PatchError(OpenClawError):
    """The patch is not one, or does not fit; the text is for the model."""


class Hunk(NamedTuple):
    """`old` lines become `new` ones, behind the lines that `behind` names; `at_end` asks for the end of the file."""

    behind: tuple[str, ...]
    old: tuple[str, ...]
    new: tuple[str, ...]
    at_end: bool = False


class Change(NamedTuple):
    """What happens to one file: `lines` of a new one, `hunks` of an updated one, which `to` moves when set."""

    kind: Literal["add", "delete", "update"]
    path: str
    lines: tuple[str, ...] = ()
    hunks: tuple[Hunk, ...] = ()
    to: str = ""


def parse_patch(text: str) -> tuple[Change, ...]:
    """Raises PatchError naming the line."""
    lines = text.strip().replace("\r\n", "\n").split("\n")
    if len(lines) < 2 or lines[0].strip() != _BEGIN or lines[-1].strip() != _END:
        raise PatchError(f"a patch begins with '{_BEGIN}' and ends with '{_END}'")
    changes = tuple(_changes(lines[1:-1]))
    if not changes:
        raise PatchError("the patch changes no file")
    if len(changes) > MAX_FILES:
        raise PatchError(f"the patch touches {len(changes)} files, more than {MAX_FILES}")
    named = [normpath(path) for change in changes for path in (change.path, change.to) if path]
    if len(set(named)) < len(named):
        raise PatchError("the patch names a file twice; put its changes under one heading")
    return changes


def _changes(lines: Sequence[str]) -> Iterator[Change]:
    at = 0
    while at < len(lines):
        head, start = lines[at], at + 1
        at = next((n for n in range(start, len(lines)) if lines[n].startswith((_ADD, _DELETE, _UPDATE))), len(lines))
        body = lines[start:at]
        if head.startswith(_ADD):
            yield Change("add", _path(head, _ADD), lines=tuple(_added(body, start)))
        elif head.startswith(_DELETE):
            if any(line.strip() for line in body):
                raise PatchError(f"line {start + 2}: nothing may follow '{_DELETE.strip()}'")
            yield Change("delete", _path(head, _DELETE))
        elif head.startswith(_UPDATE):
            to = _path(body[0], _MOVE) if body and body[0].startswith(_MOVE) else ""
            hunks = tuple(_hunks(body[1:] if to else body, start + bool(to)))
            if not hunks and not to:
                raise PatchError(f"line {start + 1}: the update of {_path(head, _UPDATE)} is empty")
            yield Change("update", _path(head, _UPDATE), hunks=hunks, to=to)
        elif head.strip():
            raise PatchError(f"line {start + 1}: expected '{_ADD}', '{_DELETE}' or '{_UPDATE}'")


def _path(line: str, mark: str) -> str:
    path = line[len(mark) :].strip()
    if not path:
        raise PatchError(f"'{mark.strip()}' names no file")
    return path


def _added(body: Sequence[str], start: int) -> Iterator[str]:
    for number, line in enumerate(body, start + 2):
        if not line.startswith("+"):
            raise PatchError(f"line {number}: the lines of a new file begin with '+'")
        yield line[1:]


def _hunks(body: Sequence[str], start: int) -> Iterator[Hunk]:
    behind: list[str] = []
    old: list[str] = []
    new: list[str] = []
    for number, line in enumerate(body, start + 2):
        if line.startswith("@@") or line == _LAST:
            if old or new:
                yield Hunk(tuple(behind), tuple(old), tuple(new), line == _LAST)
                behind, old, new = [], [], []
            if text := line[2:].strip() if line.startswith("@@") else "":
                behind.append(text)
        elif line[:1] in ("", " ", "-", "+"):
            # An empty line stands for an empty line that is kept: models leave the blank out.
            old += () if line.startswith("+") else (line[1:],)
            new += () if line.startswith("-") else (line[1:],)
        else:
            raise PatchError(f"line {number}: expected a line that begins with ' ', '-', '+' or '@@'")
    if old or new:
        yield Hunk(tuple(behind), tuple(old), tuple(new))


def updated(content: str, change: Change) -> str:
    """The file's new text. Raises PatchError when a hunk does not fit."""
    end = "\r\n" if "\r\n" in content else "\n"
    lines = content.split(end)
    if lines[-1] == "":
        lines.pop()
    result: list[str] = []
    position = 0
    for hunk in change.hunks:
        start = _place(lines, _behind(lines, hunk, position, change.path), hunk, change.path)
        result += (*lines[position:start], *hunk.new)
        position = start + len(hunk.old)
    return "".join(line + end for line in (*result, *lines[position:]))


def _behind(lines: Sequence[str], hunk: Hunk, position: int, path: str) -> int:
    for text in hunk.behind:
        found = next((n for n in range(position, len(lines)) if lines[n].strip() == text), None)
        if found is None:
            raise PatchError(f"Could not find the line '{text}' of '@@' in {path}")
        position = found + 1
    return position


def _place(lines: Sequence[str], position: int, hunk: Hunk, path: str) -> int:
    """Where the old lines begin: exactly as they are, else but for white space at their ends."""
    old = list(hunk.old)
    if not old:
        return len(lines) if hunk.at_end or not hunk.behind else position
    last = len(lines) - len(old)
    places = [last] if hunk.at_end and last >= position else range(position, last + 1)
    for same in (str, str.rstrip):
        wanted = [same(line) for line in old]
        for start in places:
            if [same(line) for line in lines[start : start + len(old)]] == wanted:
                return start
    shown = "\n".join(old[:20])
    raise PatchError(f"Could not find these lines in {path}. They must match exactly:\n{shown}")
