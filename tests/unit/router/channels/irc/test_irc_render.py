"""Markdown to IRC lines."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels.irc.render import MAX_LINES, privmsgs, to_lines, wrap
from router.channels.irc.wire import parse

BOLD, ITALIC, STRIKE = "\x02", "\x1d", "\x1e"


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("plain", ["plain"]),
        ("**bold** and ~~no~~", [f"{BOLD}bold{BOLD} and {STRIKE}no{STRIKE}"]),
        ("*it* and _it_", [f"{ITALIC}it{ITALIC} and {ITALIC}it{ITALIC}"]),
        ("__bold__ but a__b__c and snake_case_name", [f"{BOLD}bold{BOLD} but a__b__c and snake_case_name"]),
        ("2 * 3 * 4", ["2 * 3 * 4"]),
        ("# Head **x** #", [f"{BOLD}Head x{BOLD}"]),
        ("- one\n* two\n  + three\n1. four", ["• one", "• two", "  • three", "1. four"]),
        ("use `a_b_*c*` now", ["use a_b_*c* now"]),
        ("```py\nx = '**a**'\n\n  y\n```\nend", ["x = '**a**'", "  y", "end"]),
        ("[site](http://x/a_b) ![pic](http://p) [http://y](http://y)", ["site (http://x/a_b) pic (http://p) http://y"]),
        ("a\n\n\nb\n---\n| h |\n|---|\n| c |", ["a", "b", "| h |", "| c |"]),
        ("> quote", ["> quote"]),
        ("a\r\nb\rc\tok", ["a", "bc    ok"]),
        ("\x01DCC\x01 \x02x \x00y", ["DCC x y"]),
        ("", []),
        ("\n \n", []),
        ("#", ["#"]),
    ],
)
def test_markup(markdown: str, expected: list[str]) -> None:
    """Ensure each kind of markup becomes what IRC can show."""
    assert to_lines(markdown) == expected


def test_formatting_is_taken_up_again_after_a_cut() -> None:
    """Ensure that bold goes on in the next line, as a client ends it with the line."""
    pieces = wrap([f"{BOLD}{'word ' * 40}{BOLD}end"], 100)
    assert all(piece.startswith(BOLD) for piece in pieces[:-1])
    assert " ".join(pieces).replace(BOLD, "").split() == ["word"] * 40 + ["end"]


def test_a_flood_of_short_lines_becomes_fewer_long_ones() -> None:
    """Ensure that many lines cannot block an account for minutes, and that no word is lost."""
    text = "\n".join(f"line{number}" for number in range(300))
    lines = privmsgs(text, "claw", "#team")
    assert len(lines) <= MAX_LINES
    assert " ".join(line.decode().partition(" :")[2].strip() for line in lines) == text.replace("\n", " ")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=1500), st.sampled_from(["#team", "bob"]))
def test_every_line_fits_and_stays_one_line(text: str, target: str) -> None:
    """Ensure 512 bytes with the longest prefix, valid UTF-8, one PRIVMSG to one target, no CTCP."""
    for raw in privmsgs(text, "clawbot", target):
        assert len(raw) + len(":clawbot!12345678901@ ") + 64 <= 512
        line = parse(raw[:-2])
        assert line is not None and line.command == "PRIVMSG" and line.param(0) == target
        assert line.param(1).strip() and not set(line.param(1)) & {"\x00", "\x01", "\r", "\n"}


@given(st.lists(st.text(alphabet="abcdeäß€😀", min_size=1, max_size=120), max_size=60))
def test_no_word_is_lost_by_wrapping(words: list[str]) -> None:
    """Ensure that text comes out whole, cut at spaces where that is possible."""
    pieces = wrap([" ".join(words)], 80) if words else []
    assert "".join("".join(pieces).split()) == "".join(words)


@pytest.mark.parametrize("target", ["", "a b", ":x", "a,b", "a\r\nQUIT", "\0"])
def test_a_target_that_is_not_one_word_is_refused(target: str) -> None:
    """Ensure that one message cannot go to many, nor become another command."""
    with pytest.raises(ValueError, match="IRC"):
        privmsgs("x", "claw", target)


@pytest.mark.parametrize("unit", ["*", "_", "**a", "[", "[a](", "`", "~~", "# ", " ", "-|", "- ", "|-", "```\n"])
def test_no_text_makes_rendering_slow(unit: str) -> None:
    """Ensure that a model cannot stop the router with crafted Markdown."""
    start = time.perf_counter()
    privmsgs((unit * 16_000)[:16_000] + "x", "claw", "#team")
    assert time.perf_counter() - start < 2.0
