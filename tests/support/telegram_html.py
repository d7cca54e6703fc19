"""The HTML dialect of Telegram messages, read as strictly as the real server reads it.

Made for the fake Bot API: text and entities (offsets in UTF-16 units) out, or the error text the real server gives.
"""

from __future__ import annotations

import re
from typing import Any

TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
}
NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_SPECIAL = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-fA-F]{1,6}|lt|gt|amp|quot);|<")
_ATTRIBUTE = re.compile(r'\s+([a-zA-Z-]+)(?:=("[^"]*"|\'[^\']*\'|[^\s>"\']+))?')
#: The real server turns these into spaces and drops carriage returns.
_CONTROL = {code: " " for code in range(32) if code not in (10, 13)} | {13: None}


class HtmlError(Exception):
    """The markup is not valid; the text is what the real server says after `can't parse entities: `."""


def units(text: str) -> int:
    """Length in UTF-16 code units, the unit of every Telegram offset and limit."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def clean(text: str) -> str:
    return text.translate(_CONTROL) if any(ord(c) < 32 and c != "\n" for c in text) else text


def trim(text: str, entities: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Cut white space off both ends, as the real server does, and move the entities along."""
    stripped = text.strip()
    if stripped == text:
        return text, entities
    lead = units(text[: len(text) - len(text.lstrip())])
    total = units(stripped)
    moved = []
    for entity in entities:
        start = max(0, entity["offset"] - lead)
        end = min(total, entity["offset"] - lead + entity["length"])
        if end > start:
            moved.append({**entity, "offset": start, "length": end - start})
    return stripped, moved


def parse(html: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain text and entities of `html`. Raises HtmlError."""
    if "<" not in html and "&" not in html:
        return trim(clean(html), [])
    return _Parser(html).run()


class _Parser:
    def __init__(self, html: str) -> None:
        self.html = html
        self.at = 0
        self.offset = 0
        self.out: list[str] = []
        self.open: list[tuple[str, int, dict[str, str]]] = []
        self.entities: list[dict[str, Any]] = []

    def run(self) -> tuple[str, list[dict[str, Any]]]:
        while (found := _SPECIAL.search(self.html, self.at)) is not None:
            self.emit(self.html[self.at : found.start()])
            self.at = found.end()
            if found[0] == "<":
                self.tag(found.start())
            else:
                self.emit(_character(found[0][1:-1]))
        self.emit(self.html[self.at :])
        if self.open:
            raise HtmlError(f'Can\'t find end tag corresponding to start tag "{self.open[-1][0]}"')
        self.entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
        return trim("".join(self.out), self.entities)

    def emit(self, text: str) -> None:
        if text:
            text = clean(text)
            self.out.append(text)
            self.offset += units(text)

    def byte(self, position: int) -> int:
        return len(self.html[:position].encode("utf-8", "surrogatepass"))

    def tag(self, start: int) -> None:
        end = self.html.find(">", self.at)
        closing = self.html.startswith("/", self.at)
        if end < 0:
            kind = "end" if closing else "start"
            raise HtmlError(f"Unclosed {kind} tag at byte offset {self.byte(start)}")
        inner = self.html[self.at : end]
        self.at = end + 1
        if closing:
            self.close(inner[1:].strip().lower(), start)
        else:
            self.begin(inner, start)

    def begin(self, inner: str, start: int) -> None:
        name = re.split(r"\s", inner, maxsplit=1)[0].lower()
        if name not in TAGS:
            raise HtmlError(f'Unsupported start tag "{name}" at byte offset {self.byte(start)}')
        attributes = self.attributes(inner[len(name) :], start)
        if name == "span" and attributes.get("class") != "tg-spoiler":
            raise HtmlError(f'Tag "span" must have class "tg-spoiler" at byte offset {self.byte(start)}')
        self.open.append((name, self.offset, attributes))

    def attributes(self, text: str, start: int) -> dict[str, str]:
        found: dict[str, str] = {}
        at = 0
        while at < len(text.rstrip()):
            match = _ATTRIBUTE.match(text, at)
            if match is None:
                raise HtmlError(f"Unclosed start tag at byte offset {self.byte(start)}")
            value = (match[2] or "").strip("\"'")
            found[match[1].lower()] = _SPECIAL.sub(lambda m: _character(m[0][1:-1]) if m[0] != "<" else "<", value)
            at = match.end()
        return found

    def close(self, name: str, start: int) -> None:
        if not self.open:
            raise HtmlError(f"Unexpected end tag at byte offset {self.byte(start)}")
        opened, offset, attributes = self.open.pop()
        if name and name != opened:
            raise HtmlError(
                f'Unmatched end tag at byte offset {self.byte(start)}, expected "</{opened}>", found "</{name}>"'
            )
        if self.offset > offset:
            self.note(opened, offset, attributes)

    def note(self, name: str, offset: int, attributes: dict[str, str]) -> None:
        entity: dict[str, Any] = {"type": TAGS[name], "offset": offset, "length": self.offset - offset}
        if name == "a":
            if not attributes.get("href"):
                return
            entity["url"] = attributes["href"]
        inside_pre = any(opened == "pre" for opened, _, _ in self.open)
        if name == "code" and inside_pre:
            language = attributes.get("class", "")
            if language.startswith("language-"):
                self.open[-1][2]["language"] = language.removeprefix("language-")
            return
        if name == "pre" and "language" in attributes:
            entity["language"] = attributes["language"]
        self.entities.append(entity)


def _character(name: str) -> str:
    if name in NAMED:
        return NAMED[name]
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else ""
