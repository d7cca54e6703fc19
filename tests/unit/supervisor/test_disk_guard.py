"""Who is to blame when a disk is nearly full, and how long: rules, real folders, and the guard between them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor import disk_guard
from supervisor.disk_guard import DiskGuard
from supervisor.disk_rules import Room, offender, pause, reserve, size_text
from supervisor.disk_usage import Home, Usage, measure

MIB = 1024**2
GIB = 1024**3


def test_a_part_of_the_disk_is_kept_free_within_reason() -> None:
    assert reserve(100 * GIB) == 2 * GIB
    assert reserve(5 * GIB) == 256 * MIB
    assert reserve(400 * MIB) == 100 * MIB
    assert reserve(10_000 * GIB) == 4 * GIB


def test_nobody_is_blamed_while_there_is_room() -> None:
    assert offender(300, 300, {"a": 0}, {"a": 10 * GIB}) is None


def test_who_grew_most_is_blamed_and_not_who_holds_most() -> None:
    before: dict[str, int | None] = {"old": 90 * GIB, "b": 0, "c": 0}
    assert offender(1, 2, before, {"old": 90 * GIB, "b": 2 * GIB, "c": 3 * GIB}) == "c"
    assert offender(1, 2, before, {"old": 91 * GIB, "b": 0, "c": 0}) == "old"
    assert offender(1, 2, before, {"new": 3 * GIB, "c": 2 * GIB}) == "new"


def test_a_disk_that_somebody_else_filled_is_no_agents_doing() -> None:
    assert offender(1, 2, {"a": 90 * GIB}, {"a": 90 * GIB + 15 * MIB}) is None
    assert offender(1, 2, {}, {}) is None


def test_who_could_not_be_counted_is_not_blamed() -> None:
    assert offender(1, 2, {"a": None, "b": 0}, {"a": 9 * GIB, "b": None}) is None


def test_the_nearer_the_reserve_the_sooner_the_next_look() -> None:
    assert pause([]) == 5.0
    assert pause([Room("/", 100 * GIB, 200 * GIB)]) == 5.0
    assert pause([Room("/", 100 * GIB, 200 * GIB), Room("/x", 6 * GIB, 200 * GIB)]) == pytest.approx(2.0)
    assert pause([Room("/", 0, 200 * GIB)]) == 0.2


def test_sizes_are_read_by_people() -> None:
    assert [size_text(size) for size in (3_100_000_000, 120_000_000, 0)] == ["3.1 GB", "120 MB", "0 MB"]


# --- counting ----------------------------------------------------------------------------------------------------


def total(usage: Usage, agent: str) -> int:
    return sum(sizes.get(agent) or 0 for sizes in usage.sizes.values())


def test_what_is_in_an_agents_folders_is_counted_once_and_links_are_not_followed(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    (own / "deep/deeper").mkdir(parents=True)
    other.mkdir()
    (other / "big").write_bytes(b"x" * 8 * MIB)
    (own / "deep/deeper/file").write_bytes(b"x" * MIB)
    os.link(own / "deep/deeper/file", own / "again")
    (own / "away").symlink_to(other)
    (own / "loop").symlink_to(own)
    os.mkfifo(own / "pipe")
    homes = {
        "a": Home(folders=frozenset((str(own), str(own / "deep")))),
        "gone": Home(folders=frozenset(("/nowhere",))),
    }
    usage = measure(str(tmp_path), homes)
    assert MIB <= total(usage, "a") < 1.2 * MIB
    assert total(usage, "gone") == 0
    assert set(usage.paths) == {tmp_path.stat().st_dev}


@pytest.mark.skipif(os.getuid() != 0, reason="files of others are made by root")
def test_what_an_agent_put_into_everybodys_folders_is_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.disk_usage.COMMON", (str(tmp_path),))
    for name, uid in (("mine", 2_000_000_001), ("theirs", 2_000_000_002)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * MIB)
        os.chown(tmp_path / name, uid, uid)
    usage = measure(str(tmp_path), {"a": Home(uid=2_000_000_001), "b": Home()})
    assert MIB <= total(usage, "a") < 1.2 * MIB
    assert total(usage, "b") == 0


# --- the guard ---------------------------------------------------------------------------------------------------


class World:
    """A disk and agents of whatever size, and what the guard does about them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 50 * GIB
        self.sizes: dict[str, int | None] = {"a": GIB, "b": GIB}
        self.limits: dict[str, int] = {}
        self.barred: dict[str, str] = {}
        self.lines: list[str] = []
        self.guard = DiskGuard(Path("/state"), self.homes, self.bar, self.lines.append)
        monkeypatch.setattr(disk_guard, "measure", lambda state, homes: Usage({1: dict(self.sizes)}, {1: state}))
        monkeypatch.setattr(self.guard, "_rooms", lambda: {1: Room("/state", self.free, 100 * GIB)})
        monkeypatch.setattr(disk_guard, "_LIMITS_EVERY", 0.0)
        monkeypatch.setattr(disk_guard, "_REST", 0)

    def homes(self) -> Mapping[str, Home]:
        return {agent: Home(limit=self.limits.get(agent, 0)) for agent in self.sizes}

    def bar(self, agent: str, reason: str) -> None:
        self.barred[agent] = reason

    async def look(self) -> dict[str, str]:
        self.barred.clear()
        await self.guard.look()
        return self.barred


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_the_filler_is_barred_until_there_is_room_again_and_nobody_else(world: World) -> None:
    assert await world.look() == {}
    world.free, world.sizes = 120_000_000, {"a": GIB + 3_100_000_000, "b": GIB + 1}
    reason = (
        "filled the disk: its folders grew by 3.1 GB to 4.2 GB, 120 MB are free;"
        " hint: free space, then openclaw gateway restart --agent a"
    )
    assert await world.look() == {"a": reason}
    assert await world.look() == {"a": reason}
    world.free = 50 * GIB
    assert await world.look() == {}
    assert world.lines == ["the disk has room again: 53.7 GB are free; tried again soon: a"]


