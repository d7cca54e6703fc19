"""Anthropic Messages: what is sent, and what is made of what comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.model_wire import anthropic_events, anthropic_whole
from worker.llm.anthropic import AnthropicCodec, AnthropicDecoder
from worker.llm.base import (
    AssistantTurn,
    ContextOverflow,
    Finished,
    ModelBusy,
    ModelEvent,
    ModelRefused,
    Request,
    TextDelta,
    ToolCall,
    ToolSpec,
    ToolTurn,
    Usage,
    UserTurn,
)
from worker.llm.sse import Event, Parser

TOOL = ToolSpec("exec", "Run it.", {"type": "object", "properties": {}})


def build(request: Request) -> Any:
    return msgspec.json.decode(AnthropicCodec().build(request, "anthropic"))


def decode(*pieces: bytes | dict[str, Any]) -> list[ModelEvent]:
    decoder, parser = AnthropicDecoder(), Parser()
    out: list[ModelEvent] = []
    for piece in pieces:
        given = [Event("", msgspec.json.encode(piece).decode())] if isinstance(piece, dict) else parser.feed(piece)
        for event in given:
            out += decoder.feed(event)
    return [*out, *decoder.end()]


def test_the_request_has_cache_marks_on_the_system_text_and_the_newest_block() -> None:
    body = build(Request("claude-x", "Be kind.", (UserTurn("hi"),), (TOOL,), max_tokens=99))
    mark = {"type": "ephemeral"}
    assert body == {
        "model": "claude-x",
        "max_tokens": 99,
        "stream": True,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": mark}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]}],
        "tools": [{"name": "exec", "description": "Run it.", "input_schema": {"type": "object", "properties": {}}}],
    }


def test_results_and_the_next_question_share_one_user_message() -> None:
    call = ToolCall("t1", "exec", {"command": "ls"})
    turns = (
        UserTurn("go"),
        AssistantTurn("ok", (call,)),
        ToolTurn("t1", "exec", "no", is_error=True),
        UserTurn("and now"),
    )
    messages = build(Request("c", "", turns, (TOOL,)))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"][1] == {"type": "tool_use", "id": "t1", "name": "exec", "input": {"command": "ls"}}
    assert messages[2]["content"][0] == {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}


def test_without_offered_tools_earlier_calls_are_told_as_text() -> None:
    turns = (UserTurn("go"), AssistantTurn("", (ToolCall("t1", "exec", {}),)), ToolTurn("t1", "exec", "42"))
    assert "tool" not in str(
        [block["type"] for m in build(Request("c", "", turns))["messages"] for block in m["content"]]
    )


def test_a_stream_of_text_and_two_calls_is_put_together() -> None:
    calls = [("t1", "exec", {"command": "echo ü"}), ("t2", "read", {})]
    *deltas, last = decode(*anthropic_events("c", "Let me look.", calls, (7, 5)))
    assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == "Let me look."
    wanted = (ToolCall("t1", "exec", {"command": "echo ü"}), ToolCall("t2", "read", {}))
    assert last == Finished(AssistantTurn("Let me look.", wanted), "tools", Usage(7, 5))


def test_an_answer_that_was_not_streamed_is_the_same_answer() -> None:
    calls = [("t1", "exec", {"command": "ls"})]
    streamed = decode(*anthropic_events("c", "Hm.", calls, (7, 5)))[-1]
    assert decode(msgspec.json.decode(anthropic_whole("c", "Hm.", calls, (7, 5))))[-1] == streamed


@pytest.mark.parametrize("cut", range(9))
def test_a_stream_cut_anywhere_is_busy_and_never_finished(cut: int) -> None:
    events = anthropic_events("c", "a b c d", [], (1, 1))
    assert len(events) == 10
    with pytest.raises(ModelBusy, match="cut off"):
        decode(*events[:cut])


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("overloaded_error", "Overloaded", ModelBusy),
        ("rate_limit_error", "slow down", ModelBusy),
        ("api_error", "Internal server error", ModelBusy),
        ("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", ContextOverflow),
        ("authentication_error", "invalid x-api-key", ModelRefused),
    ],
)
def test_an_error_event_in_the_stream_is_told_by_its_type(kind: str, message: str, expected: type) -> None:
    with pytest.raises(expected, match=message[:8]) as caught:
        decode({"type": "error", "error": {"type": kind, "message": message}})
    assert type(caught.value) is expected


def test_arguments_that_are_no_object_stay_raw() -> None:
    events = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "[1"}},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    last = decode(*events)[-1]
    assert isinstance(last, Finished)
    assert last.turn.calls == (ToolCall("t", "x", None, "[1"),) and last.stop == "length"


def test_unknown_events_blocks_and_thinking_are_skipped() -> None:
    thinking = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hmm"}}
    events = anthropic_events("c", "yes", [], (1, 1))
    events.insert(2, b'data: {"type": "brand_new"}\n\n')
    last = decode(thinking, *events)[-1]
    assert isinstance(last, Finished) and last.turn.text == "yes"


def test_a_refusal_without_a_word_is_an_error_and_with_words_an_answer() -> None:
    stop = {"type": "message_delta", "delta": {"stop_reason": "refusal"}}
    with pytest.raises(ModelRefused, match="declined"):
        decode(stop, {"type": "message_stop"})
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "I would rather not."}}
    assert len(decode(text, stop, {"type": "message_stop"})) == 2


def test_cached_tokens_are_counted_apart() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1}
    last = decode({"type": "message_start", "message": {"usage": usage}}, {"type": "message_stop"})[-1]
    assert isinstance(last, Finished) and last.usage == Usage(3, 1, 100, 20)


@pytest.mark.parametrize("data", ["{", "[]", "null", '"x"', "[" * 5000])
def test_a_damaged_event_is_busy(data: str) -> None:
    with pytest.raises(ModelBusy, match="damaged"):
        AnthropicDecoder().feed(Event("", data))
