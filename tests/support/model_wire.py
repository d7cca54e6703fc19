"""How the fake model servers put an answer on the wire, in both vendors' formats."""

from __future__ import annotations

import json
from typing import Any

JSON = "application/json"


def _pieces(text: str) -> list[str]:
    """At most four pieces, cut anywhere, as tokens are."""
    size = max(len(text) // 4 + 1, 1)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _event(body: dict[str, Any]) -> bytes:
    return f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()


def anthropic_events(model: str, text: str, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> list[bytes]:
    """The events of one streamed answer."""
    message = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": usage[0], "output_tokens": 1},
    }
    out = [_event({"type": "message_start", "message": message}), _event({"type": "ping"})]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if text:
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(text)]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for call_id, name, arguments in calls:
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(json.dumps(arguments))]
        blocks.append(({"type": "tool_use", "id": call_id, "name": name, "input": {}}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        out.append(_event({"type": "content_block_start", "index": index, "content_block": block}))
        out += [_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
        out.append(_event({"type": "content_block_stop", "index": index}))
    stop = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    out.append(_event({"type": "message_delta", "delta": stop, "usage": {"output_tokens": usage[1]}}))
    out.append(_event({"type": "message_stop"}))
    return out


def anthropic_whole(model: str, text: str, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> bytes:
    """The same answer, not streamed."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [{"type": "tool_use", "id": one, "name": name, "input": given} for one, name, given in calls]
    return json.dumps(
        {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": usage[0], "output_tokens": usage[1]},
        }
    ).encode()


def _chunk(model: str, choices: list[dict[str, Any]], **more: Any) -> bytes:
    body = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}
    return f"data: {json.dumps({**body, **more})}\n\n".encode()


def openai_events(
    model: str, text: str, calls: list[tuple[str, str, Any]], usage: tuple[int, int], with_usage: bool
) -> list[bytes]:
    """The chunks of one streamed answer, `[DONE]` included."""

    def delta(given: dict[str, Any], reason: str | None = None) -> bytes:
        return _chunk(model, [{"index": 0, "delta": given, "finish_reason": reason, "logprobs": None}])

    out = [delta({"role": "assistant", "content": "", "refusal": None})]
    out += [delta({"content": piece}) for piece in _pieces(text)]
    for index, (call_id, name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        out.append(delta({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}))
        for piece in _pieces(json.dumps(arguments)):
            out.append(delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    out.append(delta({}, "tool_calls" if calls else "stop"))
    if with_usage:
        out.append(_chunk(model, [], usage=_usage(usage)))
    out.append(b"data: [DONE]\n\n")
    return out


def openai_whole(model: str, text: str, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> bytes:
    """The same answer, not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {"id": one, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for one, name, given in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None}
    return json.dumps(
        {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [choice],
            "usage": _usage(usage),
        }
    ).encode()


def _usage(usage: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def anthropic_error(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}).encode()


def openai_error(kind: str, message: str, code: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()
