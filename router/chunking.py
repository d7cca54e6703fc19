"""Cuts an answer into platform messages: at paragraphs, then lines, then words, and only then anywhere (SPEC 4.9).

A cut inside a fenced block closes the fence and opens it again, with its language, in the next part. Where the limit
is too small for that (no platform of ours), fences are text like any other. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

#: Below this many characters a part has no room for the fences around it.
_SMALLEST_FENCED = 40
#: A break is preferred as long as it does not leave more than this share of a part empty.
_EMPTY_SHARE = 2 / 3
_FENCE = re.compile(r" {0,3}(?P<marker>`{3,}|~{3,})(?P<info>[^\n]*)")
_LANGUAGE = re.compile(r"[^\s`]{1,20}")
#: Variation selectors, joiners and skin tones: a cut before one of them would break a visible character.
_GLUE = frozenset("\u200d\ufe0e\ufe0f\u20e3") | {chr(code) for code in range(0x1F3FB, 0x1F400)}


class Fence(NamedTuple):
    """An open fenced block: how it is closed, and the line that opens it again."""

    marker: str
    opening: str


class _Cut(NamedTuple):
    """Where a part ends and where the rest begins; what lies between is the white space of the break."""

    end: int
    next: int


def split(text: str, limit: int) -> list[str]:
    """Parts of at most `limit` characters, none of them blank, in order."""
    parts: list[str] = []
    rest, fence = text.strip("\n"), None
    while rest.strip():
        head = f"{fence.opening}\n" if fence else ""
        if len(head) + len(rest) <= limit:
            parts.append(head + rest)
            break
        part, rest, fence = _take(rest, head, fence, limit)
        parts.append(part)
    return [part.rstrip() for part in parts if part.strip()]


def _take(rest: str, head: str, fence: Fence | None, limit: int) -> tuple[str, str, Fence | None]:
    """The next part, what is left, and the fence that is open there."""
    fenced = limit >= _SMALLEST_FENCED
    cut = _cut(rest, limit - len(head), fence is not None)
    after = _scan(rest[: cut.end], fence) if fenced else None
    if after is None:
        return head + rest[: cut.end], rest[cut.next :], None
    # The part ends inside a block, so it also needs room for the closing line.
    cut = _cut(rest, limit - len(head) - len(after.marker) - 1, inside=True)
    cut = _before_opening(rest, cut, fence)
    piece, left, after = rest[: cut.end], rest[cut.next :], _scan(rest[: cut.end], fence)
    if after is None:
        return head + piece, left, None
    closing, _, remainder = left.partition("\n")
    if _closes(closing, after):
        left, reopened = remainder.lstrip("\n"), None
    else:
        reopened = after
    return f"{head}{piece}\n{after.marker}", left, reopened


def _cut(text: str, room: int, inside: bool) -> _Cut:
    """The best break in the first `room` characters; `inside` a block no line loses its indentation or blank lines."""
    window = text[: room + 1]
    for least in (int(room * (1 - _EMPTY_SHARE)), 1):
        for mark in ("\n\n", "\n", " "):
            at = window.rfind(mark, least)
            if at >= 0 and text[:at].strip():
                return _Cut(at, at + 1 if inside else _skip(text, at, " " if mark == " " else "\n"))
    at = _whole_characters(text, max(room, 1))
    return _Cut(at, at)


def _skip(text: str, at: int, char: str) -> int:
    while at < len(text) and text[at] == char:
        at += 1
    return at


def _whole_characters(text: str, at: int) -> int:
    """`at`, or a little earlier where it would split an accent or an emoji from its base."""
    for earlier in range(at, max(at - 16, 0), -1):
        after, before = text[earlier : earlier + 1], text[earlier - 1]
        if after and not unicodedata.combining(after) and after not in _GLUE and before != "\u200d":
            return earlier
    return at


def _before_opening(text: str, cut: _Cut, fence: Fence | None) -> _Cut:
    """A block that would be opened at the very end of a part begins in the next one instead."""
    start = text.rfind("\n", 0, cut.end)
    last = text[start + 1 : cut.end]
    if start > 0 and _FENCE.fullmatch(last) and _scan(text[:start], fence) is None:
        return _Cut(start, start + 1)
    return cut


def _scan(text: str, fence: Fence | None) -> Fence | None:
    """The fence that is open after this text, when `fence` was open before it."""
    for line in text.split("\n"):
        if fence is None:
            fence = _opens(line)
        elif _closes(line, fence):
            fence = None
    return fence


def _opens(line: str) -> Fence | None:
    found = _FENCE.fullmatch(line)
    if found is None or (found["marker"][0] == "`" and "`" in found["info"]):
        return None
    language = _LANGUAGE.match(found["info"].strip())
    marker = found["marker"][:8]
    return Fence(marker, marker + (language.group() if language else ""))


def _closes(line: str, fence: Fence) -> bool:
    found = _FENCE.fullmatch(line)
    return found is not None and not found["info"].strip() and found["marker"].startswith(fence.marker)
