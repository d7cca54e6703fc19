"""The folders of a container: the worker's own, closed to others, with the first files of its agent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.sandbox.rooms import prepare
from supervisor.sandbox.spec import Folder
from supervisor.spawners.base import SpawnError

ROOT = os.geteuid() == 0


@pytest.mark.skipif(not ROOT, reason="only root gives folders away")
def test_each_folder_is_made_closed_and_given_to_the_worker(tmp_path: Path) -> None:
    prepare([Folder(path=str(tmp_path / "a/b"))], 1234, 99)
    found = (tmp_path / "a/b").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 99, 0o700)


@pytest.mark.skipif(not ROOT, reason="only root gives folders away")
def test_a_folder_of_somebody_else_stays_his(tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 4321)
    prepare([Folder(path=str(tmp_path))], 1234, 99)
    assert tmp_path.stat().st_uid == 4321


@pytest.mark.skipif(not ROOT, reason="only root gives folders away")
def test_a_link_folder_hands_the_workers_group_on_to_the_socket(tmp_path: Path) -> None:
    prepare([Folder(path=str(tmp_path / "l"), is_link=True)], 1234, 99)
    found = (tmp_path / "l").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 99, 0o2710)


def test_the_first_files_of_the_agent_are_copied_and_what_is_there_stays(tmp_path: Path) -> None:
    agent, box = tmp_path / "agent", tmp_path / "box"
    agent.mkdir()
    (agent / "SOUL.md").write_text("kind")
    (agent / "USER.md").write_text("Ann")
    box.mkdir()
    (box / "USER.md").write_text("changed in the sandbox")
    prepare([Folder(path=str(box), seeded_from=str(agent))], os.getuid(), os.getgid())
    assert ((box / "SOUL.md").read_text(), (box / "USER.md").read_text()) == ("kind", "changed in the sandbox")


def test_a_folder_that_cannot_be_made_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpawnError, match=r"cannot make .*file"):
        prepare([Folder(path=str(tmp_path / "file/x"))], 1234, 99)
