"""Markdown as models write it → the HTML dialect of Telegram. Pure, never raises, always well formed.

Blocks are found line by line, then the spans inside one line. A mark without its partner stays what it was: a
character. What a stranger can do with the text is limited to these tags and to http, https, tg and mailto links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape

#: Longest link kept as a link, in characters.
MAX_LINK = 2_000
#: A table grows when its columns are lined up; a wider result than this is left as it came, in characters.
MAX_TABLE = 3_500

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([A-Za-z0-9_+#.\-]{0,32})[^`\n]*$")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+")
_BULLET = re.compile(r"([ \t]*)[-*+][ \t]+(?=\S)")
_QUOTED = re.compile(r" {0,3}>[ \t]?")
_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_TOKEN = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`{1,8})(?!`)(?P<inner>[^`\n]{1,4000})(?P=ticks)(?!`))"
    r"|(?P<link>!?\[(?P<label>[^\[\]\n]{1,1000})\]\((?P<url>[^()\s<>]*(?:\([^()\s<>]*\)[^()\s<>]*){0,8})\))"
    r"|<(?P<auto>https?://[^\s<>]{1,2000})>"
    r"|\\(?P<escaped>[\\`*_{}\[\]()#+\-.!~|>])"
    r"|(?P<mark>\*{1,3}(?!\*)|_{1,3}(?!_)|~~(?!~)|\|\|(?!\|))"
)
_SAFE = re.compile(r"(?:https?://|tg://|mailto:)\S+$", re.IGNORECASE)
_TAGS = {
    "*": ("<i>", "</i>"),
    "**": ("<b>", "</b>"),
    "***": ("<b><i>", "</i></b>"),
    "_": ("<i>", "</i>"),
    "__": ("<b>", "</b>"),
    "___": ("<b><i>", "</i></b>"),
    "~~": ("<s>", "</s>"),
    "||": ("<tg-spoiler>", "</tg-spoiler>"),
}
#: Marks that count only around whole words, so that `snake_case_name` and `2*3*4` keep their characters.
_WORDWISE = frozenset({"*", "_", "__", "___"})
_TAG = re.compile(r"<[^>]*>")
_SURROGATE = re.compile("[\ud800-\udfff]")


def render(text: str) -> str:
    """HTML for `sendMessage` with `parse_mode` HTML."""
    lines = _SURROGATE.sub("\ufffd", text).replace("\r\n", "\n").split("\n")
    return "\n".join(_blocks(lines))


def strip(html: str) -> str:
    """What people see of our own HTML."""
    return unescape(_TAG.sub("", html))


def units(text: str) -> int:
    """Length in UTF-16 code units, which is how Telegram counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        for block in (_code, _table, _quote):
            html, used = block(lines, at)
            if used:
                break
        else:
            html, used = _line(lines[at]), 1
        yield html
        at += used


def _code(lines: list[str], at: int) -> tuple[str, int]:
    """A fenced block up to its closing fence, or to the end where the model forgot it."""
    opened = _FENCE.match(lines[at])
    if opened is None:
        return "", 0
    fence, language = opened[1], opened[2]
    end = at + 1
    while end < len(lines) and not _closes(lines[end], fence):
        end += 1
    body = escape("\n".join(lines[at + 1 : end]))
    tag = f'<code class="language-{language}">' if language else "<code>"
    return f"<pre>{tag}{body}</code></pre>", min(end + 1, len(lines)) - at


def _closes(line: str, fence: str) -> bool:
    line = line.strip()
    return len(line) >= len(fence) and not line.strip(fence[0])


def _table(lines: list[str], at: int) -> tuple[str, int]:
    """A header row, a rule and rows, lined up in a monospace block: Telegram has no tables."""
    if "|" not in lines[at] or at + 1 == len(lines) or "|" not in lines[at + 1] or not _RULE.match(lines[at + 1]):
        return "", 0
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    rows = [_cells(lines[row]) for row in (at, *range(at + 2, end))]
    source = "\n".join(lines[at:end])
    aligned = _align(rows)
    return f"<pre>{escape(aligned if len(aligned) <= MAX_TABLE else source)}</pre>", end - at


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]


