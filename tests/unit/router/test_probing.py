"""What living workers tried is handed on, and no worker decides how much or for whom."""

from __future__ import annotations

import asyncio

import pytest

from protocol import control as c
from protocol.errors import Temporary, UserError
from protocol.messages import Finding, ProbeTarget
from protocol.sandbox import Seat
from router.probing import MAX_DETAIL, MAX_TARGETS, probe

IDS, READ = ProbeTarget(what="ids"), ProbeTarget(what="read_file", on="/x")
MAIN, BOX, OTHER = Seat("main"), Seat("main", "agent-main-1"), Seat("other")


class World:
    """Workers with what they answer."""

    def __init__(self, **answers: tuple[Finding, ...] | Exception) -> None:
        self.answers = answers
        self.asked: list[tuple[Seat, int, float]] = []

    def living(self) -> list[tuple[Seat, int]]:
        return [(OTHER, 3), (BOX, 2), (MAIN, 1)]

    async def probe(
        self, seat: Seat, generation: int, targets: tuple[ProbeTarget, ...], timeout: float
    ) -> tuple[Finding, ...]:
        self.asked.append((seat, generation, timeout))
        answer = self.answers[seat.place.partition("-")[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ask(world: World, *wanted: c.AgentTargets, timeout: float = 5.0) -> list[c.WorkerProbed]:
    said: list[c.WorkerProbed] = []
    asyncio.run(probe(world, c.ProbeWorkers(wanted=wanted, timeout=timeout), said.append))
    return said


def test_every_living_worker_of_the_wanted_agents_is_asked_and_no_other() -> None:
    """At each place; who does not answer is told, and the others are not held up."""
    world = World(host=Temporary("worker main did not answer in 5 s"), agent=(Finding(what="ids", on="", held=True),))
    said = ask(world, c.AgentTargets(agent="main", targets=(IDS,)))
    assert [seat for seat, _, _ in world.asked] == [BOX, MAIN]
    assert said == [
        c.WorkerProbed(agent="main", place=BOX.place, generation=2, findings=(Finding(what="ids", on="", held=True),)),
        c.WorkerProbed(agent="main", place="host", generation=1, problem="worker main did not answer in 5 s"),
    ]


def test_a_worker_cannot_leave_an_attack_out_or_add_one() -> None:
    """What it does not report did not hold; what nobody asked for is dropped; words are cut."""
    extra = Finding(what="mount", on="", held=True)
    long = Finding(what="ids", on="", held=True, detail="x" * 10_000)
    (_, answer) = ask(World(host=(extra, long), agent=()), c.AgentTargets(agent="main", targets=(READ, IDS)))
    assert [(one.what, one.held, len(one.detail)) for one in answer.findings] == [
        ("read_file", False, len("the worker said nothing of it")),
        ("ids", True, MAX_DETAIL),
    ]


def test_what_an_operator_asks_is_bounded() -> None:
    """In number and in time."""
    with pytest.raises(UserError, match="more than 500 targets"):
        ask(World(), c.AgentTargets(agent="main", targets=(IDS,) * (MAX_TARGETS + 1)))
    world = World(host=(), agent=())
    ask(world, c.AgentTargets(agent="main", targets=()), timeout=1e9)
    assert {timeout for _, _, timeout in world.asked} == {600.0}
