"""Whatever may change the configuration is noticed, and nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.paths import Paths
from supervisor.config.watch import Watch, included


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with contextlib.chdir(tmp_path):
        yield made(tmp_path)


def made(tmp_path: Path) -> Watch:
    (tmp_path / "s").mkdir()
    (tmp_path / "openclaw.json").write_text('{ agents: { $include: "./a.json5" } }')
    (tmp_path / "a.json5").write_text("{ list: { '$include': ['b.json5', \"sub/../c.json5\"] } }")
    watch = Watch(Paths(tmp_path, tmp_path / "s", tmp_path / "openclaw.json"))
    watch.look()
    return watch


def test_nothing_has_changed_while_nobody_writes(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    assert watch.last == watch.look()


@pytest.mark.parametrize(
    "name", ["openclaw.json", "a.json5", "b.json5", "c.json5", ".env", "s/.env", "s/exec-approvals.json"]
)
def test_every_file_that_counts_is_looked_at_even_if_it_is_not_there(watch: Watch, tmp_path: Path, name: str) -> None:
    before = watch.last
    (tmp_path / name).write_text("{ }  // written")
    assert watch.look() != before


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_noticed(watch: Watch, tmp_path: Path) -> None:
    file, before = tmp_path / "openclaw.json", watch.last
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    part = tmp_path / "part"
    part.write_text(file.read_text().replace("a.json5", "x.json5"))
    os.utime(part, ns=times)
    part.replace(file)
    assert watch.look() != before
    assert tmp_path / "x.json5" in watch.last


def test_includes_are_found_in_a_broken_file_and_in_circles(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").write_text('{ a: { "$include": "a.json5" }, ')
    (tmp_path / "a.json5").write_text('{ $include: "./openclaw.json" }')
    assert included(tmp_path / "openclaw.json") == (tmp_path / "openclaw.json", tmp_path / "a.json5")
