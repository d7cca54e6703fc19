"""Users of agents: which number is whose, for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protocol.errors import UserError
from supervisor.config.walls import Owner
from supervisor.uids import BASE, Uids, owner_of


def test_every_agent_has_a_number_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "state/uids.json"
    given = Uids(path).give(["main", "family"])
    assert [given["main"].uid, given["family"].uid] == [BASE, BASE + 1]
    assert Uids(path).give(["family", "main"]) == given
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["uids.json"]


def test_the_number_of_an_agent_that_left_is_never_given_again(tmp_path: Path) -> None:
    uids = Uids(tmp_path / "uids.json")
    uids.give(["main", "family"])
    assert Uids(tmp_path / "uids.json").give(["main", "new"])["new"].uid == BASE + 2
    assert uids.agent_of(BASE + 1) == "family"


def test_a_file_that_is_damaged_is_no_reason_to_guess(tmp_path: Path) -> None:
    (tmp_path / "uids.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Uids(tmp_path / "uids.json")


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_workspace_of_a_user_of_this_machine_keeps_its_owner(tmp_path: Path) -> None:
    state, given = tmp_path / "state", Owner(BASE, BASE, True)
    for folder, uid in (
        (tmp_path / "his", 1000),
        (state / "his", 1000),
        (tmp_path / "root", 0),
        (tmp_path / "a", BASE),
    ):
        folder.mkdir(parents=True)
        os.chown(folder, uid, uid)
    assert owner_of(tmp_path / "his", state, given) == Owner(1000, 1000, False)
    for name in ("state/his", "root", "a", "missing"):
        assert owner_of(tmp_path / name, state, given) == given
