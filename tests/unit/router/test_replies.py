"""Which message an answer quotes."""

from __future__ import annotations

import pytest

from protocol.envelope import Address, Inbound, Peer, Sender
from router.replies import places, read_tag


def message(id: str = "7:42") -> Inbound:
    return Inbound(
        channel="telegram", account="default", message_id=id, peer=Peer("direct", "7"), sender=Sender("7"), text="hi",
        at=1.0, reply=Address("telegram", "default", "7", "t"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "left", "quotes"),
    [
        ("hello", "hello", ""),
        ("[[reply_to_current]] hello", "hello", "7:42"),
        ("[[ REPLY_TO : 12 ]]\nhello", "hello", "12"),
        ("[[reply_to:abc]] hello", "hello", ""),
        (f"[[reply_to:{'9' * 40}]] hello", "hello", ""),
        ("see [[reply_to_current]]", "see [[reply_to_current]]", ""),
    ],
)
def test_a_tag_is_taken_off_and_read(text: str, left: str, quotes: str) -> None:
    """An id of a kind the platform does not have would make it refuse the whole answer."""
    assert read_tag(text, message()) == (left, quotes)


def test_ids_of_other_platforms_need_not_be_numbers() -> None:
    assert read_tag("[[reply_to:3EB0AB]] hello", message("3EB0CD")).quotes == "3EB0AB"


@pytest.mark.parametrize(
    ("mode", "seq", "quotes", "first", "rest"),
    [
        (None, 0, "", None, None),
        ("off", 0, "", None, None),
        ("batched", 0, "", None, None),
        ("first", 0, "", "7:42", None),
        ("first", 1, "", None, None),
        ("all", 3, "", "7:42", "7:42"),
        ("off", 2, "12", "12", None),
        ("all", 0, "12", "12", None),
    ],
)
def test_the_mode_says_what_is_quoted_and_a_tag_beats_it(
    mode: str | None, seq: int, quotes: str, first: str | None, rest: str | None
) -> None:
    to = places(message(), mode, seq, quotes)
    assert (to.first.reply_to, to.rest.reply_to) == (first, rest)
    assert to.first.thread == to.rest.thread == "t"
