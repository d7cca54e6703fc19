"""What turns ask of the router: other sessions, messages, approvals, commands outside of the sandbox.

Every question has a number, is kept until its answer is there, and is asked again after each reconnection. The router
answers a number once; what it does in the outside it does under a key made from turn and number, so a question that is
asked twice is still done once, even by a router that was started anew. Only a command outside of the sandbox has no
such key: a new router is not asked for it again, and the model is told that nobody knows how it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from protocol import messages as m
from worker.tools.base import ToolError

#: Questions of one worker without an answer; the router refuses more than that, too.
MAX_OPEN = 32
#: Longest arguments of one request, in bytes of JSON.
MAX_ARGUMENTS = 200_000
#: Seconds for an answer that needs nobody's work but the router's.
ANSWER_TIMEOUT = 60.0
#: Seconds until an approval counts as expired, a little after the router lets it expire (SPEC 5.7: 30 minutes).
APPROVAL_TIMEOUT = 31 * 60.0

Question = m.Request | m.ApprovalWanted | m.Elevate
Answer = m.Response | m.ApprovalDecided
_A = TypeVar("_A", m.Response, m.ApprovalDecided)


class _Open:
    """One question on its way. `asked` is the life of the router that may have heard it."""

    def __init__(self, question: Question, answer: asyncio.Future[Answer]) -> None:
        self.question = question
        self.answer = answer
        self.asked = ""


class Calls:
    """The open questions of one worker."""

    def __init__(self) -> None:
        self._send: Callable[[Question], bool] = lambda question: False
        self._retry: Callable[[], None] = lambda: None
        self._open: dict[int, _Open] = {}
        self._number = 0
        self._life = ""

    def __repr__(self) -> str:
        return f"Calls({len(self._open)} open)"

    # --- for tools -----------------------------------------------------------------------------------------------

    async def request(
        self, turn: str, tool: str, arguments: dict[str, Any], timeout: float = ANSWER_TIMEOUT
    ) -> m.Response:
        """Have the router do this in the name of message `turn`. Raises ToolError when no answer comes in time."""
        text = msgspec.json.encode(arguments)
        if len(text) > MAX_ARGUMENTS:
            raise ToolError(f"the arguments are longer than {MAX_ARGUMENTS} bytes")
        question = m.Request(request=self._next(), turn=turn, tool=tool, arguments=text.decode())
        return await self._ask(question, m.Response, timeout)

    async def approval(self, turn: str, command: str, workdir: str, timeout: float = APPROVAL_TIMEOUT) -> m.Decision:
        """Whether this command may run; `expired` when nobody says so within `timeout` seconds."""
        question = m.ApprovalWanted(request=self._next(), turn=turn, command=command, workdir=workdir)
        try:
            answer = await self._ask(question, m.ApprovalDecided, timeout)
        except NoAnswer:
            return "expired"
        return answer.decision

    async def elevate(self, turn: str, command: str, workdir: str, timeout: float) -> m.Response:
        """Run this command outside of the sandbox, for at most `timeout` seconds. Raises ToolError."""
        question = m.Elevate(request=self._next(), turn=turn, command=command, workdir=workdir, timeout=timeout)
        return await self._ask(question, m.Response, timeout + ANSWER_TIMEOUT)

    # --- for the service -----------------------------------------------------------------------------------------

    def attach(self, send: Callable[[Question], bool], retry: Callable[[], None]) -> None:
        """Ask through this. `send` says whether the link took it; if not, `retry` is called, and `offer` is due."""
        self._send = send
        self._retry = retry

    def welcomed(self, life: str) -> None:
        """The router is there, perhaps a new one: ask again what is open."""
        self._life = life
        for one in list(self._open.values()):
            if isinstance(one.question, m.Elevate) and one.asked not in ("", life):
                _fail(one, "the router was restarted while this command ran; its outcome is unknown")
        self.offer()

    def offer(self) -> None:
        """Send everything that has no answer yet."""
        for one in list(self._open.values()):
            self._say(one)

    def answered(self, answer: Answer) -> None:
        """The router said something; an answer that nobody waits for any more is dropped."""
        one = self._open.get(answer.request)
        if one is not None and not one.answer.done():
            one.answer.set_result(answer)

    async def _ask(self, question: Question, kind: type[_A], timeout: float) -> _A:
        if len(self._open) >= MAX_OPEN:
            raise ToolError(f"{MAX_OPEN} requests of this agent already wait for an answer; try again later")
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        one = _Open(question, waiting)
        self._open[question.request] = one
        try:
            self._say(one)
            async with asyncio.timeout(timeout):
                answer = await waiting
        except TimeoutError:
            raise NoAnswer(f"the router did not answer within {timeout:g} seconds") from None
        finally:
            del self._open[question.request]
        if not isinstance(answer, kind):
            raise ToolError(f"the router answered with {type(answer).__name__}")
        return answer

    def _say(self, one: _Open) -> None:
        if one.answer.done():
            return
        if self._send(one.question):
            one.asked = self._life
        else:
            self._retry()

    def _next(self) -> int:
        self._number += 1
        return self._number


class NoAnswer(ToolError):
    """Nobody answered in time."""


def _fail(one: _Open, reason: str) -> None:
    if not one.answer.done():
        one.answer.set_exception(ToolError(reason))
