"""Tables fit, times read well, foreign text cannot steer the terminal."""

from __future__ import annotations

from supervisor.cli.output import age, clean, table


def test_a_table_is_never_wider_than_the_terminal() -> None:
    """120 columns without one; long cells wrap, wide characters count twice."""
    text = table(["Name", "Detail"], [["a", "word " * 60], ["日本", "x"]])
    lines = text.splitlines()
    assert lines[0].startswith("┌──────┬") and lines[-1].startswith("└──────┴")
    assert {len(line) for line in lines if "日" not in line} == {120}
    assert "│ 日本 │ x" in text


def test_ages_are_short() -> None:
    """Nothing is older than it is."""
    assert [age(100 - seconds, 100) for seconds in (0, 10)] == ["just now", "10s ago"]
    now = 10_000_000.0
    assert [age(now - seconds, now) for seconds in (120, 7200, 200_000)] == ["2m ago", "2h ago", "2d ago"]
    assert age(0, now) == "never"


def test_control_characters_are_shown_as_question_marks() -> None:
    """New lines stay."""
    assert clean("a\x1b[31mb\nc\x07") == "a?[31mb\nc?"
