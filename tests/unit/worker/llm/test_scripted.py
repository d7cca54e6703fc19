"""The scripted model does what the script says, and fails loudly when it is over."""

from __future__ import annotations

import asyncio

import pytest

from worker.llm.base import Finished, ModelBusy, ModelRefused, Request, TextDelta, ToolCall, UserTurn
from worker.llm.scripted import Fail, Say, ScriptedModel, Use, Wait

REQUEST = Request("m", "", (UserTurn("hi"),))


async def test_text_calls_and_end_come_in_order() -> None:
    model = ScriptedModel([[Say("a"), Say("b"), Use("exec", {"x": 1})]])
    events = [event async for event in model.stream(REQUEST)]
    assert events[:2] == [TextDelta("a"), TextDelta("b")]
    last = events[-1]
    assert isinstance(last, Finished) and last.turn.calls == (ToolCall("scripted_1_0", "exec", {"x": 1}),)
    assert model.requests == [REQUEST]


async def test_an_error_comes_where_the_script_has_it_and_the_end_of_the_script_refuses() -> None:
    model = ScriptedModel([[Say("a"), Fail(ModelBusy("later", retry_after=2))]])
    with pytest.raises(ModelBusy, match="later"):
        _ = [event async for event in model.stream(REQUEST)]
    with pytest.raises(ModelRefused, match="no further answer"):
        _ = [event async for event in model.stream(REQUEST)]


async def test_a_wait_holds_the_stream_until_the_event() -> None:
    gate = asyncio.Event()
    stream = ScriptedModel(lambda request: [Say("a"), Wait(gate), Say("b")]).stream(REQUEST)
    assert await anext(stream) == TextDelta("a")
    gate.set()
    assert await anext(stream) == TextDelta("b")
