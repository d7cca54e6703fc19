"""Cuts an answer into platform messages: at paragraphs, then lines, then words, and only then anywhere (SPEC 4.9)."""

from __future__ import annotations

_FENCES = ("```", "~~~")


def split(text: str, limit: int) -> list[str]:
    """Parts of at most `limit` characters, none empty. A fenced block that is cut is closed and opened again."""
    parts: list[str] = []
    rest, fence = text.strip("\n"), ""
    while rest.strip():
        head = f"{fence}\n" if fence else ""
        if len(head) + len(rest) <= limit:
            parts.append(head + rest)
            break
        room = max(limit - len(head) - (len(_FENCES[0]) + 1), 1)
        cut = _cut(rest, room)
        piece = rest[:cut]
        fence = _open_fence(head + piece)
        body = head + piece.rstrip("\n ")
        parts.append(f"{body}\n{fence[:3]}" if fence else body)
        rest = rest[cut:].lstrip("\n") if fence else rest[cut:].lstrip("\n ")
    return [part for part in parts if part.strip()]


def _cut(text: str, room: int) -> int:
    window = text[:room]
    for mark in ("\n\n", "\n", " "):
        at = window.rfind(mark)
        if at > room // 3:
            return at + len(mark)
    return room


def _open_fence(text: str) -> str:
    """The line that opened the fence we are in at the end of `text`, or nothing."""
    opened = ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith(_FENCES):
            opened = "" if opened else stripped[:40]
    return opened
