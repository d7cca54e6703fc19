"""Control groups: limits that hold, and an end that nobody escapes. Real ones, where this machine lets us."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.slices import Limits
from supervisor.cgroups import Cgroups, Group, find


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Cgroups]:
    found = find(tmp_path)
    if found is None:
        pytest.skip("no control groups here")
    yield found
    found.close()


def start(script: str) -> subprocess.Popen[bytes]:
    """A shell that waits for a line before it begins."""
    return subprocess.Popen(
        ["sh", "-c", f"read x; {script}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def go(process: subprocess.Popen[bytes]) -> bytes:
    return process.communicate(b"\n", timeout=20)[0]


def test_whoever_takes_too_much_memory_is_killed_and_counted(groups: Cgroups) -> None:
    process = start("python3 -c 'x = b\"x\" * (300 << 20)'; echo $?")
    group = groups.enter("main", process.pid, Limits(memory=100 << 20))
    assert group is not None
    assert go(process) == b"137\n"
    assert group.oom_kills() == 1


def test_a_fork_bomb_stays_within_its_processes(groups: Cgroups) -> None:
    process = start("for i in $(seq 60); do sleep 300 & done; echo here")
    group = groups.enter("main", process.pid, Limits(pids=20))
    assert group is not None
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 0 < len(group.pids()) <= 20
    assert group.kill() >= 18
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert group.pids() == set()


def test_who_left_its_session_and_its_environment_is_swept_all_the_same(groups: Cgroups) -> None:
    process = start("setsid env -i sleep 300 >/dev/null 2>&1 & exit 0")
    group = groups.enter("main", process.pid, Limits(pids=20))
    assert group is not None
    go(process)
    assert len(group.pids()) == 1
    assert groups.sweep() == 1
    assert group.pids() == set()


def test_groups_of_a_killed_gateway_are_removed_and_those_of_a_living_one_are_not(
    groups: Cgroups, tmp_path: Path
) -> None:
    living, killed = find(tmp_path / "living"), find(tmp_path / "killed")
    assert living is not None and killed is not None
    process = start("sleep 300")
    for one in (living, killed):
        group = one.enter("main", process.pid, Limits(pids=20))
        assert group is not None
    kept, left = list(living.folders()), list(killed.folders())
    process.kill()
    process.communicate()
    killed.release()
    groups.tidy()
    assert all(folder.is_dir() for folder in kept)
    assert not any(folder.exists() for folder in left)
    living.close()
    assert not any(folder.exists() for folder in kept)


# --- version 2, on a tree that only looks like one -----------------------------------------------------------------


class Tree:
    """A mount of version 2 as files, and which group of it we are in."""

    def __init__(self, folder: Path, own: str) -> None:
        self.folder = folder / "cgroup"
        self.base = self.folder / own.lstrip("/")
        self.state = folder / "state"
        self._own, self._mounts = folder / "own", folder / "mounts"
        self._own.write_text(f"0::{own}\n")
        self._mounts.write_text(f"tmpfs /tmp tmpfs rw 0 0\ncgroup2 {self.folder} cgroup2 rw 0 0\n")
        for group in dict.fromkeys((self.folder, self.base)):
            self.group(group)

    def group(self, folder: Path, procs: str = "", hands_down: str = "cpu memory pids") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu memory pids")
        (folder / "cgroup.procs").write_text(procs)
        (folder / "cgroup.subtree_control").write_text(hands_down)
        return folder

    def find(self) -> Cgroups | None:
        return find(self.state, self._own, self._mounts)

    def nothing_can_be_handed_down(self, folder: Path) -> None:
        """As the kernel answers where a group has processes of its own."""
        (folder / "cgroup.subtree_control").unlink()
        (folder / "cgroup.subtree_control").mkdir()


def test_version_2_gets_the_same_limits_in_its_own_words(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "/service")
    found = tree.find()
    assert found is not None and found.version == 2
    limits = Limits(memory=100 << 20, pids=20, cpus=1.5, shares=1024)
    assert found.enter("main", 4711, limits) is not None, found.problem
    (root,) = tree.base.glob("openclaw-*/")
    told = {path.name: path.read_text() for path in (root / "main").iterdir() if path.is_file()}
    assert told == {
        "cgroup.subtree_control": "+memory +pids +cpu",
        "memory.max": str(100 << 20),
        "pids.max": "20",
        "cpu.max": "150000 100000",
        "cpu.weight": "39",
    }
    assert (root / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (root / "main/4711/cgroup.procs").read_text() == "4711"


def test_no_limit_is_said_in_so_many_words(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "/service")
    found = tree.find()
    assert found is not None and found.enter("main", 4711, Limits())
    (agent,) = tree.base.glob("openclaw-*/main/")
    assert [(agent / name).read_text() for name in ("memory.max", "pids.max", "cpu.max")] == [
        "max",
        "max",
        "max 100000",
    ]


def test_who_is_alone_in_a_delegated_group_steps_aside(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "/service")
    tree.group(tree.base, procs=f"{os.getpid()}\n", hands_down="")
    tree.nothing_can_be_handed_down(tree.folder)
    assert tree.find() is not None
    tree.nothing_can_be_handed_down(tree.base)
    tree.find()
    assert (tree.base / "supervisor/cgroup.procs").read_text() == str(os.getpid())


def test_a_group_where_others_live_is_left_as_it_is(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "/")
    tree.group(tree.folder, procs="1\n2\n", hands_down="")
    tree.nothing_can_be_handed_down(tree.folder)
    assert tree.find() is None
    assert not list(tree.folder.glob("*/[a-z]*")) and not (tree.folder / "supervisor").exists()


def test_memory_that_ran_out_is_read_from_version_2_as_well(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 3\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert Group([tmp_path]).oom_kills() == 2
