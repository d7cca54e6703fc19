"""What the agent loop knows of a model: a conversation goes in, a stream of events comes out.

Vendor wire formats live beside this file, one each. Nothing here opens a socket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from protocol.errors import Permanent, Temporary


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as offered to the model; `parameters` is a JSON schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    """The model asks for a tool. `arguments` is the decoded object, or None when it was not valid JSON (`raw` then)."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    raw: str = ""


class UserTurn(msgspec.Struct, frozen=True, tag="user"):
    """What a person wrote."""

    text: str


class AssistantTurn(msgspec.Struct, frozen=True, tag="assistant"):
    """What the model said and asked for in one answer."""

    text: str
    calls: tuple[ToolCall, ...] = ()


class ToolTurn(msgspec.Struct, frozen=True, tag="tool"):
    """The result of one tool call."""

    call_id: str
    name: str
    text: str
    is_error: bool = False


Turn = UserTurn | AssistantTurn | ToolTurn


class Request(msgspec.Struct, frozen=True):
    """One question to a model. `model` is the vendor's own id, without the provider in front."""

    model: str
    system: str
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 8192


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the vendor counted them; zero where it did not say."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of the answer's text, to be shown at once."""

    text: str


class Finished(msgspec.Struct, frozen=True):
    """The answer is complete: whole text, tool calls in order, why it ended (`end`, `tools`, `length`) and usage."""

    turn: AssistantTurn
    stop: str
    usage: Usage


ModelEvent = TextDelta | Finished


class ModelBusy(Temporary):
    """Rate limit, overload, timeout or a cut stream: the same request may succeed later."""


class ModelRefused(Permanent):
    """The vendor rejects key, model or request; `reason` never holds a key."""


class ContextOverflow(ModelRefused):
    """The conversation is longer than the model's window."""


class Model(Protocol):
    """A model that can be asked. `stream` yields any number of TextDelta and ends with exactly one Finished."""

    def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Raises ModelBusy or ModelRefused; closing the iterator cancels the request upstream."""