def _align(rows: list[list[str]]) -> str:
    width = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    if sum(width) * len(rows) > MAX_TABLE:
        return " " * (MAX_TABLE + 1)
    lined = [" | ".join(cell.ljust(width[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
    lined.insert(1, "-+-".join("-" * each for each in width))
    return "\n".join(lined)


def _quote(lines: list[str], at: int) -> tuple[str, int]:
    """Quoted lines in a row; Telegram has no quotes inside quotes."""
    end = at
    while end < len(lines) and _QUOTED.match(lines[end]):
        end += 1
    inner = (_line(_QUOTED.sub("", line, count=1)) for line in lines[at:end])
    return (f"<blockquote>{chr(10).join(inner)}</blockquote>" if end > at else ""), end - at


def _line(line: str) -> str:
    heading = _HEADING.match(line)
    if heading is not None:
        return _spans(_without_hashes(line[heading.end() :].strip()))
    bullet = _BULLET.match(line)
    if bullet is not None and not _is_ruler(line):
        return f"{bullet[1]}• {_spans(line[bullet.end() :])}"
    return _spans(line)


def _without_hashes(title: str) -> str:
    """`## Title ##` may close what it opened."""
    bare = title.rstrip("#")
    return bare.rstrip() if bare.endswith((" ", "\t")) else title


def _is_ruler(line: str) -> bool:
    """`* * *` and `- - -` are rules between sections, not bullets."""
    marks = line.replace(" ", "").replace("\t", "")
    return len(marks) >= 3 and len(set(marks)) == 1


def _spans(text: str, links: bool = True) -> str:
    """One line. Opening marks wait on a stack; a closing one leaves those above its partner as plain characters."""
    out: list[str] = []
    waiting: list[tuple[str, int]] = []
    at = 0
    for token in _TOKEN.finditer(text):
        out.append(escape(text[at : token.start()]))
        at = token.end()
        if token["mark"] is None:
            out.append(_piece(token, links))
        else:
            _mark(token, text, out, waiting)
    out.append(escape(text[at:]))
    return "".join(out)


def _mark(token: re.Match[str], text: str, out: list[str], waiting: list[tuple[str, int]]) -> None:
    mark = token["mark"]
    before, after = text[: token.start()][-1:], text[token.end() : token.end() + 1]
    if _can_close(mark, before, after) and (partner := _partner(mark, waiting, len(out))) is not None:
        out[waiting[partner][1]], closing = _TAGS[mark]
        out.append(closing)
        del waiting[partner:]
        return
    if _can_open(mark, before, after):
        waiting.append((mark, len(out)))
    out.append(escape(mark))


def _partner(mark: str, waiting: list[tuple[str, int]], end: int) -> int | None:
    """The nearest opening mark of the same kind that has something between it and here."""
    for index in range(len(waiting) - 1, -1, -1):
        if waiting[index][0] == mark:
            return index if waiting[index][1] < end - 1 else None
    return None


def _can_open(mark: str, before: str, after: str) -> bool:
    return bool(after.strip()) and before != mark[0] and not (mark in _WORDWISE and before.isalnum())


def _can_close(mark: str, before: str, after: str) -> bool:
    return bool(before.strip()) and not (mark in _WORDWISE and after.isalnum())


def _piece(token: re.Match[str], links: bool) -> str:
    makers: dict[str, Callable[[re.Match[str]], str]] = {
        "code": _code_span,
        "auto": lambda found: escape(found["auto"]),
        "escaped": lambda found: escape(found["escaped"]),
    }
    if token["link"] is not None:
        return _link(token) if links else escape(token[0])
    return next(make(token) for name, make in makers.items() if token[name] is not None)


def _code_span(token: re.Match[str]) -> str:
    inner = token["inner"]
    trimmed = inner.strip(" ") if len(token["ticks"]) > 1 else inner
    return f"<code>{escape(trimmed)}</code>" if trimmed.strip() else escape(token[0])


def _link(token: re.Match[str]) -> str:
    url, label = token["url"], token["label"]
    if len(url) > MAX_LINK or not _SAFE.match(url) or not label.strip():
        return escape(token[0])
    target = escape(url).replace('"', "&quot;")
    return f'<a href="{target}">{_spans(label, links=False)}</a>'
