"""A JSON5 text as a tree of values that know where they stand, so that it can be edited without touching the rest.

Reading and editing share this one reader: what is checked is exactly what is edited. Grammar: https://spec.json5.org.
The `json5` library is the referee in the tests; it takes 12 µs a character, too slow for a large file in each command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

#: Deeper than any configuration; keeps a hostile or broken file from exhausting the stack.
MAX_DEPTH = 100

_TOKEN = re.compile(
    r"""(?P<space>(?:[\s\ufeff]|//[^\n\r\u2028\u2029]*|/\*.*?\*/)+)
    |(?P<punct>[{}\[\]:,])
    |(?P<string>"(?:[^"\\\n\r]|\\(?:\r\n|.))*"|'(?:[^'\\\n\r]|\\(?:\r\n|.))*')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|Infinity|NaN)
      (?![\w$.]))
    |(?P<name>(?:[^\W\d]|\$|\\u[0-9a-fA-F]{4})(?:[\w$\u200c\u200d]|\\u[0-9a-fA-F]{4})*)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_LINE_ENDS = frozenset({"\n", "\r", "\r\n", "\u2028", "\u2029"})
_WORDS = {"true": True, "false": False, "null": None}


class SyntaxProblem(ValueError):
    """The text is not JSON5. `line` and `column` count from 1."""

    def __init__(self, text: str, position: int, message: str) -> None:
        self.line, self.column = line_and_column(text, position)
        super().__init__(f"{message} at {self.line}:{self.column}")


class Entry(NamedTuple):
    """One member of an object or one item of an array. `comma` is where its comma stands, -1 without one."""

    start: int
    key: str
    node: Node
    comma: int


class Node(NamedTuple):
    """One value: `text[start:end]` is its source. `entries` is None for scalars."""

    start: int
    end: int
    value: Any
    entries: list[Entry] | None


class _Token(NamedTuple):
    kind: str
    start: int
    end: int


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Both from 1."""
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def parse(text: str) -> Node:
    """The tree of a whole document. Raises SyntaxProblem."""
    return _Reader(text).document()


def find(node: Node, steps: tuple[str | int, ...]) -> Node | None:
    """The node at a path, or None where the text has none."""
    for step in steps:
        found = None
        for index, entry in enumerate(node.entries or ()):
            if (index if isinstance(node.value, list) else entry.key) == step:
                found = entry.node
        if found is None:
            return None
        node = found
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._next = next(self._tokens)
        self._depth = 0

    def document(self) -> Node:
        node = self._value()
        if self._next.kind != "end":
            raise self._unexpected()
        return node

    def _scan(self) -> Iterator[_Token]:
        text, position, match = self._text, 0, _TOKEN.match
        while position < len(text):
            found = match(text, position)
            if found is None:
                break
            kind = str(found.lastgroup)
            if kind != "space":
                yield _Token(text[position] if kind == "punct" else kind, position, found.end())
            position = found.end()
        yield _Token("end" if position == len(text) else "bad", position, position)

    def _take(self) -> _Token:
        token = self._next
        self._next = next(self._tokens, token)
        return token

    def _unexpected(self) -> SyntaxProblem:
        token, text = self._next, self._text
        if token.kind == "end":
            return SyntaxProblem(text, token.start, "unexpected end of file")
        if token.kind == "bad":
            return SyntaxProblem(text, token.start, _explain(text, token.start))
        return SyntaxProblem(text, token.start, f"invalid character {text[token.start]!r}")

    def _value(self) -> Node:
        kind = self._next.kind
        if kind in "{[":
            return self._container(kind)
        if kind not in ("string", "number", "name"):
            raise self._unexpected()
        if kind == "name" and self._text[self._next.start : self._next.end] not in {*_WORDS, "Infinity", "NaN"}:
            raise self._unexpected()
        token = self._take()
        return Node(token.start, token.end, self._scalar(token), None)

    def _scalar(self, token: _Token) -> Any:
        source = self._text[token.start : token.end]
        if token.kind == "string":
            return self._unescape(source[1:-1], token.start + 1)
        return _WORDS[source] if source in _WORDS else _number(source)

    def _container(self, kind: str) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SyntaxProblem(self._text, self._next.start, f"nested more than {MAX_DEPTH} levels deep")
        start = self._take().start
        closing = "}" if kind == "{" else "]"
        entries: list[Entry] = []
        while self._next.kind != closing:
            entries.append(self._entry(kind, closing))
        self._depth -= 1
        end = self._take().end
        value: Any = {e.key: e.node.value for e in entries} if kind == "{" else [e.node.value for e in entries]
        return Node(start, end, value, entries)

    def _entry(self, kind: str, closing: str) -> Entry:
        start = self._next.start
        key = self._key() if kind == "{" else ""
        node = self._value()
        if self._next.kind == ",":
            return Entry(start, key, node, self._take().start)
        if self._next.kind != closing:
            raise self._unexpected()
        return Entry(start, key, node, -1)

    def _key(self) -> str:
        if self._next.kind not in ("string", "name") and not self._is_word_like_number():
            raise self._unexpected()
        token = self._take()
        source = self._text[token.start : token.end]
        quoted = token.kind == "string"
        key = self._unescape(source[1:-1], token.start + 1) if quoted else self._unescape(source, token.start)
        if self._next.kind != ":":
            raise self._unexpected()
        self._take()
        return key

    def _is_word_like_number(self) -> bool:
        """`Infinity` and `NaN` are names where a key is expected."""
        return self._text[self._next.start : self._next.end] in ("Infinity", "NaN")

    def _unescape(self, source: str, position: int) -> str:
        if "\\" not in source:
            return source
        for found in _ESCAPE.finditer(source):
            if self._is_bad_escape(source, found):
                raise SyntaxProblem(self._text, position + found.start(), f"invalid escape {found.group()!r}")
        joined = _ESCAPE.sub(_unescape_one, source)
        try:
            return joined.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise SyntaxProblem(self._text, position, "half of a surrogate pair") from None

    @staticmethod
    def _is_bad_escape(source: str, found: re.Match[str]) -> bool:
        char = found.group(3)
        if char == "0":
            return source[found.end() : found.end() + 1].isdigit()
        return char is not None and (char in "ux" or char in "123456789")


def _unescape_one(found: re.Match[str]) -> str:
    code = found.group(1) or found.group(2)
    if code:
        return chr(int(code, 16))
    char = found.group(3)
    return "" if char in _LINE_ENDS else _SIMPLE.get(char, char)


def _number(source: str) -> int | float:
    sign = -1 if source.startswith("-") else 1
    digits = source.lstrip("+-")
    if digits[:2] in ("0x", "0X"):
        return _held(sign * int(digits, 16))
    if digits == "Infinity":
        return sign * float("inf")
    if digits == "NaN":
        return float("nan")
    return sign * float(digits) if set(digits) & set(".eE") or len(digits) > 300 else _held(sign * int(digits))


def _held(number: int) -> int | float:
    """Whole numbers beyond 64 bits are floats, as all are in JavaScript; what is too large for one is infinite."""
    if is_plain(number):
        return number
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def is_plain(number: int) -> bool:
    """Whether a whole number fits into 64 bits, so that every reader of the file understands it."""
    return -(2**63) <= number < 2**64


def _explain(text: str, position: int) -> str:
    char = text[position]
    if char in "\"'":
        return "string without its end"
    if text.startswith("/*", position):
        return "comment without its end"
    return f"invalid character {char!r}"
