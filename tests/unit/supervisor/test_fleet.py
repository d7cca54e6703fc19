"""Seats, workers on demand and replacing, with imagined workers and a router that only listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m
from protocol.slices import WorkerSlice
from protocol.tasks import Tasks
from supervisor.child import Office
from supervisor.children import settings
from supervisor.fleet import EAGER, Fleet
from supervisor.life import Exit, State
from supervisor.logs import Journal, LogFile
from supervisor.records import Records
from supervisor.spawners.fake import FakeSpawner, FakeWorker, Scene


def slice_of(agent: str, model: str = "") -> WorkerSlice:
    return WorkerSlice(
        agent=agent, name=agent, workspace="/w", sessions="/s", link_socket="/l", router_public="r", worker_public="w",
        worker_secret="x", proxy_socket="/p", proxy_token="t", model=model,
    )  # fmt: skip


class Bench:
    """A fleet on a scene. The router's part is played here: workers are ready at once, and end when told to drain."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene()
        self.told: list[Any] = []
        self.ready = True
        tasks = Tasks(self._crashed)
        self.journal = Journal(LogFile(folder / "x.log"), level="debug")
        office = Office(self.journal, Records(folder, self._crashed), tasks, lambda: 0.0)
        self.fleet = Fleet(office, FakeSpawner(self.scene), self._tell, settings("worker", 30))
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
                self.fleet.hear(m.WorkerReady(agent=boot.slice.agent, generation=boot.generation))

    def states(self) -> dict[str, str]:
        return {one.name: one.state for one in self.fleet.statuses()}

    async def close(self) -> None:
        self.fleet.stop_now()
        await self._tasks.cancel()
        self.journal.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_everybody_is_started_when_they_are_few(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a"), "b": slice_of("b")})
    bench.fleet.start_eagerly()
    await bench.settle()
    assert bench.states() == {"worker a": "ready", "worker b": "ready"}
    assert bench.fleet.generations() == (("a", 1), ("b", 2))


async def test_many_are_started_with_their_first_message_only(bench: Bench) -> None:
    bench.fleet.seat_all({f"a{number}": slice_of(f"a{number}") for number in range(EAGER + 1)})
    bench.fleet.start_eagerly()
    await bench.settle()
    assert bench.scene.workers == []
    bench.fleet.hear(m.WorkerWanted(agent="a7"))
    bench.fleet.hear(m.WorkerWanted(agent="a7"))
    bench.fleet.hear(m.WorkerWanted(agent="stranger"))
    await bench.settle()
    assert [one.spec.boot.slice.agent for one in bench.scene.workers] == ["a7"]


async def test_news_of_another_generation_is_not_news_of_this_one(bench: Bench) -> None:
    bench.ready = False
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    bench.fleet.hear(m.WorkerReady(agent="a", generation=99))
    bench.fleet.hear(m.WorkerMisbehaved(agent="a", generation=99, reason="x"))
    assert bench.states() == {"worker a": "starting"}


async def test_a_worker_that_cannot_be_made_is_told_to_the_router_and_tried_again(bench: Bench) -> None:
    bench.scene.broken = "no more processes"
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    assert bench.states() == {"worker a": "backoff"}
    assert bench.told == [
        m.GenerationStarted(agent="a", generation=1),
        m.GenerationEnded(agent="a", generation=1, crashed=True, reason="no more processes"),
    ]
    assert bench.fleet.generations() == ()


async def test_a_roll_brings_the_new_slice_and_hands_over_without_a_gap(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    bench.fleet.seat_all({"a": slice_of("a", "openai/new")})
    rolling = asyncio.create_task(bench.fleet.roll(["a"], lambda _: None))
    await bench.settle()
    assert await rolling == []
    assert [one.spec.boot.slice.model for one in bench.scene.workers] == ["", "openai/new"]
    assert [one.running for one in bench.scene.workers] == [False, True]
    assert [type(one).__name__ for one in bench.told] == [
        "GenerationStarted", "GenerationStarted", "DrainWorker", "GenerationEnded",
    ]  # fmt: skip


async def test_a_resting_worker_is_not_woken_by_a_roll(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    assert await bench.fleet.roll(["a"], lambda _: None) == []
    assert bench.scene.workers == []


async def test_who_has_the_newest_slice_is_left_alone_unless_it_is_asked_for(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a"), "b": slice_of("b")})
    bench.fleet.start_eagerly()
    await bench.settle()
    bench.fleet.seat_all({"a": slice_of("a", "openai/new"), "b": slice_of("b")})
    rolling = asyncio.create_task(bench.fleet.roll(["a", "b"], lambda _: None, forced=False))
    await bench.settle()
    assert await rolling == []
    assert [one.spec.boot.slice.agent for one in bench.scene.workers if not one.running] == ["a"]


async def test_a_removed_agent_stays_until_the_router_says_that_it_is_idle(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    bench.fleet.see_off(["a"], 7)
    leaving = asyncio.create_task(bench.fleet.dismiss(["a"], 30))
    bench.fleet.hear(m.AgentIdle(agent="a", version=6))  # of an earlier time that it was leaving
    await bench.settle()
    assert bench.states() == {"worker a": "ready"}
    bench.fleet.hear(m.AgentIdle(agent="a", version=7))
    await bench.settle()
    assert await leaving == ["a"] and bench.fleet.agents() == ()


async def test_a_removed_agent_does_not_stay_for_ever(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.see_off(["a"], 1)
    assert await bench.fleet.dismiss(["a"], 0.01) == ["a"]


async def test_an_agent_that_comes_back_before_it_left_keeps_its_worker(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    bench.fleet.see_off(["a"], 1)
    leaving = asyncio.create_task(bench.fleet.dismiss(["a"], 30))
    await bench.settle()
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.see_off(["a"], 2)
    again = asyncio.create_task(bench.fleet.dismiss(["a"], 30))
    await bench.settle()
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    bench.fleet.hear(m.AgentIdle(agent="a", version=2))
    assert not leaving.done() and not again.done()
    await bench.settle()
    assert bench.states() == {"worker a": "ready"} and len(bench.scene.workers) == 1
    leaving.cancel()
    again.cancel()


async def test_a_new_router_hears_who_is_in_quarantine(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    bench.scene.workers[0].end(Exit(code=78))
    await bench.settle()
    assert bench.states() == {"worker a": "quarantined"}
    trouble = m.AgentTrouble(agent="a", reason="exited with code 78: its configuration is wrong", retry_at=0.0)
    assert bench.told[-2:].count(trouble) == 1
    bench.told.clear()
    bench.fleet.tell_again()
    assert bench.told == [trouble]


async def test_nobody_is_started_while_the_fleet_stops(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    await bench.fleet.stop()
    bench.fleet.hear(m.WorkerWanted(agent="a"))
    await bench.settle()
    assert bench.scene.workers == []


async def test_a_child_shows_its_state_in_its_repr(bench: Bench) -> None:
    bench.fleet.seat_all({"a": slice_of("a")})
    bench.fleet.start_eagerly()
    await bench.settle()
    child = next(bench.fleet.children())
    assert repr(child) == "Child(worker a, ready, pid fake:0, restarts 0)"
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.until(State.STOPPED), 0.01)
    assert child.state is State.READY
