"""Anthropic Messages: request builder and stream decoder. Pure.

Source: docs.anthropic.com, "Messages" and "Streaming messages", version 2023-06-01 (SPEC 5.9.5). Unknown events,
blocks and deltas are skipped: the vendor reserves the right to add some.
"""

from __future__ import annotations

from typing import Any

from worker.llm.base import (
    AssistantTurn,
    Finished,
    ModelBusy,
    ModelEvent,
    ModelRefused,
    Request,
    TextDelta,
    ToolTurn,
    Turn,
    Usage,
)
from worker.llm.codec import CallDraft, Decoder, Tally, arguments_of, from_json, to_json
from worker.llm.failures import from_stream
from worker.llm.history import as_text, tidy
from worker.llm.sse import Event

_CACHE = {"type": "ephemeral"}
_LENGTH_STOPS = frozenset({"max_tokens", "model_context_window_exceeded"})


class AnthropicCodec:
    """`codec.Codec` for `anthropic-messages`."""

    def build(self, request: Request, provider: str) -> bytes:
        """The JSON body of POST /v1/messages; the same for every provider that speaks this format."""
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_tokens,
            "stream": True,
            "messages": _messages(request),
        }
        if request.system.strip():
            body["system"] = [{"type": "text", "text": request.system, "cache_control": _CACHE}]
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in request.tools
            ]
        return to_json(body)

    def decoder(self, request: Request) -> Decoder:
        return AnthropicDecoder()


def _messages(request: Request) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in tidy(request.turns) if request.tools else as_text(tidy(request.turns)):
        role = "assistant" if isinstance(turn, AssistantTurn) else "user"
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": []})
        messages[-1]["content"].extend(_blocks(turn))
    # The system block caches tools and system text; this second mark lets each turn reuse the one before it.
    messages[-1]["content"][-1]["cache_control"] = _CACHE
    return messages


def _blocks(turn: Turn) -> list[dict[str, Any]]:
    if isinstance(turn, ToolTurn):
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": turn.call_id, "content": turn.text}
        return [{**block, "is_error": True} if turn.is_error else block]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
    if isinstance(turn, AssistantTurn):
        blocks += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)} for call in turn.calls
        ]
    return blocks


class AnthropicDecoder:
    """`codec.Decoder` for `anthropic-messages`."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._drafts: dict[int, CallDraft] = {}
        self._usage: dict[str, int] = {}
        self._stop = ""
        self._finished = False
        self._tally = Tally()

    def feed(self, event: Event) -> list[ModelEvent]:
        if self._finished:
            return []
        body = from_json(event)
        match body.get("type"):
            case "message_start":
                self._count(_object(body, "message"))
            case "content_block_start":
                return self._start(_index(body), _object(body, "content_block"))
            case "content_block_delta":
                return self._delta(_index(body), _object(body, "delta"))
            case "message_delta":
                self._count(body)
                self._stop = str(_object(body, "delta").get("stop_reason") or self._stop)
            case "message_stop":
                return [self._finish()]
            case "message":
                return self._whole(body)
            case "error":
                raise from_stream(body.get("error"))
        return []

    def end(self) -> list[ModelEvent]:
        if not self._finished:
            raise ModelBusy("the model's stream was cut off")
        return []

    def _start(self, index: int, block: dict[str, Any]) -> list[ModelEvent]:
        if block.get("type") == "text":
            return self._say(block.get("text"))
        if block.get("type") == "tool_use":
            self._drafts[index] = draft = CallDraft(str(block.get("id")), str(block.get("name")))
            if block.get("input"):
                draft.pieces.append(self._tally.add(to_json(block["input"]).decode()))
        return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[ModelEvent]:
        if delta.get("type") == "text_delta":
            return self._say(delta.get("text"))
        draft = self._drafts.get(index)
        if delta.get("type") == "input_json_delta" and draft is not None:
            draft.pieces.append(self._tally.add(str(delta.get("partial_json") or "")))
        return []

    def _say(self, text: Any) -> list[ModelEvent]:
        if not isinstance(text, str) or not text:
            return []
        self._text.append(self._tally.add(text))
        return [TextDelta(text)]

    def _count(self, holder: dict[str, Any]) -> None:
        """Counts are cumulative: the last one of each kind holds."""
        usage = _object(holder, "usage")
        self._usage.update({name: count for name, count in usage.items() if isinstance(count, int)})

    def _whole(self, message: dict[str, Any]) -> list[ModelEvent]:
        """An answer that was not streamed although we asked: the same blocks, all at once."""
        self._count(message)
        self._stop = str(message.get("stop_reason") or "")
        blocks = message.get("content")
        said = [
            event
            for index, block in enumerate(blocks if isinstance(blocks, list) else [])
            if isinstance(block, dict)
            for event in self._start(index, block)
        ]
        return [*said, self._finish()]

    def _finish(self) -> Finished:
        self._finished = True
        text = "".join(self._text)
        calls = tuple(draft.finish() for _, draft in sorted(self._drafts.items()))
        if self._stop == "refusal" and not text and not calls:
            raise ModelRefused("the model declined to answer (refusal)")
        stop = "length" if self._stop in _LENGTH_STOPS else "tools" if calls else "end"
        return Finished(AssistantTurn(text, calls), stop, self._counted())

    def _counted(self) -> Usage:
        names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        return Usage(*(self._usage.get(name, 0) for name in names))


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _index(body: dict[str, Any]) -> int:
    index = body.get("index")
    return index if isinstance(index, int) else 0
