"""Changes a JSON5 text into another value and touches nothing but what differs: comments and layout are the user's.

`rewrite` compares what the text says with what it should say, entry by entry, and yields the smallest replacements.
Everything that stands outside a replaced or removed value stays, byte for byte. Pure.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from supervisor.config.document import Entry, Node, parse

Path = tuple[str | int, ...]
_BARE_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_BLANK = " \t"
_TAIL = re.compile(r"(?:[ \t]|/\*[^\n]*?\*/)*(//[^\n\r]*)?")
_STEP = 2


class PathMissing(LookupError):
    """There is nothing at the path."""


class Change(NamedTuple):
    """Put `text` in the place of `[start:end]`."""

    start: int
    end: int
    text: str


def rewrite(text: str, value: Any) -> str:
    """The text changed so that it says `value`. Raises SyntaxProblem where the text is not JSON5."""
    root = parse(text)
    return _apply(text, _differences(_Style(text, root), root, value))


def replace(value: Any, path: Path, new: Any) -> Any:
    """`value` with `new` at `path`; what is missing on the way is made. An index may be one past the end."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, list) or (isinstance(step, int) and not isinstance(value, dict)):
        items = value if isinstance(value, list) else []
        index = _index(items, step, len(items) + 1)
        inner = replace(items[index] if index < len(items) else None, rest, new)
        return [*items[:index], inner, *items[index + 1 :]]
    base = value if isinstance(value, dict) else {}
    return {**base, str(step): replace(base.get(str(step)), rest, new)}


def remove(value: Any, path: Path) -> Any:
    """`value` without what stands at `path`; the items of a list move up. Raises PathMissing."""
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        index = _index(value, step, len(value))
        return [*value[:index], *([remove(value[index], rest)] if rest else []), *value[index + 1 :]]
    if not isinstance(value, dict) or str(step) not in value:
        raise PathMissing(step)
    if rest:
        return {**value, str(step): remove(value[str(step)], rest)}
    return {key: inner for key, inner in value.items() if key != str(step)}


def lookup(value: Any, path: Path) -> Any:
    """What stands at `path`. Raises PathMissing."""
    for step in path:
        if isinstance(value, list):
            value = value[_index(value, step, len(value))]
        elif isinstance(value, dict) and str(step) in value:
            value = value[str(step)]
        else:
            raise PathMissing(step)
    return value


def _index(items: list[Any], step: str | int, limit: int) -> int:
    if not str(step).isdecimal() or int(step) >= limit:
        raise PathMissing(step)
    return int(step)


