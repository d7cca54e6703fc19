"""Handing an agent's folders over to its user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from supervisor.config.walls import Owner
from supervisor.ownership import hand_over, inode
from supervisor.uids import BASE

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")

ANNA, BEN = Owner(BASE + 1, BASE + 1, True), Owner(BASE + 2, BASE + 2, True)


def uid(path: Path) -> int:
    return path.lstat().st_uid


def tree(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("x")
    (folder / "inner/file").write_text("x")
    return folder


def test_everything_of_root_becomes_the_agents_and_closed(tmp_path: Path) -> None:
    folder = tree(tmp_path / "w")
    hand_over(folder, ANNA)
    assert {uid(path) for path in (folder, *folder.rglob("*"))} == {ANNA.uid}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_was_another_agents_changes_hands(tmp_path: Path) -> None:
    folder = tree(tmp_path / "w")
    hand_over(folder, BEN)
    hand_over(folder, ANNA)
    assert uid(folder / "inner/file") == ANNA.uid


def test_what_belongs_to_a_user_of_this_machine_stays_his(tmp_path: Path) -> None:
    folder = tree(tmp_path / "w")
    os.chown(folder / "file", 1000, 1000)
    hand_over(folder, ANNA)
    assert (uid(folder / "file"), uid(folder / "inner/file")) == (1000, ANNA.uid)
    hand_over(folder, ANNA, former={1000})
    assert uid(folder / "file") == ANNA.uid


def test_a_symbolic_link_leads_nowhere(tmp_path: Path) -> None:
    folder, outside = tree(tmp_path / "w"), tree(tmp_path / "outside")
    (folder / "link").symlink_to(outside)
    (folder / "inner/link").symlink_to(outside / "file")
    hand_over(folder, ANNA)
    assert {uid(path) for path in (outside, *outside.rglob("*"))} == {0}


def test_a_file_with_a_second_name_is_left_alone(tmp_path: Path) -> None:
    folder, secret = tree(tmp_path / "w"), tmp_path / "shadow"
    secret.write_text("root's")
    os.link(secret, folder / "mine")
    hand_over(folder, ANNA)
    assert uid(secret) == 0


def test_folders_of_others_inside_are_kept(tmp_path: Path) -> None:
    folder = tree(tmp_path / "w")
    hand_over(tree(folder / "ben"), BEN)
    known = inode(folder / "ben")
    assert known is not None
    hand_over(folder, ANNA, keep={known})
    assert (uid(folder / "ben"), uid(folder / "ben/inner/file"), uid(folder / "inner")) == (BEN.uid, BEN.uid, ANNA.uid)


def test_a_link_that_an_agent_put_in_the_way_is_refused(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside")
    (tmp_path / "w").symlink_to(outside)
    os.lchown(tmp_path / "w", BEN.uid, BEN.gid)
    with pytest.raises(OSError, match="a symbolic link of an agent"):
        hand_over(tmp_path / "w", ANNA)
    assert uid(outside) == 0


def test_a_tree_of_any_depth_does_not_stop_it(tmp_path: Path) -> None:
    folder = tree(tmp_path / "w")
    here = os.open(folder / "inner", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    hand_over(folder, ANNA)
    assert uid(folder / "inner/d/d/d") == ANNA.uid
    subprocess.run(["rm", "-rf", folder], check=True)
