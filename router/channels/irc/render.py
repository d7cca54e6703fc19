"""Markdown -> IRC lines. Pure.

Bold, italic and strike become the usual toggles; code stays plain, links read `text (url)`, list items get a bullet.
Control characters of the source are removed first, so no text can smuggle in a line break, a CTCP or a colour.
Spaces are trimmed as " " only: to Python the italic and strike toggles are white space too.
"""

from __future__ import annotations

import re

from router.channels.irc.wire import MAX_SENT, build

BOLD, ITALIC, STRIKE = "\x02", "\x1d", "\x1e"
_TOGGLES = (BOLD, ITALIC, STRIKE)
#: Longest user and host a server puts before our line when it passes it on: `!`, 11, `@`, 64 (usual USERLEN, HOSTLEN).
_USER_HOST = 1 + 11 + 1 + 64
#: More lines than this are a flood: the last ones are joined with spaces, which loses breaks but no words.
MAX_LINES = 20
_SMALLEST = 80

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*)")
_ITEM = re.compile(r"(\s*)[-*+]\s+(.*)")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,500})\]\(<?([^()\s<>]{1,1000})>?(?: \"[^\"\n]{0,200}\")?\)")
_INLINE = (
    (re.compile(r"\*\*(?=\S)([^*\n]{1,2000}?)(?<=\S)\*\*"), BOLD),
    (re.compile(r"(?<!\w)__(?=\S)([^_\n]{1,2000}?)(?<=\S)__(?!\w)"), BOLD),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]{1,2000}?)(?<=\S)\*(?![\w*])"), ITALIC),
    (re.compile(r"(?<!\w)_(?=\S)([^_\n]{1,2000}?)(?<=\S)_(?!\w)"), ITALIC),
    (re.compile(r"~~(?=\S)([^~\n]{1,2000}?)(?<=\S)~~"), STRIKE),
)
_CODE = re.compile(r"(`{1,3})(?!`)([^`\n]{1,2000})\1(?!`)")


def privmsgs(text: str, nick: str, target: str) -> list[bytes]:
    """The PRIVMSG lines that carry one message, none longer than IRC allows once the server has put our name before.

    Empty if nothing visible is left. Raises ValueError for a target that is no single IRC word.
    """
    if "," in target:
        raise ValueError("an IRC target holds a comma")
    frame = build("PRIVMSG", target, "")
    room = MAX_SENT - len(frame) - len(nick) - _USER_HOST - len(": ")
    return [build("PRIVMSG", target, line) for line in wrap(to_lines(text), max(room, _SMALLEST))]


def to_lines(text: str) -> list[str]:
    """Visible lines in IRC formatting; blank ones are left out, as IRC has no paragraphs."""
    lines: list[str] = []
    fenced = False
    for raw in _CONTROL.sub("", text.replace("\r\n", "\n").replace("\t", "    ")).split("\n"):
        if _FENCE.match(raw):
            fenced = not fenced
        elif raw.strip():
            lines.append(raw.rstrip() if fenced else _format(raw))
    return [line for line in lines if line.strip()]


def _format(line: str) -> str:
    if _is_rule(line):
        return ""
    if heading := _HEADING.fullmatch(line):
        title = _inline(heading[1].strip().rstrip("#").rstrip()).replace(BOLD, "")
        return f"{BOLD}{title}{BOLD}" if title else ""
    if item := _ITEM.fullmatch(line):
        return f"{item[1]}• {_inline(item[2])}"
    return _inline(line).rstrip(" ")


def _is_rule(line: str) -> bool:
    """A horizontal rule, or the line under a table's head. By sets, not by a pattern: no text can make this slow."""
    marks = set(line) - {" "}
    return (len(marks) == 1 and marks <= set("-*_") and len(line.replace(" ", "")) >= 3) or (
        {"-", "|"} <= marks <= {"-", "|", ":"}
    )


def _inline(text: str) -> str:
    """Emphasis and links outside code; what is inside backticks is left as written."""
    parts: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        parts += [_emphasis(text[end : code.start()]), code[2]]
        end = code.end()
    return "".join([*parts, _emphasis(text[end:])])


def _emphasis(text: str) -> str:
    """Links are cut out first: their addresses hold `_` and `*` that mean nothing."""
    parts: list[str] = []
    end = 0
    for link in _LINK.finditer(text):
        parts += [_toggles(text[end : link.start()]), _link(link)]
        end = link.end()
    return "".join([*parts, _toggles(text[end:])])


def _link(match: re.Match[str]) -> str:
    label, url = match[1].strip(), match[2]
    return url if label in ("", url) else f"{_toggles(label)} ({url})"


def _toggles(text: str) -> str:
    for pattern, toggle in _INLINE:
        text = pattern.sub(rf"{toggle}\1{toggle}", text)
    return text


def wrap(lines: list[str], room: int) -> list[str]:
    """Cut lines to `room` bytes at spaces, else between characters; formatting is taken up again after a cut."""
    pieces = [piece for line in lines for piece in _cut(line, room)]
    if len(pieces) <= MAX_LINES or len(lines) == 1:
        return pieces
    head, tail = lines[: MAX_LINES // 2], " ".join(line.strip(" ") for line in lines[MAX_LINES // 2 :])
    return [piece for line in (*head, tail) for piece in _cut(line, room)]


def _cut(line: str, room: int) -> list[str]:
    pieces: list[str] = []
    open_toggles = ""
    while len((open_toggles + line).encode()) > room:
        head, line = _split(open_toggles + line, room)
        pieces += [head] if head.strip() else []
        open_toggles = _still_open(head)
    return [*pieces, open_toggles + line] if line.strip() else pieces


def _split(text: str, room: int) -> tuple[str, str]:
    """The longest head of at most `room` bytes, cut at a space if there is one in its second half."""
    head = text.encode()[:room].decode(errors="ignore")
    space = head.rfind(" ") if text[len(head)] != " " else len(head)
    if space > len(head) // 2:
        head = head[:space]
    return head.rstrip(" "), text[len(head) :].lstrip(" ")


def _still_open(text: str) -> str:
    return "".join(toggle for toggle in _TOGGLES if text.count(toggle) % 2)