def same(left: Any, right: Any) -> bool:
    """Equality that tells true from 1 and 1 from 1.0, and finds NaN equal to itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(inner, right[key]) for key, inner in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)


class _Style:
    """How this text is written: indents, quotes."""

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self.many_lines = "\n" in text.strip() or not root.entries
        first = next(iter(root.entries or ()), None)
        self.bare_keys = first is not None and text[first.start] not in "\"'"

    def is_spread(self, node: Node) -> bool:
        """Whether its entries stand on lines of their own."""
        if not node.entries:
            return self.many_lines
        return "\n" in self.text[node.start : node.entries[0].start]

    def indent(self, position: int) -> str:
        """The blanks at the beginning of the line of `position`."""
        start = self.text.rfind("\n", 0, position) + 1
        line = self.text[start:]
        return line[: len(line) - len(line.lstrip(_BLANK))]

    def inner_indent(self, node: Node) -> str:
        if node.entries and self.is_spread(node):
            return self.indent(node.entries[0].start)
        return self.indent(node.start) + " " * _STEP

    def render(self, value: Any, indent: str, spread: bool) -> str:
        """The source of a new value, its first line without indent."""
        if isinstance(value, dict) and value:
            parts = [f"{self.key(key)}: {self.render(one, indent + ' ' * _STEP, spread)}" for key, one in value.items()]
            return _join("{", parts, "}", indent, spread)
        if isinstance(value, list) and value:
            parts = [self.render(one, indent + " " * _STEP, spread) for one in value]
            return _join("[", parts, "]", indent, spread)
        return json.dumps(value, ensure_ascii=False)

    def key(self, key: str) -> str:
        return key if self.bare_keys and _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)

    def tail(self, position: int) -> tuple[int, bool]:
        """The end of the comments that belong to what ends at `position`, and whether the last runs to the line end."""
        found = _TAIL.match(self.text, position)
        assert found is not None
        rest = self.text[found.end() : found.end() + 1]
        if found.group(1) is not None or rest in ("\n", "\r", ""):
            return found.end(), found.group(1) is not None
        return position, False


def _join(opening: str, parts: list[str], closing: str, indent: str, spread: bool) -> str:
    if not spread:
        pad = " " if opening == "{" else ""
        return f"{opening}{pad}{', '.join(parts)}{pad}{closing}"
    inner = "\n" + indent + " " * _STEP
    return f"{opening}{inner}{f',{inner}'.join(parts)}\n{indent}{closing}"


def _differences(style: _Style, node: Node, value: Any) -> Iterator[Change]:
    if same(node.value, value):
        return
    if isinstance(node.value, dict) and isinstance(value, dict):
        yield from _Container(style, node).changes(_object_plan(node, value))
    elif isinstance(node.value, list) and isinstance(value, list):
        yield from _Container(style, node).changes(_list_plan(node, value))
    else:
        spread = style.many_lines
        yield Change(node.start, node.end, style.render(value, style.indent(node.start), spread))


class _Keep(NamedTuple):
    entry: Entry
    value: Any


class _Drop(NamedTuple):
    entry: Entry


class _New(NamedTuple):
    key: str | None
    value: Any


_Plan = Sequence[_Keep | _Drop | _New]


def _object_plan(node: Node, value: dict[str, Any]) -> _Plan:
    entries = node.entries or []
    last = {entry.key: entry for entry in entries}
    plan: list[_Keep | _Drop | _New] = []
    for entry in entries:
        if entry.key not in value:
            plan.append(_Drop(entry))
        else:  # of a key that is there twice only the later one counts
            plan.append(_Keep(entry, value[entry.key] if last[entry.key] is entry else entry.node.value))
    return [*plan, *(_New(key, inner) for key, inner in value.items() if key not in last)]


def _list_plan(node: Node, value: list[Any]) -> _Plan:
    """Items of a list of the same length are compared in their places, others by what they say."""
    entries = node.entries or []
    if len(entries) == len(value):
        return [_Keep(entry, one) for entry, one in zip(entries, value, strict=True)]
    old, new = [repr(entry.node.value) for entry in entries], [repr(one) for one in value]
    plan: list[_Keep | _Drop | _New] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        paired = 0 if tag in ("delete", "insert") else min(i2 - i1, j2 - j1)
        plan += [_Keep(entries[i1 + n], value[j1 + n]) for n in range(paired)]
        plan += [_Drop(entry) for entry in entries[i1 + paired : i2]]
        plan += [_New(None, one) for one in value[j1 + paired : j2]]
    return plan


class _Container:
    """Turns a plan for one object or array into changes, with the commas that the result needs."""

    def __init__(self, style: _Style, node: Node) -> None:
        self._style = style
        self._node = node
        self._spread = style.is_spread(node)
        self._indent = style.inner_indent(node)

    def changes(self, plan: _Plan) -> Iterator[Change]:
        entries = self._node.entries or []
        keeps_trailing = self._spread and bool(entries) and entries[-1].comma >= 0
        final = [step for step in plan if not isinstance(step, _Drop)]
        anchor: Entry | None = None
        for step in plan:
            comma = bool(final) and (step is not final[-1] or keeps_trailing)
            if isinstance(step, _Drop):
                yield from self._dropped(step.entry)
            elif isinstance(step, _Keep):
                yield from _differences(self._style, step.entry.node, step.value)
                yield from self._comma(step.entry, comma)
                anchor = step.entry
            else:
                yield self._placed(anchor, step, comma=comma, last=step is final[-1])

    def _comma(self, entry: Entry, wanted: bool) -> Iterator[Change]:
        if wanted and entry.comma < 0:
            yield Change(entry.node.end, entry.node.end, ",")
        elif not wanted and entry.comma >= 0:
            yield Change(entry.comma, entry.comma + 1, "")

    def _dropped(self, entry: Entry) -> Iterator[Change]:
        text, end = self._style.text, entry.node.end
        if entry.comma >= 0 and text[end : entry.comma].strip():
            yield Change(entry.comma, entry.comma + 1, "")
        elif entry.comma >= 0:
            end = entry.comma + 1
        yield Change(*self._with_line(entry.start, end), "")

    def _with_line(self, start: int, end: int) -> tuple[int, int]:
        """The span, widened to its whole lines when nothing else stands on them."""
        text = self._style.text
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", end)
        if last >= 0 and not text[first:start].strip(_BLANK) and not text[end:last].strip(_BLANK + "\r"):
            return first, last + 1
        while end < len(text) and text[end] in _BLANK:
            end += 1
        return start, end

    def _placed(self, anchor: Entry | None, step: _New, *, comma: bool, last: bool) -> Change:
        style, node = self._style, self._node
        after = node.start + 1 if anchor is None else max(anchor.comma + 1, anchor.node.end)
        position, open_comment = style.tail(after)
        source = style.render(step.value, self._indent, self._spread)
        source = (source if step.key is None else f"{style.key(step.key)}: {source}") + ("," if comma else "")
        if self._spread or open_comment:
            alone = last and not node.entries and "\n" not in style.text[position : node.end]
            closing = "\n" + style.indent(node.start) if alone else ""
            return Change(position, position, f"\n{self._indent}{source}{closing}")
        if anchor is None and node.entries:
            return Change(after, after, f"{source} " if comma else source)
        return Change(after, after, f" {source}" if anchor is not None else source)


def _apply(text: str, changes: Iterator[Change]) -> str:
    """All changes at once; those at one place in the order they were made."""
    parts, position = [], 0
    for change in sorted(changes, key=lambda one: (one.start, one.end)):
        parts += [text[position : change.start], change.text]
        position = max(position, change.end)
    return "".join([*parts, text[position:]])
