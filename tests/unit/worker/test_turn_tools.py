"""What a turn is offered and may run: the agent's tools, less what its group and sender take away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m
from protocol.config import ToolList
from protocol.messages import Grant
from tests.unit.worker.test_service import FakeLink
from tests.unit.worker.worker_parts import KEY, agent, message, sessions, settings
from worker.calls import Calls
from worker.llm.scripted import Say, ScriptedModel, Use
from worker.service import Service

ALL = ["read", "write", "edit", "exec"]
ASKING = ["sessions_list", "sessions_history", "session_status", "agents_list", "sessions_send", "message"]


class Rig:
    """A service whose tools may ask the router."""

    def __init__(self, folder: Path, script: Any, **fields: Any) -> None:
        self.link, self.model, calls = FakeLink(), ScriptedModel(script), Calls()
        told = settings(folder, **fields)
        self.service = Service(told, 7, agent(told, self.model, calls), sessions(told), calls)
        self.task = asyncio.ensure_future(self.service.run(self.link.connect))

    def deliver(self, id: str, grant: Grant | None = None, key: str = KEY) -> None:
        self.link.say(m.Deliver(id=id, session_key=key, message=message("hi"), grant=grant or Grant()))

    def offered(self) -> list[str]:
        return [tool.name for tool in self.model.requests[-1].tools]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    rigs: list[Rig] = []

    async def make(script: Any, **fields: Any) -> Rig:
        rigs.append(Rig(tmp_path, script, **fields))
        await asyncio.sleep(0)
        rigs[-1].link.rise()
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.task.cancel()
        await asyncio.gather(rig.task, return_exceptions=True)


async def test_each_turn_is_offered_what_is_left_for_it(start: Any) -> None:
    rig = await start([[Say("one")], [Say("two")]])
    rig.deliver("m1")
    await rig.link.heard(m.Say)
    assert rig.offered() == [*ALL, *ASKING]
    rig.deliver("m2", Grant(layers=(ToolList(deny=("exec", "group:sessions")),)), "agent:main:x")
    await rig.link.heard(m.Say, 2)
    assert rig.offered() == ["read", "write", "edit", "agents_list", "message"]


async def test_a_tool_that_the_group_denies_is_not_run(start: Any, tmp_path: Path) -> None:
    rig = await start([[Use("exec", {"command": f"touch {tmp_path}/x"})], [Say("ok")]])
    rig.deliver("m1", Grant(layers=(ToolList(deny=("exec",)),)))
    await rig.link.heard(m.Say)
    assert not (tmp_path / "x").exists()
    assert "Tool exec not found" in str(rig.model.requests[-1].turns)


async def test_a_list_that_leaves_nothing_stops_the_turn_and_says_which(start: Any) -> None:
    rig = await start([[Say("never")]])
    rig.deliver("m1", Grant(layers=(ToolList(allow=("browser",)),)))
    said = (await rig.link.heard(m.Say))[0]
    assert said.text == "⚠️ no callable tools remain after the tool policy; the allow list is: browser."
    assert rig.model.requests == []


async def test_a_request_goes_out_in_the_name_of_its_message_and_its_answer_comes_in(start: Any) -> None:
    rig = await start([[Use("session_status", {})], [Say("ok")]])
    rig.deliver("m1")
    (question,) = await rig.link.heard(m.Request)
    assert (question.turn, question.tool) == ("m1", "session_status")
    rig.link.fall()
    rig.link.rise()
    assert (await rig.link.heard(m.Request, 2))[1] == question
    rig.link.say(m.Response(request=question.request, ok=True, text="all well"))
    await rig.link.heard(m.Say)
    assert "all well" in str(rig.model.requests[-1].turns)


async def test_a_probe_is_answered_with_one_finding_for_each_target(start: Any) -> None:
    rig = await start([])
    rig.link.say(m.Probe(request=5, targets=(m.ProbeTarget(what="nobody knows this"),)))
    rig.link.say(m.Probe(request=6, targets=()))
    probed = await rig.link.heard(m.Probed, 2)
    assert [(one.request, len(one.findings)) for one in probed] == [(6, 0), (5, 1)]
