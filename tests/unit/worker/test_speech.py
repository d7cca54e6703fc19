"""Silence is silent, everything else is said as it is."""

from __future__ import annotations

import pytest

from worker.speech import CUT_MARK, MAX_SAY, is_silent, spoken, undecided, visible


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "hello"),
        ("  hello\n", "hello"),
        ("NO_REPLY", ""),
        (" no_reply \n", ""),
        ("Done.\n\nNO_REPLY", "Done."),
        ("HEARTBEAT_OK", ""),
        ("say NO_REPLY to nobody", "say NO_REPLY to nobody"),
        ("MONO_REPLY", "MONO_REPLY"),
        ("[[reply_to_current]] yes", "yes"),
        ("[[reply_to:12]]\nNO_REPLY", ""),
        ("[[other]] yes", "[[other]] yes"),
    ],
)
def test_only_the_visible_part_is_said(text: str, said: str) -> None:
    assert visible(text) == said


def test_an_endless_text_is_cut_with_a_mark() -> None:
    said = visible("x" * (MAX_SAY * 2))
    assert len(said) == MAX_SAY
    assert said.endswith(CUT_MARK)


def test_silence_is_a_choice_and_emptiness_is_not() -> None:
    assert is_silent("NO_REPLY")
    assert not is_silent("")


def test_live_text_waits_while_it_may_still_be_silence() -> None:
    assert all(undecided(start) for start in ("", "N", "no_re", "NO_REPLY", "[", "[[reply_to", "HEART"))
    assert not any(undecided(start) for start in ("No,", "hello", "[x", "[[reply_to_current]] a"))


def test_a_reply_tag_is_kept_for_the_router_and_never_alone() -> None:
    assert spoken("[[reply_to:12]]  yes\nNO_REPLY") == "[[reply_to:12]] yes"
    assert spoken("[[ reply_to_current ]]NO_REPLY") == ""
    assert spoken("plain") == "plain"
    assert visible(spoken("[[reply_to_current]] yes")) == "yes"
