"""Where the file tools may go, in each kind of place, also while somebody swaps links under them."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from worker.tools.access import MAX_NEW_FOLDERS, FileAccess
from worker.tools.base import Context, Tool, ToolError
from worker.tools.beneath import Finder, by_walk, has_openat2
from worker.tools.beneath import by_kernel as by_openat2
from worker.tools.files import EditTool, ReadTool, WriteTool
from worker.tools.storing import MAX_WRITE

LIBC = ctypes.CDLL(None, use_errno=True)
FINDERS = [pytest.param(by_walk, id="walk")]
if has_openat2():
    FINDERS.append(pytest.param(by_openat2, id="openat2"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    (folder / "real").mkdir(parents=True)
    (folder / "real/file").write_text("inside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").write_text("outside")
    return folder


async def use(tool: Tool, **arguments: Any) -> str:
    return (await tool.run(arguments, Context())).text


async def error_of(tool: Tool, **arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        await tool.run(arguments, Context())
    return str(caught.value)


def exchange(one: Path, other: Path) -> None:
    """Both change places in one instant (renameat2(2), RENAME_EXCHANGE)."""
    assert LIBC.renameat2(-100, bytes(one), -100, bytes(other), 2) == 0


# --- within a workspace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    "path",
    ["../out/file", "{root}/out/file", "link", "absolute", "folder/file", "real/../../out/file", "new/../../out/file",
     "{root}/ws/../out/file", "folder/new", "/proc/self/root{root}/out/file", "/dev/null", "/proc/self/environ"],
)  # fmt: skip
async def test_no_path_leads_out_of_the_workspace(workspace: Path, find: Finder, path: str) -> None:
    root = workspace.parent
    (workspace / "link").symlink_to("../out/file")
    (workspace / "absolute").symlink_to(root / "out/file")
    (workspace / "folder").symlink_to("../out")
    access = FileAccess(workspace, workspace_only=True, find=find)
    path = path.format(root=root)
    for tool, more in (
        (ReadTool(access), {}),
        (WriteTool(access), {"content": "x"}),
        (EditTool(access), {"oldText": "out", "newText": "in"}),
    ):
        assert (await error_of(tool, path=path, **more)).split(":")[0] in ("EACCES", "ENOENT")
    assert sorted(os.listdir(root / "out")) == ["file"]
    assert (root / "out/file").read_text() == "outside"


@pytest.mark.parametrize("find", FINDERS)
async def test_links_within_the_workspace_work(workspace: Path, find: Finder) -> None:
    (workspace / "link").symlink_to("real/file")
    (workspace / "folder").symlink_to("real")
    (workspace / "later").symlink_to("real/later")
    access = FileAccess(workspace, workspace_only=True, find=find)
    assert await use(ReadTool(access), path=f"{workspace}/folder/file") == "inside"
    await use(WriteTool(access), path="link", content="new")
    await use(WriteTool(access), path="later", content="late")
    assert (workspace / "link").is_symlink() and (workspace / "real/file").read_text() == "new"
    assert (workspace / "real/later").read_text() == "late"


@pytest.mark.parametrize("find", FINDERS)
async def test_a_racing_command_wins_nothing(workspace: Path, find: Finder) -> None:
    """A thread swaps a folder for links to the outside, as a command of the agent could, while the tools work in it."""
    (workspace / "evil").symlink_to("../out")
    (workspace / "worse").symlink_to(workspace.parent / "out")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for other in ("evil", "worse"):
                exchange(workspace / "real", workspace / other)
                exchange(workspace / "real", workspace / other)

    access = FileAccess(workspace, workspace_only=True, find=find)
    read, write, seen = ReadTool(access), WriteTool(access), set()
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(400):
            for tool, arguments in (
                (read, {"path": "real/file"}),
                (write, {"path": f"real/{number}/deep", "content": "x"}),
                (write, {"path": "real/file", "content": "inside"}),
            ):
                try:
                    seen.add((await tool.run(arguments, Context())).text)
                except ToolError as error:
                    seen.add(str(error).split(":")[0])
    finally:
        over.set()
        thread.join()
    assert "outside" not in seen and "inside" in seen
    assert sorted(os.listdir(workspace.parent / "out")) == ["file"]
    assert (workspace.parent / "out/file").read_text() == "outside"


async def test_a_link_swapped_in_for_the_file_itself_is_replaced_and_not_followed(workspace: Path) -> None:
    """Between finding the folder and renaming the new file into it."""
    access = FileAccess(workspace, workspace_only=True)
    folder, name = access.open_folder("real/file")
    (workspace / "real/file").unlink()
    (workspace / "real/file").symlink_to(workspace.parent / "out/file")
    assert name == "file"
    os.close(folder)
    assert (await error_of(WriteTool(access), path="real/file", content="x")).startswith("EACCES:")
    assert (workspace.parent / "out/file").read_text() == "outside"


# --- hard cases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a\0b", "path must be"), ("", "path must be"), ("\udcff\ud800", "path must be"), ("n" * 300, "ENAMETOOLONG"),
        ("a/" * 5000 + "x", "ENAMETOOLONG"), (".", "EISDIR"), ("real", "EISDIR"), ("real/file/x", "ENOTDIR"),
        ("real/file/", "ENOTDIR"), ("pipe", "EINVAL"), ("socket", "EINVAL"), ("loop", "ELOOP"), ("~/real", "EISDIR"),
        ("missing", "ENOENT"),
    ],
)  # fmt: skip
async def test_what_is_no_readable_file_is_an_error(workspace: Path, only: bool, path: str, problem: str) -> None:
    os.mkfifo(workspace / "pipe")
    (workspace / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(workspace / "socket"))
    assert (await error_of(ReadTool(FileAccess(workspace, workspace_only=only)), path=path)).startswith(problem)


@pytest.mark.parametrize("name", ["pipe", "socket", "real"])
async def test_what_is_no_file_is_not_written_over(workspace: Path, name: str) -> None:
    os.mkfifo(workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(workspace / "socket"))
    error = await error_of(WriteTool(FileAccess(workspace, workspace_only=True)), path=name, content="x")
    assert error.startswith("EINVAL: not a regular file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
async def test_a_device_is_not_read(workspace: Path) -> None:
    os.mknod(workspace / "zero", 0o020600, os.makedev(1, 5))
    error = await error_of(ReadTool(FileAccess(workspace, workspace_only=True)), path="zero")
    assert error.startswith("EINVAL: not a regular file")


@pytest.mark.timeout(20)
async def test_sparse_giants_are_refused_and_large_ones_are_read_on_from_anywhere(workspace: Path) -> None:
    access = FileAccess(workspace, workspace_only=True)
    with (workspace / "giant").open("wb") as file:
        file.truncate(1 << 42)
    assert "the file is over" in await error_of(ReadTool(access), path="giant")
    assert "the file is over" in await error_of(EditTool(access), path="giant", oldText="x", newText="y")
    (workspace / "large").write_bytes(b"x\n" * 10_000_000 + b"last")
    assert await use(ReadTool(access), path="large", offset=10_000_001) == "last"
    assert "(10000001 lines total)" in await error_of(ReadTool(access), path="large", offset=20_000_000)


async def test_one_call_writes_only_so_much_and_makes_only_so_many_folders(workspace: Path) -> None:
    write = WriteTool(FileAccess(workspace, workspace_only=True))
    assert "more than one call may write" in await error_of(write, path="big", content="x" * (MAX_WRITE + 1))
    deep = "/".join(["d"] * (MAX_NEW_FOLDERS + 1))
    assert "new folders at once" in await error_of(write, path=f"{deep}/x", content="x")
    assert sorted(os.listdir(workspace)) == ["real"]


async def test_no_descriptor_stays_open(workspace: Path) -> None:
    access = FileAccess(workspace, workspace_only=True)
    await use(ReadTool(access), path="real/file")
    before = len(os.listdir("/proc/self/fd"))
    await use(WriteTool(access), path="a/b/c", content="x")
    for path in ("../x", "real", "missing/../..", "real/file/x"):
        await error_of(ReadTool(access), path=path)
        await error_of(WriteTool(access), path=path, content="x")
    assert len(os.listdir("/proc/self/fd")) == before
    access.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


async def test_a_new_workspace_in_the_old_ones_place_is_noticed(workspace: Path) -> None:
    access = FileAccess(workspace, workspace_only=True)
    assert await use(ReadTool(access), path="real/file") == "inside"
    (workspace / "real/file").unlink()
    (workspace / "real").rmdir()
    workspace.rmdir()
    workspace.mkdir()
    await use(WriteTool(access), path="new", content="x")
    assert os.listdir(workspace) == ["new"]


async def test_a_workspace_may_be_called_by_the_link_that_leads_to_it(workspace: Path) -> None:
    link = workspace.parent / "link"
    link.symlink_to(workspace)
    access = FileAccess(link, workspace_only=True)
    for path in (f"{link}/real/file", f"{workspace}/real/file", "real/file"):
        assert await use(ReadTool(access), path=path) == "inside"


# --- in a container ----------------------------------------------------------------------------------------------


async def test_in_a_container_only_the_mounts_are_there(workspace: Path) -> None:
    access = FileAccess(workspace, workspace_only=True, sandboxed=True)
    for path in ("/etc/hostname", "/usr/bin/env", "../out/file", "/openclaw/sessions"):
        assert (await error_of(ReadTool(access), path=path)).startswith("EACCES: the sandbox has only what lies in")
    assert await use(ReadTool(access), path=f"{workspace}/real/file") == "inside"


async def test_where_the_agents_own_workspace_is_read_only_it_is_read_and_nothing_is_written(workspace: Path) -> None:
    own = workspace.parent / "agent"
    own.mkdir()
    (own / "SOUL.md").write_text("soul")
    (own / "away").symlink_to("../out/file")
    access = FileAccess(workspace, workspace_only=True, sandboxed=True, agent_workspace=str(own))
    assert await use(ReadTool(access), path=f"{own}/SOUL.md") == "soul"
    assert (await error_of(ReadTool(access), path=f"{own}/away")).startswith("EACCES:")
    for path in (f"{own}/SOUL.md", "mine"):
        assert (await error_of(WriteTool(access), path=path, content="x")).startswith("EROFS: read-only file system")
        edit = EditTool(access)
        assert (await error_of(edit, path=path, oldText="s", newText="x")).startswith("EROFS: read-only file system")
    assert (own / "SOUL.md").read_text() == "soul"


# --- on the host ---------------------------------------------------------------------------------------------------


async def test_on_the_host_links_lead_anywhere_but_to_forbidden_places(workspace: Path) -> None:
    root = workspace.parent
    (root / "closed/open").mkdir(parents=True)
    (root / "closed/key").write_text("key")
    (root / "closed/open/file").write_text("mine")
    for name, target in {"a": "out/file", "b": "closed/key", "c": "closed/open/file"}.items():
        (workspace / name).symlink_to(root / target)
    access = FileAccess(workspace, forbidden=(str(root / "closed"),), allowed=(str(root / "closed/open"),))
    assert await use(ReadTool(access), path="a") == "outside"
    assert await use(ReadTool(access), path="c") == "mine"
    assert (await error_of(ReadTool(access), path="b")).startswith("EACCES: this place is off limits")
    (workspace / "planted").symlink_to(root / "closed/new")
    assert (await error_of(WriteTool(access), path="planted", content="x")).startswith("EACCES:")
    await use(WriteTool(access), path="a", content="changed")
    assert (root / "out/file").read_text() == "changed" and (workspace / "a").is_symlink()
    assert not (root / "closed/new").exists()
