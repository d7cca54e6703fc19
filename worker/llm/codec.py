"""What the two vendor formats have in common. Pure."""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgspec

from worker.llm.base import ModelBusy, ModelEvent, ModelRefused, Request, ToolCall
from worker.llm.sse import Event

#: Largest answer we put together, in characters of text and tool arguments; far over any model's output limit.
MAX_ANSWER = 8 * 1024 * 1024


class Decoder(Protocol):
    """Stream events of one answer in, model events out; the last one is Finished."""

    def feed(self, event: Event) -> list[ModelEvent]:
        """Raises ModelBusy or ModelRefused when the event reports an error."""

    def end(self) -> list[ModelEvent]:
        """The stream is over: what is still to be said. Raises ModelBusy when it was cut off."""


class Codec(Protocol):
    """One vendor format."""

    def build(self, request: Request, provider: str) -> bytes:
        """The request body."""

    def decoder(self, request: Request) -> Decoder:
        """A fresh decoder for the answer to `request`."""


class Tally:
    """Counts what an answer has grown to; raises ModelRefused past the limit."""

    def __init__(self, limit: int = MAX_ANSWER) -> None:
        self._left = limit

    def add(self, text: str) -> str:
        self._left -= len(text)
        if self._left < 0:
            raise ModelRefused("the model's answer is larger than any model may send")
        return text


class CallDraft:
    """A tool call whose arguments are still arriving."""

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self.pieces: list[str] = []

    def finish(self) -> ToolCall:
        """No arguments at all mean the empty object; anything but an object stays raw for the tool loop to report."""
        raw = "".join(self.pieces)
        try:
            arguments = msgspec.json.decode(raw.encode("utf-8", "replace")) if raw.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            arguments = None
        if isinstance(arguments, dict):
            return ToolCall(self.id, self.name, arguments)
        return ToolCall(self.id, self.name, None, raw)


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments to show a vendor for an earlier call; they must be an object even when the model's were not."""
    return call.arguments if call.arguments is not None else {"invalid_json": call.raw}


def to_json(body: dict[str, Any]) -> bytes:
    """JSON bytes; half surrogates, which no JSON can carry, become question marks."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def from_json(event: Event) -> dict[str, Any]:
    """The object in an event's data; raises ModelBusy for anything else, as a damaged stream may be whole next time."""
    try:
        found = msgspec.json.decode(event.data.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        raise ModelBusy("the model sent a damaged stream") from None
    if not isinstance(found, dict):
        raise ModelBusy("the model sent a damaged stream")
    return found
