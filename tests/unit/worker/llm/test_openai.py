"""OpenAI Chat Completions: what is sent, and what is made of what comes back, also from copies of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.model_wire import openai_events, openai_whole
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
from worker.llm.openai import OpenAICodec, OpenAIDecoder
from worker.llm.sse import Event, Parser

TOOL = ToolSpec("exec", "Run it.", {"type": "object", "properties": {}})
CALL = {"id": "c1", "type": "function", "function": {"name": "exec", "arguments": '{"command":"ls"}'}}


def build(request: Request, provider: str = "openai") -> Any:
    return msgspec.json.decode(OpenAICodec().build(request, provider))


def decode(*pieces: bytes | dict[str, Any] | str) -> list[ModelEvent]:
    decoder, parser = OpenAIDecoder("call_1_"), Parser()
    out: list[ModelEvent] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            events = parser.feed(piece)
        else:
            events = [Event("", piece if isinstance(piece, str) else msgspec.json.encode(piece).decode())]
        for event in events:
            out += decoder.feed(event)
    return [*out, *decoder.end()]


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def finish(*pieces: bytes | dict[str, Any] | str) -> Finished:
    last = decode(*pieces)[-1]
    assert isinstance(last, Finished)
    return last


def test_the_request_starts_with_the_system_message_and_pairs_calls_with_results() -> None:
    call = ToolCall("c1", "exec", {"command": "ls"})
    turns = (UserTurn("go"), AssistantTurn("", (call,)), ToolTurn("c1", "exec", "x"))
    body = build(Request("gpt-5.5", "Be kind.", turns, (TOOL,), max_tokens=99))
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    assert body["stream_options"] == {"include_usage": True}
    assert body["tools"][0]["function"]["name"] == "exec"


def test_each_vendor_gets_the_names_it_knows() -> None:
    request = Request("m", "", (UserTurn("hi"),), max_tokens=99)
    assert build(request, "openai")["max_completion_tokens"] == 99
    assert build(request, "ollama")["max_tokens"] == 99
    assert "stream_options" not in build(request, "mistral")


def test_arguments_that_were_not_json_are_sent_back_as_json() -> None:
    turns = (UserTurn("go"), AssistantTurn("", (ToolCall("c1", "exec", None, "{oops"),)), ToolTurn("c1", "exec", "bad"))
    sent = build(Request("m", "", turns))["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert msgspec.json.decode(sent) == {"invalid_json": "{oops"}


def test_a_stream_of_text_and_two_calls_is_put_together() -> None:
    calls = [("c1", "exec", {"command": "echo ü"}), ("c2", "read", {})]
    *deltas, last = decode(*openai_events("m", "Let me look.", calls, (7, 5), True))
    assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == "Let me look."
    wanted = (ToolCall("c1", "exec", {"command": "echo ü"}), ToolCall("c2", "read", {}))
    assert last == Finished(AssistantTurn("Let me look.", wanted), "tools", Usage(7, 5))


def test_an_answer_that_was_not_streamed_is_the_same_answer() -> None:
    calls = [("c1", "exec", {"command": "ls"})]
    whole = msgspec.json.decode(openai_whole("m", "Hm.", calls, (7, 5)))
    assert decode(whole)[-1] == decode(*openai_events("m", "Hm.", calls, (7, 5), True))[-1]


def test_usage_that_counts_cached_tokens_is_split() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 80}}
    assert finish(chunk({"content": "x"}, "stop"), {"choices": [], "usage": usage}).usage == Usage(20, 4, 80)


def test_a_missing_done_or_a_missing_reason_still_ends_the_answer() -> None:
    assert finish(chunk({"content": "x"}), chunk({}, "stop")).turn.text == "x"
    assert finish(chunk({"content": "x"}), "[DONE]").turn.text == "x"


def test_no_sign_of_an_end_is_a_cut_stream() -> None:
    with pytest.raises(ModelBusy, match="cut off"):
        decode(chunk({"content": "x"}))


def test_a_whole_call_in_one_delta_counts_whatever_the_reason_says() -> None:
    last = finish(chunk({"content": "", "tool_calls": [{"index": 0, **CALL}]}), chunk({}, "stop"), "[DONE]")
    assert last == Finished(AssistantTurn("", (ToolCall("c1", "exec", {"command": "ls"}),)), "tools", Usage())


def test_calls_that_all_have_index_zero_are_kept_apart() -> None:
    first, second = ({"index": 0, **CALL, "id": name} for name in ("c1", "c2"))
    last = finish(chunk({"tool_calls": [first]}), chunk({"tool_calls": [second]}), chunk({}, "tool_calls"))
    assert [call.id for call in last.turn.calls] == ["c1", "c2"]


def test_calls_without_index_and_id_get_ids_and_keep_their_pieces() -> None:
    def part(**function: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"function": function}]})

    pieces = part(name="exec", arguments='{"command"'), part(arguments=': "ls"}'), part(name="read", arguments="")
    last = finish(*pieces, chunk({}, "tool_calls"))
    assert last.turn.calls == (ToolCall("call_1_0", "exec", {"command": "ls"}), ToolCall("call_1_1", "read", {}))


def test_arguments_sent_as_an_object_are_taken() -> None:
    call = {"id": "c1", "function": {"name": "exec", "arguments": {"command": "ls"}}}
    assert finish(chunk({"tool_calls": [call]}, "stop")).turn.calls[0].arguments == {"command": "ls"}


def test_a_flood_of_calls_is_refused() -> None:
    many = [{"index": at, **CALL} for at in range(200)]
    with pytest.raises(ModelRefused, match="more than 128 tools"):
        decode(chunk({"tool_calls": many}))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "The server had an error", "type": "server_error"}, ModelBusy),
        ({"message": "upstream", "code": 502}, ModelBusy),
        ({"message": "slow", "code": "rate_limit_exceeded"}, ModelBusy),
        ({"message": "too long", "code": "context_length_exceeded"}, ContextOverflow),
        ({"message": "bad model"}, ModelRefused),
        ("bad model", ModelRefused),
    ],
)
def test_an_error_in_the_stream_is_told_by_its_type(error: Any, expected: type) -> None:
    with pytest.raises(expected) as caught:
        decode(chunk({"content": "x"}), {"error": error})
    assert type(caught.value) is expected


def test_length_and_content_filter_are_reported() -> None:
    assert finish(chunk({"content": "x"}, "length")).stop == "length"
    with pytest.raises(ModelRefused, match="content_filter"):
        decode(chunk({}, "content_filter"))


@pytest.mark.parametrize(
    "odd", [{"choices": None}, {"choices": [None]}, {"choices": [{"delta": 3}]}, {"usage": "x"}, {}]
)
def test_odd_chunks_are_skipped(odd: dict[str, Any]) -> None:
    assert finish(odd, chunk({"content": "x"}, "stop")).turn.text == "x"
