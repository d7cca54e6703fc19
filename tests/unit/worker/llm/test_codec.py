"""What both formats share: limits, tool arguments, JSON that always can be sent."""

from __future__ import annotations

import pytest

from worker.llm.base import ModelRefused, ToolCall
from worker.llm.codec import CallDraft, Tally, arguments_of, to_json


def test_an_answer_past_the_limit_is_refused() -> None:
    tally = Tally(10)
    assert tally.add("12345") == "12345"
    with pytest.raises(ModelRefused, match="larger"):
        tally.add("123456")


@pytest.mark.parametrize(
    ("pieces", "arguments", "raw"),
    [
        (["", " "], {}, ""),
        (['{"a"', ": 1}"], {"a": 1}, ""),
        (["[1]"], None, "[1]"),
        (["{"], None, "{"),
        (['{"a": "\ud800"}'], {"a": "?"}, ""),
    ],
)
def test_arguments_are_an_object_or_stay_raw(pieces: list[str], arguments: object, raw: str) -> None:
    draft = CallDraft("c", "exec")
    draft.pieces = pieces
    assert draft.finish() == ToolCall("c", "exec", arguments, raw)  # type: ignore[arg-type]


def test_a_vendor_is_always_shown_an_object() -> None:
    assert arguments_of(ToolCall("c", "x", None, "{")) == {"invalid_json": "{"}


def test_half_a_surrogate_does_not_stop_a_request() -> None:
    assert to_json({"a": "x\ud800y"}) == b'{"a": "x?y"}'
