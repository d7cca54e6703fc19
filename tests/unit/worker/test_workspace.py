"""A new workspace gets its first files; nothing that is there is ever touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.tools.access import FileAccess
from worker.workspace import Workspace, prepare

SEEDED = {"AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md", "BOOTSTRAP.md", ".openclaw"}


def open_workspace(folder: Path) -> Workspace:
    return Workspace(folder, FileAccess(folder), 100)


def test_a_brand_new_workspace_gets_every_first_file(tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    prepare(folder, skip_bootstrap=False, now=0.0)
    assert set(os.listdir(folder)) == SEEDED
    assert (folder / "AGENTS.md").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    state = (folder / ".openclaw/workspace-state.json").read_text()
    assert state == '{"version":1,"bootstrapSeededAt":"1970-01-01T00:00:00.000Z"}'


def test_existing_files_stay_and_the_first_run_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "SOUL.md").write_text("mine")
    prepare(tmp_path, skip_bootstrap=False, now=0.0)
    assert (tmp_path / "SOUL.md").read_text() == "mine"
    assert set(os.listdir(tmp_path)) == SEEDED - {"BOOTSTRAP.md"}


def test_first_files_are_never_written_through_links(tmp_path: Path) -> None:
    folder, outside = tmp_path / "ws", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "SOUL.md").symlink_to(outside / "planted")
    (folder / ".openclaw").symlink_to(outside)
    prepare(folder, skip_bootstrap=False, now=0.0)
    assert os.listdir(outside) == []
    assert (folder / "AGENTS.md").is_file()


def test_skip_bootstrap_makes_only_the_folder(tmp_path: Path) -> None:
    prepare(tmp_path / "ws", skip_bootstrap=True, now=0.0)
    assert os.listdir(tmp_path / "ws") == []


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    (tmp_path / "SOUL.md").write_text("one")
    assert {file.name: file.text for file in workspace.project_files()}["SOUL.md"] == "one"
    (tmp_path / "SOUL.md").write_text("second")
    assert {file.name: file.text for file in workspace.project_files()}["SOUL.md"] == "second"
    (tmp_path / "SOUL.md").unlink()
    assert {file.name: file.text for file in workspace.project_files()}["SOUL.md"] is None


def test_a_bootstrap_file_that_links_to_a_forbidden_place_is_missing(tmp_path: Path) -> None:
    secret = tmp_path / "credentials"
    secret.mkdir()
    (secret / "key").write_text("k")
    folder = tmp_path / "ws"
    folder.mkdir()
    (folder / "SOUL.md").symlink_to(secret / "key")
    workspace = Workspace(folder, FileAccess(folder, forbidden=(str(secret),)), 100)
    assert {file.name: file.text for file in workspace.project_files()}["SOUL.md"] is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_workspace_is_no_reason_to_fail(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    prepare(tmp_path, skip_bootstrap=False, now=0.0)
    tmp_path.chmod(0o700)
