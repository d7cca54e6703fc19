"""A change to the file keeps everything the user wrote around it."""

from __future__ import annotations

import re
from typing import Any

import json5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config import document
from supervisor.config.edit import PathMissing, lookup, remove, replace, rewrite, same

EXAMPLE = """\
// My gateway.
{
  agents: { // all of them
    list: [
      { id: "main" }, // the first
      /* the second */
      { id: "work", workspace: '~/w' }
      // more to come
    ],
  },
  "bindings": [],
  port: 0x10, /* hex */
}
"""


def edited(text: str, path: tuple[str | int, ...], value: Any) -> str:
    return rewrite(text, replace(document.parse(text).value, path, value))


def without(text: str, path: tuple[str | int, ...]) -> str:
    return rewrite(text, remove(document.parse(text).value, path))


def test_a_scalar_is_replaced_in_place() -> None:
    """Only the value itself changes."""
    assert edited(EXAMPLE, ("port",), 17) == EXAMPLE.replace("0x10", "17")


def test_an_item_is_appended_after_the_comment_that_belongs_to_the_last_one() -> None:
    """The list's style is kept, and the comma lands before the comment."""
    assert edited(EXAMPLE, ("agents", "list", 2), {"id": "ops"}) == EXAMPLE.replace(
        "workspace: '~/w' }\n",
        """workspace: '~/w' },
      {
        id: "ops"
      }
""",
    )


def test_an_item_is_removed_and_its_neighbours_comments_stay() -> None:
    """The line goes, the comments above and below do not."""
    text = without(EXAMPLE, ("agents", "list", 1))
    assert text == EXAMPLE.replace("      { id: \"work\", workspace: '~/w' }\n", "").replace(
        '{ id: "main" }, //', '{ id: "main" } //'
    )


def test_an_empty_list_is_filled() -> None:
    """`[]` opens up and closes at the indent of its line."""
    text = edited(EXAMPLE, ("bindings", 0), "x")
    assert '  "bindings": [\n    "x"\n  ],\n' in text


def test_a_one_line_document_stays_on_one_line() -> None:
    """No layout is forced on a compact file."""
    assert edited('{"a": 1}', ("b",), [1, 2]) == '{"a": 1, "b": [1, 2]}'
    assert without('{"a": 1, "b": 2}', ("b",)) == '{"a": 1 }'
    assert edited("{a: 1 // x\n}", ("b",), 2) == "{a: 1, // x\n  b: 2\n}"


def test_plain_json_stays_plain_json() -> None:
    """A file without a trailing comma gets none, whatever is added or taken."""
    text = '{\n  "a": 1,\n  "b": {\n    "c": [1, 2]\n  }\n}\n'
    added = edited(text, ("d",), True)
    assert added == '{\n  "a": 1,\n  "b": {\n    "c": [1, 2]\n  },\n  "d": true\n}\n'
    assert without(added, ("d",)) == text
    assert without(without(text, ("a",)), ("b",)) == "{\n}\n"


def test_the_later_of_two_equal_keys_is_the_one_that_counts() -> None:
    """As in reading."""
    assert edited("{a: 1, a: 2}", ("a",), 3) == "{a: 1, a: 3}"
    assert document.parse(without("{a: 1, b: 0, a: 2}", ("a",))).value == {"b": 0}


def test_a_missing_path_is_told() -> None:
    """`unset` of nothing is not silently done."""
    with pytest.raises(PathMissing):
        remove({"a": {}}, ("a", "b"))
    with pytest.raises(PathMissing):
        lookup({"a": [1]}, ("a", 1))
    with pytest.raises(PathMissing):
        replace({"a": [1]}, ("a", 5), 1)


TEXT = st.characters(exclude_categories=("Cs", "Cc"))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-99, 99), st.text(TEXT, max_size=6), st.floats(allow_nan=False)
)
KEYS = st.one_of(st.sampled_from(["a", "b", "c", "id", "odd key", "ünï"]), st.text(TEXT, max_size=4))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
GAPS = st.lists(st.sampled_from([" ", "\n", "  ", "/*%*/", "// %\n", "\t"]), max_size=3)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A document in every layout, each comment with a number of its own."""
    count = 0

    def gap() -> str:
        nonlocal count
        parts = []
        for part in draw(GAPS):
            count += "%" in part
            parts.append(part.replace("%", f"c{count}."))
        return "".join(parts)

    def named(key: str | None) -> str:
        return "" if key is None else f"{json5.dumps(key, ensure_ascii=False)}{gap()}:{gap()}"

    def write(value: Any) -> str:
        if isinstance(value, dict | list) and value:
            pairs = value.items() if isinstance(value, dict) else ((None, one) for one in value)
            parts = [gap() + named(key) + write(one) + gap() for key, one in pairs]
            comma = draw(st.sampled_from(["", ",", ","])) + gap()
            body = ",".join(parts) + comma
            return "{" + body + "}" if isinstance(value, dict) else "[" + body + "]"
        return json5.dumps(value, ensure_ascii=False)

    return gap() + write(draw(st.dictionaries(KEYS, VALUES, max_size=4))) + gap()


@settings(max_examples=100, deadline=None)
@given(texts(), st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_document_can_be_made_to_say_anything(text: str, value: dict[str, Any]) -> None:
    """Rewriting is right for every pair, and the referee agrees with our reader on both sides."""
    assert same(document.parse(text).value, json5.loads(text))
    after = rewrite(text, value)
    assert same(document.parse(after).value, value), after
    assert same(json5.loads(after), value)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [at, *(place for key, inner in value.items() for place in places(inner, (*at, key)))]
    if isinstance(value, list):
        return [at, *(place for index, inner in enumerate(value) for place in places(inner, (*at, index)))]
    return [at]


@settings(max_examples=100, deadline=None)
@given(texts(), SCALARS, st.data())
def test_comments_outside_the_replaced_value_survive(text: str, value: Any, data: st.DataObject) -> None:
    """Set and unset at any place of any document."""
    root = document.parse(text)
    place = data.draw(st.sampled_from(places(root.value)[1:] or [("new",)]))
    node = document.find(root, place)
    inside = text[node.start : node.end] if node else ""
    expected = set(re.findall(r"c\d+\.", text)) - set(re.findall(r"c\d+\.", inside))
    changed = rewrite(text, replace(root.value, place, value))
    assert set(re.findall(r"c\d+\.", changed)) >= expected, changed
    assert same(lookup(document.parse(changed).value, place), value)
    if node and not _has_twin(root.value, place):
        unset = without(text, place)
        gone = expected - set(re.findall(r"c\d+\.", unset))
        assert all(_inside_entry(root, place, text, comment) for comment in gone), unset


def _has_twin(value: Any, place: tuple[str | int, ...]) -> bool:
    """Of two equal items in a list either may be the one that goes."""
    parent = lookup(value, place[:-1])
    return isinstance(parent, list) and sum(same(one, parent[int(place[-1])]) for one in parent) > 1


def _inside_entry(root: document.Node, place: tuple[str | int, ...], text: str, comment: str) -> bool:
    """Whether a comment stands between a removed key and its own value."""
    parent = document.find(root, place[:-1])
    for entry in (parent.entries or []) if parent else []:
        if entry.start <= text.index(comment) < entry.node.end:
            return True
    return False
