"""Records of children: present state, crashes within bounds, numbers that are never used twice."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec

from protocol.control import ProcessStatus
from supervisor.records import MAX_CRASHES, CrashReport, Records


def crash(name: str, reason: str = "x") -> CrashReport:
    return CrashReport(
        name=name, pid="1", time="t", ended="killed by SIGKILL", reason=reason, code=0, signal=9, out_of_memory=False,
        max_rss=0, lived=1.0, config="", last_lines=(),
    )  # fmt: skip


def records(folder: Path) -> Records:
    return Records(folder, warn=_fail)


def _fail(text: str) -> None:
    raise AssertionError(text)


def test_the_present_state_is_a_private_file_with_a_safe_name(tmp_path: Path) -> None:
    records(tmp_path).keep(ProcessStatus(name="worker main", kind="worker", state="ready"))
    path = tmp_path / "worker-main.json"
    assert msgspec.json.decode(path.read_bytes(), type=ProcessStatus).state == "ready"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["worker-main.json"]


def test_a_new_supervisor_forgets_old_states_and_keeps_old_crashes(tmp_path: Path) -> None:
    old = records(tmp_path)
    old.keep(ProcessStatus(name="router", kind="router", state="ready"))
    old.crash(crash("router"))
    assert [one.name for one in records(tmp_path).crashes()] == ["router"]
    assert not (tmp_path / "router.json").exists()


def test_only_so_many_crashes_are_kept_the_newest(tmp_path: Path) -> None:
    kept = records(tmp_path)
    for number in range(MAX_CRASHES + 5):
        kept.crash(crash("worker main", str(number)))
    assert [one.reason for one in kept.crashes()] == [str(number) for number in range(5, MAX_CRASHES + 5)]


def test_a_generation_is_never_given_twice_also_not_after_a_crash(tmp_path: Path) -> None:
    first, second = records(tmp_path), records(tmp_path)
    numbers = [first.new_generation(), first.new_generation()]
    numbers += [second.new_generation(), first.new_generation(), records(tmp_path).new_generation()]
    assert numbers[:2] == [1, 2] and len(set(numbers)) == 5


def test_a_block_of_generations_that_is_used_up_is_followed_by_another(tmp_path: Path) -> None:
    one = records(tmp_path)
    numbers = [one.new_generation() for _ in range(10_002)]
    assert numbers == list(range(1, 10_003))


def test_a_disk_that_takes_nothing_is_said_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    kept = Records(tmp_path / "missing", said.append)
    kept.keep(ProcessStatus(name="router", kind="router", state="ready"))
    assert kept.new_generation() == 1
    assert said == [
        f"cannot write {tmp_path}/missing/router.json: No such file or directory",
        f"cannot write {tmp_path}/missing/generation: No such file or directory",
    ]
