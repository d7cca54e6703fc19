"""Seats, workers on demand and replacing, with imagined workers and a router that only listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m
from protocol.config import Sandbox
from protocol.sandbox import HOST, Seat, slug
from protocol.tasks import Tasks
from supervisor.child import Office
from supervisor.children import settings
from supervisor.fleet import EAGER, SESSIONS_AT_ONCE, Fleet
from supervisor.life import Exit, State
from supervisor.logs import Journal, LogFile
from supervisor.records import Records
from supervisor.spawners.fake import FakeSpawner, FakeWorker, Scene
from supervisor.workerplan import AgentPlan
from tests.support.plans import agent_of, plan_of


class Stage:
    """A fleet on a scene. The router's part is played here: workers are ready at once, and end when told to drain."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene()
        self.told: list[Any] = []
        self.ready = True
        tasks = Tasks(self._crashed)
        self.journal = Journal(LogFile(folder / "x.log"), level="debug")
        office = Office(self.journal, Records(folder, self._crashed), tasks, lambda: 0.0)
        self.fleet = Fleet(office, FakeSpawner(self.scene), self._tell, lambda plan: settings("worker", 30))
        self._tasks = tasks

    def _crashed(self, *what: object) -> None:
        raise AssertionError(what)

    def _tell(self, message: Any) -> bool:
        self.told.append(message)
        if isinstance(message, m.DrainWorker):
            self.worker(message.generation).end(Exit())
        return True

    def worker(self, generation: int) -> FakeWorker:
        return next(one for one in self.scene.workers if one.spec.boot.generation == generation)

    async def settle(self) -> None:
        """Let everything happen that can, and say ready for everybody who is new."""
        for _ in range(10):
            await asyncio.sleep(0)
            for one in self.scene.workers if self.ready else ():
                boot = one.spec.boot
                self.fleet.hear(
                    m.WorkerReady(agent=boot.slice.agent, place=boot.slice.place, generation=boot.generation)
                )

    def states(self) -> dict[str, str]:
        return {one.name: one.state for one in self.fleet.statuses()}

    async def close(self) -> None:
        self.fleet.stop_now()
        await self._tasks.cancel()
        self.journal.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.close()


