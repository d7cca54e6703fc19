"""Attacks that use up what others need, too, and how the neighbours fare during them."""

from __future__ import annotations

import asyncio

from tests.support.hostile.stage import FLOODS, HOGS, PIDS, Check, Fared, Stage

#: Seconds of one quiet run, and of a loud one that does not end by itself.
RUN = 1.5


async def floods(stage: Stage) -> None:
    assert await stage.order(FLOODS, "flood", seconds=60) == {"died": "and came back"}
    await stage.logged(FLOODS, "it sends more than anybody could read")


async def floods_under_another_name(stage: Stage) -> None:
    assert await stage.order(FLOODS, "flood", seconds=60, name="ann") == {"died": "and came back"}
    await stage.logged(FLOODS, "it speaks under the name b'ann'")


async def floods_as_a_later_life(stage: Stage) -> None:
    assert await stage.order(FLOODS, "flood", seconds=60, name="99999") == {"died": "and came back"}
    await stage.logged(FLOODS, "it speaks as generation 99999")


async def forks_without_end(stage: Stage) -> None:
    report = await stage.order(HOGS, "forks", seconds=RUN)
    assert int(report["children"]) <= PIDS


async def fills_memory(stage: Stage) -> None:
    assert await stage.order(HOGS, "memory", most=2000) == {"died": "and came back"}
    await stage.logged(HOGS, "out of memory")


async def prints_gigabytes(stage: Stage) -> None:
    await stage.order(HOGS, "prints", seconds=RUN)
    await stage.logged(HOGS, "lines were dropped: logging too fast", by=HOGS)


#: Whoever dies of an attack is stable again before the next one it dies of.
LOUD: tuple[Check, ...] = (
    floods,
    forks_without_end,
    floods_under_another_name,
    prints_gigabytes,
    floods_as_a_later_life,
    fills_memory,
)


async def quiet_and_loud(stage: Stage, rounds: int) -> Fared:
    """Each loud attack after a quiet run; all again while the neighbours do not fare well: the machine may have other
    things to do."""
    for _ in range(rounds):
        for attack in LOUD:
            async with stage.during("quiet"):
                await asyncio.sleep(RUN)
            async with stage.during(f"loud: {attack.__name__}"):
                await attack(stage)
        fared = Fared(stage.latencies("quiet"), stage.latencies("loud"))
        print(fared)
        if fared.well:
            break
    return fared


def by_attack(stage: Stage) -> dict[str, Fared]:
    """How they fared in each of the attacks."""
    quiet = stage.latencies("quiet")
    return {attack.__name__: Fared(quiet, stage.latencies(f"loud: {attack.__name__}")) for attack in LOUD}
