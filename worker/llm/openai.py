"""OpenAI Chat Completions: request builder and stream decoder, for OpenAI and all who copy it. Pure.

Source: platform.openai.com, "Chat completions" (SPEC 5.9.5). Copies differ: no usage, a whole tool call in one delta
or without an index, `stop` as the reason although tools are asked for, no `[DONE]`. All of that is accepted; only an
answer without any sign of its end counts as cut off.
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
from worker.llm.history import tidy
from worker.llm.sse import Event

#: Newer OpenAI models refuse `max_tokens`; most copies do not know the newer name.
_NEW_LIMIT_NAME = frozenset({"openai"})
#: Answers 422 to `stream_options` and counts usage anyway (openai-agents-python issue 442).
_NO_STREAM_OPTIONS = frozenset({"mistral"})
#: More parallel calls than any model makes; a broken index must not fill the memory.
_MAX_CALLS = 128


class OpenAICodec:
    """`codec.Codec` for `openai-completions`."""

    def build(self, request: Request, provider: str) -> bytes:
        """The JSON body of POST /chat/completions, in the dialect of `provider`."""
        limit = "max_completion_tokens" if provider in _NEW_LIMIT_NAME else "max_tokens"
        body: dict[str, Any] = {
            "model": request.model,
            limit: request.max_tokens,
            "stream": True,
            "messages": _messages(request),
        }
        if provider not in _NO_STREAM_OPTIONS:
            body["stream_options"] = {"include_usage": True}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in request.tools
            ]
        return to_json(body)

    def decoder(self, request: Request) -> Decoder:
        # Calls without an id get one that differs from turn to turn and is the same when the turn is redone.
        return OpenAIDecoder(f"call_{len(request.turns)}_")


def _messages(request: Request) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": request.system}] if request.system.strip() else []
    return [*system, *(_message(turn) for turn in tidy(request.turns))]


def _message(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, ToolTurn):
        return {"role": "tool", "tool_call_id": turn.call_id, "content": turn.text}
    if not isinstance(turn, AssistantTurn):
        return {"role": "user", "content": turn.text}
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": to_json(arguments_of(call)).decode()},
            }
            for call in turn.calls
        ]
    return message


class OpenAIDecoder:
    """`codec.Decoder` for `openai-completions`. `id_prefix` names calls that came without an id."""

    def __init__(self, id_prefix: str = "call_") -> None:
        self._prefix = id_prefix
        self._text: list[str] = []
        self._drafts: list[CallDraft] = []
        self._open: dict[int, CallDraft] = {}
        self._usage = Usage()
        self._stop = ""
        self._finished = False
        self._tally = Tally()

    def feed(self, event: Event) -> list[ModelEvent]:
        if self._finished:
            return []
        if event.data.strip() == "[DONE]":
            return [self._finish()]
        body = from_json(event)
        if body.get("error"):
            raise from_stream(body["error"])
        self._count(body.get("usage"))
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return []
        return self._choice(choices[0])

    def end(self) -> list[ModelEvent]:
        if self._finished:
            return []
        if not self._stop:
            raise ModelBusy("the model's stream was cut off")
        return [self._finish()]

    def _choice(self, choice: dict[str, Any]) -> list[ModelEvent]:
        self._stop = str(choice.get("finish_reason") or self._stop)
        # A server that does not stream answers with `message` instead of `delta`; the fields are the same.
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return []
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict):
                self._add_call(call)
        return self._say(delta.get("content") or delta.get("refusal"))

    def _say(self, text: Any) -> list[ModelEvent]:
        if not isinstance(text, str) or not text:
            return []
        self._text.append(self._tally.add(text))
        return [TextDelta(text)]

    def _add_call(self, call: dict[str, Any]) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        name, arguments = str(function.get("name") or ""), function.get("arguments")
        draft = self._draft(call.get("index"), str(call.get("id") or ""), name)
        # Some local servers send the arguments as an object instead of as its text.
        text = arguments if isinstance(arguments, str) else to_json(arguments).decode() if arguments else ""
        draft.pieces.append(self._tally.add(text))

    def _draft(self, index: Any, call_id: str, name: str) -> CallDraft:
        """The call a delta belongs to. Without an index, a name starts a call and no name continues the last one.

        Some servers give every call the index 0: another id together with a name is another call.
        """
        place = index if isinstance(index, int) else len(self._drafts) if name else len(self._drafts) - 1
        draft = self._open.get(place)
        if draft is not None and not (name and call_id and call_id != draft.id):
            return draft
        if len(self._drafts) >= _MAX_CALLS:
            raise ModelRefused(f"the model asked for more than {_MAX_CALLS} tools at once")
        draft = self._open[place] = CallDraft(call_id or f"{self._prefix}{len(self._drafts)}", name)
        self._drafts.append(draft)
        return draft

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details")
        cached = _number(details.get("cached_tokens")) if isinstance(details, dict) else 0
        self._usage = Usage(
            max(_number(usage.get("prompt_tokens")) - cached, 0), _number(usage.get("completion_tokens")), cached
        )

    def _finish(self) -> Finished:
        self._finished = True
        text = "".join(self._text)
        calls = tuple(draft.finish() for draft in self._drafts)
        if self._stop == "content_filter" and not text and not calls:
            raise ModelRefused("the provider's content filter removed the answer (content_filter)")
        stop = "length" if self._stop == "length" else "tools" if calls else "end"
        return Finished(AssistantTurn(text, calls), stop, self._usage)


def _number(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
