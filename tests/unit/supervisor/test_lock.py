"""One gateway per state folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protocol.errors import UserError
from supervisor.lock import Lock, read_owner


def test_the_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.lock"
    lock = Lock(path)
    with pytest.raises(UserError, match=rf"already running on this state folder \(pid {os.getpid()}\)") as caught:
        Lock(path)
    assert (caught.value.hint, caught.value.where) == ("openclaw gateway stop", str(path))
    lock.release()


def test_after_its_release_it_can_be_taken_again_and_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "gateway.lock"
    Lock(path).release()
    assert read_owner(path) is None
    lock = Lock(path)
    owner = read_owner(path)
    assert owner is not None and owner.pid == os.getpid()
    lock.release()


def test_a_lock_left_by_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "gateway.lock"
    path.write_text('{"pid":999999,"started_at":1.0}')
    Lock(path).release()


def test_a_folder_that_is_not_there_is_the_operators_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot open the lock file"):
        Lock(tmp_path / "missing" / "gateway.lock")
