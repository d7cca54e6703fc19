"""What a worker asks of the router: once, again after a reconnection, and not more than it may."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from protocol import messages as m
from worker.calls import MAX_ARGUMENTS, MAX_OPEN, Calls
from worker.llm.base import ToolCall
from worker.tools.base import Context, ToolError
from worker.tools.message import message_tool
from worker.tools.registry import Toolbox
from worker.tools.sessions import session_tools


class Line:
    """Takes questions while `up`, and notes them."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.up = True
        self.asked: list[Any] = []
        self.retries = 0
        self.calls.attach(self._take, self._retry)
        self.calls.welcomed("one")

    def _take(self, question: Any) -> bool:
        if self.up:
            self.asked.append(question)
        return self.up

    def _retry(self) -> None:
        self.retries += 1

    async def start(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        return task


@pytest.fixture
def line() -> Line:
    return Line()


async def test_a_request_carries_its_turn_and_gets_its_answer(line: Line) -> None:
    asked = await line.start(line.calls.request("m1", "sessions_list", {"limit": 2}))
    assert line.asked == [m.Request(request=1, turn="m1", tool="sessions_list", arguments='{"limit":2}')]
    line.calls.answered(m.Response(request=2, ok=True, text="somebody else's"))
    line.calls.answered(m.Response(request=1, ok=True, text="here"))
    assert (await asked).text == "here"
    assert repr(line.calls) == "Calls(0 open)"


async def test_what_has_no_answer_is_asked_again_after_a_reconnection(line: Line) -> None:
    asked = await line.start(line.calls.request("m1", "sessions_list", {}))
    line.calls.welcomed("two")
    assert line.asked[0] == line.asked[1]
    line.calls.answered(m.Response(request=1, ok=False, text="no"))
    assert not (await asked).ok
    line.calls.answered(m.Response(request=1, ok=True, text="twice"))


async def test_what_the_link_does_not_take_is_offered_later(line: Line) -> None:
    line.up = False
    asked = await line.start(line.calls.request("m1", "sessions_list", {}))
    assert line.asked == [] and line.retries == 1
    line.up = True
    line.calls.offer()
    line.calls.answered(m.Response(request=1, ok=True, text="late"))
    assert (await asked).text == "late"


async def test_a_command_outside_of_the_sandbox_is_not_asked_of_a_new_router(line: Line) -> None:
    asked = await line.start(line.calls.elevate("m1", "rm x", "/", 5.0))
    line.calls.welcomed("one")
    assert len(line.asked) == 2  # the same router knows it by its number
    line.calls.welcomed("two")
    with pytest.raises(ToolError, match="its outcome is unknown"):
        await asked
    assert len(line.asked) == 2


async def test_a_command_that_no_router_heard_of_is_asked_of_the_first(line: Line) -> None:
    line.up = False
    asked = await line.start(line.calls.elevate("m1", "ls", "/", 5.0))
    line.up = True
    line.calls.welcomed("two")
    assert len(line.asked) == 1
    line.calls.answered(m.Response(request=1, ok=True, text="done"))
    assert (await asked).text == "done"


async def test_nobody_waits_for_ever(line: Line) -> None:
    with pytest.raises(ToolError, match="the router did not answer within"):
        await line.calls.request("m1", "sessions_list", {}, timeout=0.01)
    assert await line.calls.approval("m1", "ls", "/", timeout=0.01) == "expired"


async def test_an_approval_is_decided(line: Line) -> None:
    asked = await line.start(line.calls.approval("m1", "ls", "/"))
    line.calls.answered(m.ApprovalDecided(request=1, decision="allow-always"))
    assert await asked == "allow-always"


async def test_an_answer_of_the_wrong_kind_is_none(line: Line) -> None:
    asked = await line.start(line.calls.approval("m1", "ls", "/"))
    line.calls.answered(m.Response(request=1, ok=True, text="allow-once"))
    with pytest.raises(ToolError, match="answered with Response"):
        await asked


async def test_open_requests_and_their_length_are_bounded(line: Line) -> None:
    tasks = [await line.start(line.calls.request("m1", "x", {})) for _ in range(MAX_OPEN)]
    with pytest.raises(ToolError, match="already wait"):
        await line.calls.request("m1", "x", {})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert repr(line.calls) == "Calls(0 open)"
    with pytest.raises(ToolError, match="longer than"):
        await line.calls.request("m1", "x", {"text": "x" * MAX_ARGUMENTS})


async def test_the_tools_only_pass_on_what_the_model_wrote(line: Line) -> None:
    tools = (*session_tools(line.calls), message_tool(line.calls))
    box = Toolbox({tool.spec.name: tool for tool in tools})
    given = {"agentId": "b", "message": "hi", "timeoutSeconds": "soon", "more": [1]}
    asked = await line.start(box.run(ToolCall("1", "sessions_send", given), Context("m1", "agent:a:main")))
    (question,) = line.asked
    assert (question.turn, question.tool, msgspec.json.decode(question.arguments)) == ("m1", "sessions_send", given)
    line.calls.answered(m.Response(request=1, ok=False, text='{"status":"forbidden"}'))
    result = await asked
    assert result.is_error and result.text == '{"status":"forbidden"}'
    assert repr(tools[0]) == "AskingTool(sessions_list)"
