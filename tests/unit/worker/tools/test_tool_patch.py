"""apply_patch changes all its files or none, and only those of the workspace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.tools.access import FileAccess
from worker.tools.base import Context, ToolError
from worker.tools.patch import ApplyPatchTool


async def apply(workspace: Path, *lines: str, read_only: bool = False) -> str:
    access = FileAccess(workspace, agent_workspace="/agent" if read_only else "").only_workspace()
    text = "\n".join(("*** Begin Patch", *lines, "*** End Patch"))
    return (await ApplyPatchTool(access).run({"input": text}, Context())).text


async def error_of(workspace: Path, *lines: str, read_only: bool = False) -> str:
    with pytest.raises(ToolError) as caught:
        await apply(workspace, *lines, read_only=read_only)
    return str(caught.value)


async def test_files_are_added_updated_moved_and_deleted(tmp_path: Path) -> None:
    for name in ("update", "move", "delete"):
        (tmp_path / name).write_text("one\ntwo\n")
    text = await apply(
        tmp_path, "*** Add File: in/new", "+hello", "*** Update File: update", "-one", "+1", "*** Update File: move",
        "*** Move to: moved/here", "-two", "+2", "*** Delete File: delete",
    )  # fmt: skip
    assert text.splitlines() == [
        "Success. Updated the following files:", "A in/new", "M update", "M move -> moved/here", "D delete",
    ]  # fmt: skip
    assert (tmp_path / "in/new").read_text() == "hello\n"
    assert (tmp_path / "update").read_text() == "1\ntwo\n"
    assert (tmp_path / "moved/here").read_text() == "one\n2\n"
    assert sorted(os.listdir(tmp_path)) == ["in", "moved", "update"]


async def test_a_patch_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    lines = ("*** Update File: a", "-a", "+b", "*** Delete File: missing")
    assert (await error_of(tmp_path, *lines)).startswith("ENOENT:")
    assert (await error_of(tmp_path, "*** Add File: a", "+x")).startswith("EEXIST:")
    assert (tmp_path / "a").read_text() == "a\n"


async def test_a_write_that_fails_undoes_those_before_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "file").write_text("x")
    lines = ("*** Update File: a", "-a", "+b", "*** Add File: new", "+x", "*** Add File: " + "n" * 300, "+x")
    assert (await error_of(tmp_path, *lines)).startswith("ENAMETOOLONG:")
    assert (tmp_path / "a").read_text() == "a\n"
    assert sorted(os.listdir(tmp_path)) == ["a", "file"]


@pytest.mark.parametrize("path", ["../out", "/etc/cron.d/x", "link/x", "absolute/x"])
async def test_nothing_outside_of_the_workspace_is_touched(tmp_path: Path, path: str) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "x").write_text("x\n")
    (workspace / "link").symlink_to("../outside")
    (workspace / "absolute").symlink_to(outside)
    for lines in ((f"*** Add File: {path}2", "+x"), (f"*** Delete File: {path}",), (f"*** Update File: {path}", "-x")):
        assert (await error_of(workspace, *lines)).startswith("EACCES:")
    (workspace / "mine").write_text("x\n")
    assert (await error_of(workspace, "*** Update File: mine", f"*** Move to: {path}2")).startswith("EACCES:")
    assert os.listdir(outside) == ["x"] and (outside / "x").read_text() == "x\n"


async def test_where_nothing_may_be_written_a_patch_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    assert (await error_of(tmp_path, "*** Delete File: a", read_only=True)).startswith("EROFS:")


async def test_an_endless_patch_is_refused(tmp_path: Path) -> None:
    assert "make several of it" in await error_of(tmp_path, "*** Add File: a", *["+" + "x" * 1000] * 1100)
