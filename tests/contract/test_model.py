"""Every model keeps the same promises: scripted, offline, and both vendor formats through a real proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.proxy_rig import ECHO_TOOL, agent, rig
from worker.llm.base import (
    AssistantTurn,
    Finished,
    Model,
    ModelEvent,
    Request,
    TextDelta,
    ToolTurn,
    Turn,
    UserTurn,
)
from worker.llm.offline import OfflineModel
from worker.llm.scripted import Answer, Say, ScriptedModel, Use

Opened = Callable[[Path], AbstractAsyncContextManager[tuple[Model, str]]]


@asynccontextmanager
async def scripted(_: Path) -> AsyncIterator[tuple[Model, str]]:
    def follow(request: Request) -> Answer:
        last = request.turns[-1]
        if isinstance(last, ToolTurn):
            return [Say("tool said: "), Say(last.text)]
        return [Use("exec", {"command": "echo hi"})] if "echo hi" in last.text else [Say("echo: "), Say(last.text)]

    yield ScriptedModel(follow), ""


@asynccontextmanager
async def offline(_: Path) -> AsyncIterator[tuple[Model, str]]:
    yield OfflineModel("why", ("how",)), ""


def routed(model: str) -> Opened:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[tuple[Model, str]]:
        async with rig(folder, agent(folder, key="sk-own")) as found:
            yield found.model(), model

    return opened


OPENED: dict[str, Opened] = {
    "scripted": scripted,
    "offline": offline,
    "anthropic": routed("anthropic/claude-x"),
    "openai": routed("openai/gpt-5.5"),
}
#: What makes each model ask for `exec`.
WISHES = {"offline": "/run echo hi"}
DEFAULT_WISH = 'use tool exec {"command": "echo hi"}'

Ask = Callable[..., Awaitable[list[ModelEvent]]]


@pytest.fixture(params=OPENED)
async def ask(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ask]:
    async with OPENED[request.param](tmp_path) as (model, name):

        async def ask(*turns: Turn) -> list[ModelEvent]:
            asked = tuple(
                UserTurn(turn.text.replace(DEFAULT_WISH, WISHES.get(request.param, DEFAULT_WISH)))
                if isinstance(turn, UserTurn)
                else turn
                for turn in turns
            )
            return [event async for event in model.stream(Request(name, "Be brief.", asked, (ECHO_TOOL,)))]

        yield ask


async def test_an_answer_is_deltas_and_exactly_one_end_that_holds_them_all(ask: Ask) -> None:
    *deltas, last = await ask(UserTurn("hello there"))
    assert deltas and all(isinstance(event, TextDelta) and event.text for event in deltas)
    assert isinstance(last, Finished) and last.stop == "end" and not last.turn.calls
    assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == last.turn.text
    assert "hello there" in last.turn.text


async def test_a_tool_is_asked_for_and_its_result_is_told(ask: Ask) -> None:
    asked = (await ask(UserTurn(DEFAULT_WISH)))[-1]
    assert isinstance(asked, Finished) and asked.stop == "tools"
    (call,) = asked.turn.calls
    assert (call.name, call.arguments) == ("exec", {"command": "echo hi"}) and call.id
    turns = (UserTurn(DEFAULT_WISH), asked.turn, ToolTurn(call.id, call.name, "it was 42"))
    told = (await ask(*turns))[-1]
    assert isinstance(told, Finished) and told.stop == "end" and "it was 42" in told.turn.text


async def test_a_conversation_broken_by_a_crash_is_still_answered(ask: Ask) -> None:
    asked = (await ask(UserTurn(DEFAULT_WISH)))[-1]
    assert isinstance(asked, Finished)
    last = (await ask(AssistantTurn("lost"), UserTurn(""), asked.turn, UserTurn("are you there?")))[-1]
    assert isinstance(last, Finished) and "are you there?" in last.turn.text


async def test_questions_at_the_same_time_do_not_mix(ask: Ask) -> None:
    answers = await asyncio.gather(*(ask(UserTurn(f"question {number}!")) for number in range(20)))
    for number, events in enumerate(answers):
        assert isinstance(events[-1], Finished) and f"question {number}!" in events[-1].turn.text


async def test_the_same_question_gets_the_same_answer(ask: Ask) -> None:
    assert await ask(UserTurn("again")) == await ask(UserTurn("again"))
