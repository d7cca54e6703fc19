"""Long answers: no part too long, none blank, nothing lost, fences whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.chunking import split

FENCE = re.compile(r"^ {0,3}(```+|~~~+).*$", re.MULTILINE)

words = st.text(alphabet="ab cdé👋\n\t.", min_size=0, max_size=60)
blocks = st.builds(lambda language, code: f"\n```{language}\n{code}\n```\n", st.sampled_from(["", "py", "c++"]), words)
answers = st.lists(words | blocks, max_size=12).map("".join)


def bare(text: str) -> str:
    """The text without fences and white space."""
    return "".join(FENCE.sub("", text).split())


def open_fences(part: str) -> int:
    return len(FENCE.findall(part)) % 2


@settings(deadline=None)
@given(answers, st.integers(min_value=1, max_value=200))
@example("a" * 500, 7)
@example("```py\n" + "x = 1\n" * 50 + "```", 60)
def test_no_part_is_blank_or_too_long(text: str, limit: int) -> None:
    """Whatever the text and however small the limit."""
    for part in split(text, limit):
        assert part.strip() and len(part) <= limit


@settings(deadline=None)
@given(answers, st.integers(min_value=40, max_value=200))
def test_nothing_that_can_be_seen_is_lost_or_moved(text: str, limit: int) -> None:
    """Apart from the fences that were added, the parts together are the text."""
    assert bare("\n".join(split(text, limit))) == bare(text)


@settings(deadline=None)
@given(words.filter(lambda text: "`" not in text), st.integers(min_value=1, max_value=40))
def test_plain_text_is_never_changed_even_in_tiny_parts(text: str, limit: int) -> None:
    """White space at the cuts is all that goes."""
    assert "".join("".join(split(text, limit)).split()) == "".join(text.split())


@settings(deadline=None)
@given(st.lists(st.text("xy z=", min_size=1, max_size=30), min_size=1, max_size=40), st.integers(40, 120))
def test_every_part_of_a_block_is_a_block(lines: list[str], limit: int) -> None:
    """Each part opens with the language and is closed again."""
    for part in split("intro\n\n```python\n" + "\n".join(lines) + "\n```\nend", limit):
        assert open_fences(part) == 0
        assert part.count("```") == 2 * part.count("```python")


def test_a_short_text_is_one_part() -> None:
    """Exactly at the limit too."""
    assert split("hello", 5) == ["hello"]
    assert split("\n\nhello\n", 5) == ["hello"]


@pytest.mark.parametrize("text", ["", " ", "\n \n"])
def test_a_text_without_content_has_no_parts(text: str) -> None:
    """Platforms refuse blank messages."""
    assert split(text, 10) == []


def test_paragraphs_come_before_lines_and_lines_before_words() -> None:
    """The break is the highest one that does not leave most of the part empty."""
    assert split("one two\nthree\n\nfour five six", 20) == ["one two\nthree", "four five six"]
    assert split("one two three\nfour five six", 20) == ["one two three", "four five six"]
    assert split("one two three four five six", 15) == ["one two three", "four five six"]


def test_a_word_longer_than_a_part_is_cut_only_where_it_must_be() -> None:
    """A long address after a short word starts in its own part."""
    assert split("see " + "u" * 18, 20) == ["see", "u" * 18]
    assert split("u" * 25, 10) == ["u" * 10, "u" * 10, "u" * 5]


def test_a_cut_block_is_closed_and_opened_again_with_its_language() -> None:
    """As SPEC 4.9 asks."""
    code = "\n".join(f"line {number}" for number in range(8))
    parts = split(f"```python\n{code}\n```", 50)
    assert parts == [
        "```python\nline 0\nline 1\nline 2\nline 3\nline 4\n```",
        "```python\nline 5\nline 6\nline 7\n```",
    ]


def test_a_block_does_not_begin_at_the_very_end_of_a_part() -> None:
    """An empty block would be shown."""
    parts = split("word " * 7 + "\n```py\n" + "x = 1\n" * 6 + "```", 48)
    assert all("```py\n```" not in part for part in parts)
    assert parts[0].startswith("word") and "```" not in parts[0]


def test_indentation_and_blank_lines_of_code_survive_a_cut() -> None:
    """Python would be another program."""
    code = "def f():\n    a = 1\n\n    b = 2\n\n    return a + b"
    parts = split(f"```\n{code}\n```", 42)
    inner = [part.removeprefix("```\n").removesuffix("\n```") for part in parts]
    assert "\n".join(inner) == code


def test_three_backticks_inside_a_tilde_block_do_not_close_it() -> None:
    """A fence is closed by its own kind, at least as long."""
    parts = split("~~~md\n```\nshown\n```\n" + "more\n" * 12 + "~~~", 50)
    assert all(part.startswith("~~~md") and part.endswith("~~~") for part in parts)


def test_an_emoji_is_not_cut_in_half() -> None:
    """A family is joined by invisible characters."""
    family = "👨‍👩‍👧"
    assert split("x" * 8 + family + "y" * 8, 10) == ["x" * 8, family + "y" * 5, "yyy"]


def test_a_hundred_and_fifty_lines_are_cut_at_a_line_end() -> None:
    """Seen on the original with the same text."""
    text = "\n".join(f"{number}: " + "word " * 8 for number in range(150))
    parts = split(text, 4000)
    assert len(parts) == 2 and len(parts[0]) > 3900
    assert parts[1].split(":")[0].isdigit()
