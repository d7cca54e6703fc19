"""Control groups: limits that hold, and an end that nobody escapes. Real ones, where this machine lets us."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.slices import Limits
from supervisor.cgroups import Cgroups, find


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
