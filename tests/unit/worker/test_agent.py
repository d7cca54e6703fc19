"""Every step is on disk before the outside hears of it; a crash anywhere leads back to the same place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.config import ToolList
from tests.unit.worker.worker_parts import KEY, agent, message, sessions, settings
from worker.agent import INTERRUPTED, Job
from worker.llm.base import AssistantTurn, ModelBusy, ModelRefused, Request, ToolTurn, UserTurn
from worker.llm.scripted import Answer, Fail, Say, ScriptedModel, Use, Wait
from worker.sessions.entries import Ended, Mark, UserLine
from worker.sessions.transcript import Transcript
from worker.turn import REFUSED


class Listener:
    """A Voice that notes, and looks at the file at that very moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.said: list[tuple[int, str]] = []
        self.on_disk: list[bool] = []
        self.partials: list[str] = []
        self.doing: list[str] = []

    def say(self, inbound: str, seq: int, text: str) -> None:
        self.said.append((seq, text))
        self.on_disk.append(f'"say":{{"seq":{seq}' in self._path.read_text())

    def partial(self, inbound: str, seq: int, offset: int, text: str) -> None:
        self.partials.append(text)

    def activity(self, inbound: str, doing: str, label: str) -> None:
        self.doing.append(f"{doing} {label}".strip())


