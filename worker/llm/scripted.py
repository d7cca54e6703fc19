"""A model that follows a script: for tests, benchmarks and rehearsals without any vendor.

One `Answer` per request, in order; each is a list of steps. It is held to the same contract tests as the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from worker.llm.base import (
    AssistantTurn,
    Finished,
    ModelBusy,
    ModelEvent,
    ModelRefused,
    Request,
    TextDelta,
    ToolCall,
    Usage,
)


class Say(msgspec.Struct, frozen=True):
    """A piece of text, streamed at once."""

    text: str


class Use(msgspec.Struct, frozen=True):
    """Ask for a tool; without an id, one is made from the place in the conversation."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


class Fail(msgspec.Struct, frozen=True):
    """Raise this error here."""

    error: ModelBusy | ModelRefused


class Wait(msgspec.Struct, frozen=True):
    """Go on when the event is set."""

    event: asyncio.Event


Step = Say | Use | Fail | Wait
Answer = Sequence[Step]


class ScriptedModel:
    """`base.Model` from a list of answers, or from a function of the request. `requests` holds what was asked.

    A script that is over refuses, so that a test with one question too many fails loudly.
    """

    def __init__(self, script: Iterable[Answer] | Callable[[Request], Answer]) -> None:
        self._next = script if callable(script) else _from_list(list(script))
        self.requests: list[Request] = []

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Raises what the script says."""
        self.requests.append(request)
        text: list[str] = []
        calls: list[ToolCall] = []
        for step in self._next(request):
            match step:
                case Say():
                    text.append(step.text)
                    yield TextDelta(step.text)
                case Use():
                    call_id = step.id or f"scripted_{len(request.turns)}_{len(calls)}"
                    calls.append(ToolCall(call_id, step.name, step.arguments))
                case Fail():
                    raise step.error
                case Wait():
                    await step.event.wait()
        turn = AssistantTurn("".join(text), tuple(calls))
        yield Finished(turn, "tools" if calls else "end", Usage(input=len(request.turns), output=len(text)))


def _from_list(answers: list[Answer]) -> Callable[[Request], Answer]:
    def take(request: Request) -> Answer:
        if not answers:
            return [Fail(ModelRefused("the script has no further answer"))]
        return answers.pop(0)

    return take
