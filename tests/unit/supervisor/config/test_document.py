"""JSON5 text becomes values and places; what is not JSON5 is told with line and column."""

from __future__ import annotations

import pytest

from supervisor.config import document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: jx}", "invalid character 'j' at 1:5"),
        ("{a: 1 b: 2}", "invalid character 'b' at 1:7"),
        ('{\n  "a": "x\n}', "string without its end at 2:8"),
        ("{a: 1", "unexpected end of file at 1:6"),
        ("{\n a: 1,\n !\n}", "invalid character '!' at 3:2"),
        ("{a: 01}", "invalid character '0' at 1:5"),
        ("{a: 1} /* x", "comment without its end at 1:8"),
        ("{,}", "invalid character ',' at 1:2"),
        ('{"a": "\\ud83d"}', "half of a surrogate pair at 1:8"),
        ('{"a": "\\1"}', "invalid escape '\\\\1' at 1:8"),
        ("[" * 200, "nested more than 100 levels deep at 1:101"),
        ("", "unexpected end of file at 1:1"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    """Line and column count from 1 and point at the first character that does not fit."""
    with pytest.raises(document.SyntaxProblem) as caught:
        document.parse(text)
    assert str(caught.value) == message


def test_everything_json5_allows_is_read() -> None:
    """Comments, bare keys, single quotes, hex, trailing commas, escapes, line continuation."""
    text = (
        "// x\n{a: 0x1F, 'b': .5, $c: +3, \\u0064: -Infinity,"
        " e: 'it\\'s \\x41\\\n!', f: [1, 2,], \"g\": '\\ud83d\\ude00',}"
    )
    assert document.parse(text).value == {
        "a": 31,
        "b": 0.5,
        "$c": 3,
        "d": float("-inf"),
        "e": "it's A!",
        "f": [1, 2],
        "g": "😀",
    }


def test_a_value_is_found_by_its_path() -> None:
    """The span is that of the source."""
    text = "{a: [1, {b: 'x'}]}"
    node = document.find(document.parse(text), ("a", 1, "b"))
    assert node is not None and text[node.start : node.end] == "'x'"
    assert document.find(document.parse(text), ("a", 7)) is None


def test_a_large_file_is_read_in_time() -> None:
    """10,000 bindings, 1.3 MB: a library that takes 12 µs a character would need 15 seconds."""
    row = '{agentId: "a", match: {channel: "telegram", peer: {kind: "direct", id: "12345678"}}, comment: "x"},\n'
    assert len(document.parse("{bindings: [" + row * 10_000 + "]}").value["bindings"]) == 10_000