class Stage:
    """One session, one agent, a script."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.settings = settings(folder, **fields)
        self.folder = folder

    def transcript(self) -> Transcript:
        return sessions(self.settings).open(KEY, 1.0)

    def job(self, text: str = "hi", kind: str = "direct", id: str = "m1") -> Job:
        transcript = self.transcript()
        record = transcript.find(id) or transcript.begin(UserLine(text, 1.0, Mark(id)))
        return Job(transcript, record, message(text, kind))

    async def run(self, job: Job, model: ScriptedModel) -> tuple[Ended, Listener]:
        listener = Listener(job.transcript.path)
        ended = await agent(self.settings, model).run(job, listener)
        assert all(listener.on_disk)
        return ended, listener


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    yield Stage(tmp_path)


async def test_a_plain_answer_is_written_and_said(stage: Stage) -> None:
    job = stage.job()
    ended, heard = await stage.run(job, ScriptedModel([[Say("Hel"), Say("lo")]]))
    assert ended == Ended("answered")
    assert heard.said == [(0, "Hello")]
    assert heard.partials[0] == "Hel"
    assert job.record.done == ended
    assert heard.doing == ["model"]


async def test_a_wish_for_a_file_is_settled_once_and_said_the_same_after_a_crash(stage: Stage) -> None:
    ended, heard = await stage.run(stage.job(), ScriptedModel([[Say("Look:\nMEDIA:/etc/passwd")]]))
    text = "Look:\n[file not sent: only files in the outbox folder of the workspace can be]"
    assert (ended.outcome, heard.said) == ("answered", [(0, text)])
    again = await stage.run(stage.job(), ScriptedModel([]))
    assert again[1].said == heard.said


async def test_the_model_sees_the_conversation_the_prompt_and_the_tools(stage: Stage) -> None:
    model = ScriptedModel([[Say("one")], [Say("two")]])
    await stage.run(stage.job("first"), model)
    await stage.run(stage.job("second", id="m2"), model)
    request = model.requests[1]
    assert request.turns == (UserTurn("first"), AssistantTurn("one"), UserTurn("second"))
    assert [tool.name for tool in request.tools] == ["read", "write", "edit", "exec"]
    assert "## Workspace" in request.system


async def test_a_tool_round_is_run_and_shown_to_the_model(stage: Stage) -> None:
    model = ScriptedModel([[Say("wait"), Use("write", {"path": "a", "content": "x"})], [Say("done")]])
    ended, heard = await stage.run(stage.job(), model)
    assert ended.outcome == "answered"
    assert heard.said == [(0, "wait"), (1, "done")]
    assert heard.doing == ["model", "tool write: a", "model"]
    assert isinstance(model.requests[1].turns[-1], ToolTurn)
    assert (stage.folder / "ws/a").read_text() == "x"


async def test_the_next_model_is_asked_when_one_refuses(tmp_path: Path) -> None:
    stage = Stage(tmp_path, model="a/one", fallbacks=("b/two",))
    model = ScriptedModel([[Fail(ModelRefused("no key"))], [Say("hi")]])
    ended, _ = await stage.run(stage.job(), model)
    assert ended.outcome == "answered"
    assert [request.model for request in model.requests] == ["a/one", "b/two"]


async def test_a_refused_turn_ends_with_a_warning_that_holds_no_detail(stage: Stage) -> None:
    ended, heard = await stage.run(stage.job(), ScriptedModel([[Fail(ModelRefused("key sk-123 is bad"))]]))
    assert ended == Ended("failed", "key sk-123 is bad")
    assert heard.said == [(0, REFUSED)]


async def test_a_busy_model_is_asked_again(stage: Stage) -> None:
    model = ScriptedModel([[Fail(ModelBusy("busy", retry_after=0.001))], [Say("hi")]])
    ended, _ = await stage.run(stage.job(), model)
    assert ended.outcome == "answered"


async def test_a_stuck_model_ends_with_the_turns_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, turn_timeout=0.05)
    ended, heard = await stage.run(stage.job(), ScriptedModel([[Say("x"), Wait(asyncio.Event())]]))
    assert ended == Ended("failed", "the turn timed out")
    assert heard.said[0][1].startswith("⚠️ This took longer than")


async def test_a_stuck_tool_ends_with_the_turns_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, turn_timeout=0.3)
    ended, _ = await stage.run(stage.job(), ScriptedModel([[Use("exec", {"command": "sleep 1000"})]]))
    assert ended == Ended("failed", "the turn timed out")


async def test_a_cancelled_turn_is_written_down(stage: Stage) -> None:
    job = stage.job()
    asked = asyncio.Event()

    def script(_: Request) -> Answer:
        asked.set()
        return [Wait(asyncio.Event())]

    task = asyncio.ensure_future(stage.run(job, ScriptedModel(script)))
    await asked.wait()
    job.cancelled = True
    task.cancel()
    ended, heard = await task
    assert ended == Ended("cancelled") == stage.transcript().records[0].done
    assert heard.said == []


async def test_a_turn_cancelled_while_it_waited_never_asks_the_model(stage: Stage) -> None:
    job, model = stage.job(), ScriptedModel([])
    job.cancelled = True
    assert (await stage.run(job, model))[0] == Ended("cancelled")
    assert model.requests == []


async def test_the_workers_end_leaves_the_turn_open(stage: Stage) -> None:
    job = stage.job()
    task = asyncio.ensure_future(stage.run(job, ScriptedModel([[Wait(asyncio.Event())]])))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert job.record.done is None


async def test_an_allow_list_without_tools_fails_before_the_model_is_asked(tmp_path: Path) -> None:
    stage = Stage(tmp_path, tool_layers=(ToolList(allow=("message",)),))
    model = ScriptedModel([])
    ended, heard = await stage.run(stage.job(), model)
    assert ended.outcome == "failed"
    assert heard.said[0][1].endswith("the allow list is: message.")
    assert model.requests == []


async def test_our_own_mistake_is_an_apology_and_not_a_crash(stage: Stage) -> None:
    def script(_: Request) -> Answer:
        raise KeyError("detail")

    ended, heard = await stage.run(stage.job(), ScriptedModel(script))
    assert ended == Ended("failed", "KeyError in the worker, see its log")
    assert "KeyError" not in heard.said[0][1]


async def test_a_group_message_is_shown_with_its_sender(stage: Stage) -> None:
    transcript = stage.transcript()
    record = transcript.begin(UserLine("hello", 1.0, Mark("m1", context='{"sender":{"id":"7"}}')))
    model = ScriptedModel([[Say("hi")]])
    await stage.run(Job(transcript, record, message("hello", "group")), model)
    assert model.requests[0].turns == (UserTurn('<message_info>{"sender":{"id":"7"}}</message_info>\nhello'),)


# --- crashes ------------------------------------------------------------------------------------------------------


def script_of_three(request: Request) -> Answer:
    """Two tool rounds, then an answer: what comes depends on the conversation only, as with a real model."""
    results = sum(isinstance(turn, ToolTurn) for turn in request.turns)
    append = {"command": f"echo {results} >> log"}
    if results < 3:
        second = [Use("exec", {"command": "echo 1 >> log"}, "c1")] if results == 0 else []
        return [Say(f"round {results}"), Use("exec", append, f"c{results}"), *second]
    return [Say("finished")]


async def test_a_turn_cut_after_any_line_goes_on_from_there(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Stage(tmp_path / "whole")
    job = whole.job()
    _, reference = await whole.run(job, ScriptedModel(script_of_three))
    lines = job.transcript.path.read_bytes().splitlines(keepends=True)
    assert (whole.folder / "ws/log").read_text() == "0\n1\n2\n"
    for cut in range(2, len(lines)):
        folder = tmp_path / f"cut{cut}"
        (folder / "sessions").mkdir(parents=True)
        (folder / "sessions" / job.transcript.path.name).write_bytes(b"".join(lines[:cut]))
        stage = Stage(folder)
        resumed = stage.job()
        before = len(resumed.record.items)
        ended, heard = await stage.run(resumed, ScriptedModel(script_of_three))
        assert ended.outcome == "answered"
        assert heard.said == reference.said
        assert len(resumed.record.items) == 6
        assert [one.inbound for one in resumed.transcript.records] == ["m1"]
        first_new = resumed.record.items[before]
        was_started = b'"starts"' in lines[cut - 1]
        assert (isinstance(first_new, ToolTurn) and INTERRUPTED in first_new.text) == was_started


async def test_a_tool_that_had_begun_is_not_run_again(stage: Stage) -> None:
    job = stage.job()
    task = asyncio.ensure_future(
        stage.run(job, ScriptedModel([[Use("exec", {"command": "echo x >> log; touch began; sleep 1000"})]]))
    )
    async with asyncio.timeout(5):
        while not (stage.folder / "ws/began").exists():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ended, heard = await stage.run(stage.job(), ScriptedModel([[Say("I do not know whether it worked")]]))
    assert ended.outcome == "answered"
    assert (stage.folder / "ws/log").read_text() == "x\n"
    assert heard.doing == ["model"]
