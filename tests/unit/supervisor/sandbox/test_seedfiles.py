"""A sandbox gets the agent's first files, and a hostile agent gets nothing copied that is not its own."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from supervisor.sandbox import seedfiles
from supervisor.sandbox.seedfiles import MAX_DEPTH, MAX_FILE, copy_bootstrap


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    folder = tmp_path / "agent"
    (folder / "skills/git").mkdir(parents=True)
    (folder / "AGENTS.md").write_text("rules")
    (folder / "SOUL.md").write_text("soul")
    (folder / "notes.txt").write_text("private")
    (folder / "skills/git/SKILL.md").write_text("git")
    return folder


@pytest.fixture
def box(tmp_path: Path) -> Path:
    folder = tmp_path / "box"
    folder.mkdir()
    return folder


def copy(agent: Path, box: Path) -> int:
    return copy_bootstrap(agent, box, os.geteuid(), os.getegid())


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_the_first_files_and_the_skills_are_copied_and_nothing_else(agent: Path, box: Path) -> None:
    assert copy(agent, box) == 3
    assert files(box) == {"AGENTS.md", "SOUL.md", "skills/git/SKILL.md"}
    assert (box / "AGENTS.md").stat().st_mode & 0o777 == 0o600
    assert (box / "skills").stat().st_mode & 0o777 == 0o700


def test_what_is_there_stays_and_what_is_missing_comes(agent: Path, box: Path) -> None:
    (box / "SOUL.md").write_text("mine")
    (box / "skills").mkdir()
    assert copy(agent, box) == 2
    assert copy(agent, box) == 0
    assert (box / "SOUL.md").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_copies_belong_to_the_agent(agent: Path, box: Path) -> None:
    copy_bootstrap(agent, box, 2_000_000_001, 2_000_000_002)
    for path in ("AGENTS.md", "skills", "skills/git", "skills/git/SKILL.md"):
        found = (box / path).stat()
        assert (found.st_uid, found.st_gid) == (2_000_000_001, 2_000_000_002)


@pytest.mark.timeout(20)
def test_links_pipes_sockets_and_huge_files_are_left_out(
    agent: Path, box: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("secret")
    (agent / "USER.md").symlink_to(tmp_path / "secret")
    os.mkfifo(agent / "TOOLS.md")
    with (agent / "IDENTITY.md").open("wb") as file:
        file.truncate(1 << 40)
    os.link(tmp_path / "secret", agent / "HEARTBEAT.md")
    (agent / "skills/away").symlink_to(tmp_path / "secrets")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(agent / "skills/s"))
    with caplog.at_level(logging.WARNING):
        assert copy(agent, box) == 3
    assert files(box) == {"AGENTS.md", "SOUL.md", "skills/git/SKILL.md"}
    assert all(name in caplog.text for name in ("USER.md", "TOOLS.md", "IDENTITY.md", "HEARTBEAT.md"))


def test_nothing_is_written_through_what_lies_in_the_sandbox(agent: Path, box: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (box / "AGENTS.md").symlink_to(outside / "planted")
    (box / "skills").symlink_to(outside)
    os.mkfifo(box / "SOUL.md")
    assert copy(agent, box) == 0
    assert os.listdir(outside) == []


def test_a_folder_that_is_itself_a_link_is_not_followed(agent: Path, box: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(agent)
    assert copy(tmp_path / "link", box) == 0
    assert copy(tmp_path / "missing", box) == 0
    (tmp_path / "box2").symlink_to(box)
    with pytest.raises(OSError):
        copy(agent, tmp_path / "box2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what the agent cannot")
def test_what_the_agent_cannot_read_itself_is_not_read_for_it(agent: Path, box: Path) -> None:
    for path in (agent, agent / "SOUL.md", agent / "skills"):
        os.chown(path, 2_000_000_001, 2_000_000_001)
    (agent / "AGENTS.md").chmod(0o600)
    (agent / "skills/git").chmod(0o700)
    assert copy(agent, box) == 1
    (agent / "AGENTS.md").chmod(0o644)
    assert copy(agent, box) == 1


def test_size_count_and_depth_are_bounded(agent: Path, box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seedfiles, "MAX_FILES", 10)
    (agent / "SOUL.md").write_text("x" * (MAX_FILE + 1))
    deep = agent / "skills"
    for _ in range(MAX_DEPTH + 2):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("x")
    assert copy(agent, box) == 2
    for number in range(50):
        (agent / f"skills/{number}").write_text("x")
    copy(agent, box)
    assert len(files(box)) <= 12


def test_a_missing_source_file_is_nothing_to_talk_about(
    agent: Path, box: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy(agent, box)
    assert caplog.text == ""