async def test_who_fills_the_disk_again_after_room_was_made_is_blamed_again(world: World) -> None:
    await world.look()
    world.free, world.sizes = 1, {"a": 9 * GIB, "b": GIB}
    assert set(await world.look()) == {"a"}
    world.free, world.sizes = 50 * GIB, {"a": GIB, "b": GIB}
    assert await world.look() == {}
    world.free, world.sizes = 1, {"a": 9 * GIB, "b": GIB}
    assert set(await world.look()) == {"a"}


async def test_a_second_filler_is_blamed_for_what_it_takes_from_then_on(world: World) -> None:
    await world.look()
    world.free, world.sizes = 1, {"a": 9 * GIB, "b": 2 * GIB}
    assert set(await world.look()) == {"a"}
    assert set(await world.look()) == {"a"}
    world.sizes = {"a": 9 * GIB, "b": 3 * GIB}
    assert set(await world.look()) == {"a", "b"}


async def test_a_disk_filled_by_others_is_told_once(world: World) -> None:
    await world.look()
    world.free = 120_000_000
    for _ in range(3):
        assert await world.look() == {}
    assert len(world.lines) == 1
    assert world.lines[0].startswith("the disk is nearly full: 120 MB are free, and it is none of the agents' doing")


async def test_a_limit_of_its_own_holds_whatever_is_free(world: World) -> None:
    world.limits = {"b": 2 * GIB}
    assert await world.look() == {}
    world.sizes = {"a": 9 * GIB, "b": 3 * GIB}
    barred = await world.look()
    assert set(barred) == {"b"}
    assert "its folders hold 3.2 GB, its limit is 2.1 GB" in barred["b"]
    world.sizes = {"a": 9 * GIB, "b": GIB}
    assert await world.look() == {}
