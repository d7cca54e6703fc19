"""One request of a worker that may be done: in whose name, from where, and how it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from protocol import messages as m
from protocol.sandbox import Seat
from router.calls.limits import Answer
from router.spool.base import InboxRow

Question = m.Request | m.ApprovalWanted | m.Elevate


class Call(NamedTuple):
    """`row` is the message in whose name it is asked, `granted` what its sender may have done."""

    seat: Seat
    generation: int
    row: InboxRow
    granted: m.Grant
    question: Question

    @property
    def key(self) -> str:
        """Names this request for ever: the same over reconnections and over lives of the router."""
        return f"{self.row.id}.{self.generation}.{self.question.request}"


#: Does what a call asks for.
Perform = Callable[[Call], Awaitable[Answer]]


class Refused(Exception):
    """It is not done; `status` and the text are for the model."""

    def __init__(self, error: str, status: str = "forbidden") -> None:
        super().__init__(error)
        self.status = status


def result(**fields: Any) -> str:
    """A result as the model sees it (SPEC 5.5): a JSON object, without what is not set."""
    return pretty({name: value for name, value in fields.items() if value is not None})


def pretty(value: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def refusal(question: Question, error: str, status: str = "error") -> Answer:
    """The answer to what is not done."""
    if isinstance(question, m.ApprovalWanted):
        return m.ApprovalDecided(request=question.request, decision="deny")
    tool = question.tool[:64] if isinstance(question, m.Request) else "exec"
    return m.Response(request=question.request, ok=False, text=result(status=status, tool=tool, error=error))


def done(call: Call, text: str) -> Answer:
    """The answer to what was done."""
    return m.Response(request=call.question.request, ok=True, text=text)


def text_of(call: Call) -> str:
    """The arguments of a tool, as the model wrote them."""
    assert isinstance(call.question, m.Request)
    return call.question.arguments