async def test_everybody_is_started_when_they_are_few(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a"), agent_of("b")))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.states() == {"worker a": "ready", "worker b": "ready"}
    assert [(one.link.agent, one.generation) for one in stage.fleet.generations()] == [("a", 1), ("b", 2)]


async def test_many_are_started_with_their_first_message_only(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(*(agent_of(f"a{number}") for number in range(EAGER + 1))))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.scene.workers == []
    stage.fleet.hear(m.WorkerWanted(agent="a7"))
    stage.fleet.hear(m.WorkerWanted(agent="a7"))
    stage.fleet.hear(m.WorkerWanted(agent="stranger"))
    await stage.settle()
    assert [one.spec.boot.slice.agent for one in stage.scene.workers] == ["a7"]


async def test_news_of_another_generation_is_not_news_of_this_one(stage: Stage) -> None:
    stage.ready = False
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.hear(m.WorkerReady(agent="a", generation=99))
    stage.fleet.hear(m.WorkerMisbehaved(agent="a", generation=99, reason="x"))
    assert stage.states() == {"worker a": "starting"}


async def test_a_worker_that_cannot_be_made_is_told_to_the_router_and_tried_again(stage: Stage) -> None:
    stage.scene.broken = "no more processes"
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.states() == {"worker a": "backoff"}
    assert stage.told == [
        m.GenerationStarted(link=plan_of(agent_of("a")).fixed[Seat("a")].link, generation=1),
        m.GenerationEnded(agent="a", generation=1, crashed=True, reason="no more processes"),
    ]
    assert stage.fleet.generations() == ()


async def test_a_roll_brings_the_new_slice_and_hands_over_without_a_gap(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.seat_all(plan_of(agent_of("a", "openai/new")))
    rolling = asyncio.create_task(stage.fleet.roll(["a"], lambda _: None))
    await stage.settle()
    assert await rolling == []
    assert [one.spec.boot.slice.model for one in stage.scene.workers] == ["", "openai/new"]
    assert [one.running for one in stage.scene.workers] == [False, True]
    assert [type(one).__name__ for one in stage.told] == [
        "GenerationStarted", "GenerationStarted", "DrainWorker", "GenerationEnded",
    ]  # fmt: skip


async def test_a_resting_worker_is_not_woken_by_a_roll(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    assert await stage.fleet.roll(["a"], lambda _: None) == []
    assert stage.scene.workers == []


async def test_who_has_the_newest_slice_is_left_alone_unless_it_is_asked_for(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a"), agent_of("b")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.seat_all(plan_of(agent_of("a", "openai/new"), agent_of("b")))
    rolling = asyncio.create_task(stage.fleet.roll(["a", "b"], lambda _: None, forced=False))
    await stage.settle()
    assert await rolling == []
    assert [one.spec.boot.slice.agent for one in stage.scene.workers if not one.running] == ["a"]


async def test_a_removed_agent_stays_until_the_router_says_that_it_is_idle(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.see_off(["a"], 7)
    leaving = asyncio.create_task(stage.fleet.dismiss(["a"], 30))
    stage.fleet.hear(m.AgentIdle(agent="a", version=6))  # of an earlier time that it was leaving
    await stage.settle()
    assert stage.states() == {"worker a": "ready"}
    stage.fleet.hear(m.AgentIdle(agent="a", version=7))
    await stage.settle()
    assert await leaving == ["a"] and stage.fleet.agents() == ()


async def test_a_removed_agent_does_not_stay_for_ever(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.see_off(["a"], 1)
    assert await stage.fleet.dismiss(["a"], 0.01) == ["a"]


async def test_an_agent_that_comes_back_before_it_left_keeps_its_worker(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.see_off(["a"], 1)
    leaving = asyncio.create_task(stage.fleet.dismiss(["a"], 30))
    await stage.settle()
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.see_off(["a"], 2)
    again = asyncio.create_task(stage.fleet.dismiss(["a"], 30))
    await stage.settle()
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    stage.fleet.hear(m.AgentIdle(agent="a", version=2))
    assert not leaving.done() and not again.done()
    await stage.settle()
    assert stage.states() == {"worker a": "ready"} and len(stage.scene.workers) == 1
    leaving.cancel()
    again.cancel()


async def test_a_new_router_hears_who_is_in_quarantine(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.scene.workers[0].end(Exit(code=78))
    await stage.settle()
    assert stage.states() == {"worker a": "quarantined"}
    trouble = m.AgentTrouble(agent="a", reason="exited with code 78: its configuration is wrong", retry_at=0.0)
    assert stage.told[-2:].count(trouble) == 1
    stage.told.clear()
    stage.fleet.tell_again()
    assert stage.told == [trouble]


async def test_nobody_is_started_while_the_fleet_stops(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    await stage.fleet.stop()
    stage.fleet.hear(m.WorkerWanted(agent="a"))
    await stage.settle()
    assert stage.scene.workers == []


async def test_a_child_shows_its_state_in_its_repr(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    child = next(stage.fleet.children())
    assert repr(child) == "Child(worker a, ready, pid fake:0, restarts 0)"
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.until(State.STOPPED), 0.01)
    assert child.state is State.READY


# --- places -------------------------------------------------------------------------------------------------------

GROUP = "agent:a:telegram:group:-1"


def sessions_apart(agent: str, mode: str = "all") -> AgentPlan:
    return agent_of(agent, sandbox=Sandbox(mode=mode, scope="session"))  # type: ignore[arg-type]


async def test_a_worker_for_a_session_is_made_when_its_first_message_comes(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(sessions_apart("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.scene.workers == []
    stage.fleet.hear(m.WorkerWanted(agent="a", place=slug(GROUP), session_key=GROUP))
    await stage.settle()
    [worker] = stage.scene.workers
    assert worker.spec.container is not None and worker.spec.container.scope_key == GROUP


async def test_a_place_that_is_not_the_sessions_own_is_nobodys_seat(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(sessions_apart("a"), agent_of("b")))
    for place, session_key in ((HOST, GROUP), ("elsewhere", GROUP), (slug(GROUP), "agent:a:main")):
        stage.fleet.hear(m.WorkerWanted(agent="a", place=place, session_key=session_key))
    stage.fleet.hear(m.WorkerWanted(agent="b", place=slug(GROUP), session_key=GROUP))
    await stage.settle()
    assert stage.scene.workers == []


async def test_main_and_other_sessions_have_workers_side_by_side(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a", sandbox=Sandbox(mode="non-main"))))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.states() == {"worker a": "ready", f"worker a [{slug('agent:a')}]": "ready"}


async def test_one_agent_has_only_so_many_sessions_at_once_and_the_next_waits_for_room(stage: Stage) -> None:
    keys = [f"agent:a:telegram:group:-{number}" for number in range(SESSIONS_AT_ONCE + 1)]
    stage.fleet.seat_all(plan_of(sessions_apart("a")))
    for key in keys:
        stage.fleet.hear(m.WorkerWanted(agent="a", place=slug(key), session_key=key))
        await stage.settle()
    assert len(stage.scene.workers) == SESSIONS_AT_ONCE
    stage.fleet.hear(m.WorkerUnused(agent="a", place=slug(keys[0])))
    await stage.settle()
    assert stage.scene.workers[-1].spec.boot.slice.place == slug(keys[-1])


async def test_a_change_of_mode_moves_the_agent_and_ends_its_old_worker(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.seat_all(plan_of(agent_of("a", sandbox=Sandbox(mode="all"))))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.states() == {f"worker a [{slug('agent:a')}]": "ready"}
    stage.fleet.seat_all(plan_of(agent_of("a")))
    stage.fleet.start_eagerly()
    await stage.settle()
    assert stage.states() == {"worker a": "ready"}


async def test_an_agent_that_harms_others_is_stopped_at_once_and_told_and_nobody_else(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a"), agent_of("b")))
    stage.fleet.start_eagerly()
    await stage.settle()
    stage.fleet.bar("a", "filled the disk")
    await stage.settle()
    assert stage.states() == {"worker a": "quarantined", "worker b": "ready"}
    (trouble,) = (one for one in stage.told if isinstance(one, m.AgentTrouble))
    assert (trouble.agent, trouble.reason) == ("a", "filled the disk")
    stage.fleet.bar("nobody", "x")


async def test_what_is_an_agents_on_disk_is_known(stage: Stage) -> None:
    stage.fleet.seat_all(plan_of(agent_of("a"), agent_of("b")))
    assert stage.fleet.homes()["a"].folders == {"/w/a", "/h/s/agents/a/sessions"}
    assert set(stage.fleet.homes()) == {"a", "b"}
