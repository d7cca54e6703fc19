"""read, write, edit: the texts models know, the limits, and nothing outside the rules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from worker.tools.access import FileAccess
from worker.tools.base import MAX_RESULT, Context, Tool, ToolError
from worker.tools.files import EditTool, ReadTool, WriteTool


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "secret.txt").write_text("top secret")
    return folder


def access(workspace: Path, **fields: Any) -> FileAccess:
    return FileAccess(workspace, forbidden=(str(workspace.parent / "other"),), **fields)


async def use(tool: Tool, **arguments: Any) -> str:
    return (await tool.run(arguments, Context())).text


async def error_of(tool: Tool, **arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        await tool.run(arguments, Context())
    return str(caught.value)


# --- read ---------------------------------------------------------------------------------------------------------


async def test_part_of_a_file_and_how_to_read_on(workspace: Path) -> None:
    (workspace / "a").write_text("\n".join(str(number) for number in range(1, 23)) + "\n")
    read = ReadTool(access(workspace))
    assert await use(read, path="a", limit=3) == "1\n2\n3\n\n[19 more lines in file. Use offset=4 to continue.]"
    assert await use(read, path="a", offset=21, limit="5") == "21\n22"
    assert await error_of(read, path="a", offset=40) == "Offset 40 is beyond end of file (22 lines total)"


async def test_reading_on_shows_every_line_exactly_once(workspace: Path) -> None:
    lines = [f"{number} " + "x" * (number % 300) for number in range(500)]
    (workspace / "a").write_text("\n".join(lines))
    read, seen, offset = ReadTool(access(workspace)), [], 1
    while True:
        text = await use(read, path="a", offset=offset)
        assert len(text) <= MAX_RESULT
        body, _, hint = text.partition("\n\n[")
        seen += body.split("\n")
        if not hint:
            break
        offset = int(hint.partition("offset=")[2].split()[0])
    assert seen == lines


async def test_no_more_than_2000_lines_and_one_endless_line_is_cut(workspace: Path) -> None:
    (workspace / "a").write_text("x\n" * 5000)
    (workspace / "b").write_text("y" * 5_000_000 + "\nlast\n")
    read = ReadTool(access(workspace))
    assert (await use(read, path="a")).endswith("[3000 more lines in file. Use offset=2001 to continue.]")
    text = await use(read, path="b")
    assert "more bytes in this line]" in text and len(text) <= MAX_RESULT
    assert text.endswith("\nlast")


async def test_missing_files_folders_pictures_and_empty_files(workspace: Path) -> None:
    (workspace / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n0000")
    (workspace / "e").touch()
    read = ReadTool(access(workspace))
    assert await error_of(read, path="/nope") == "ENOENT: no such file or directory, access '/nope'"
    assert (await error_of(read, path=".")).startswith("EISDIR:")
    assert await use(read, path="p.png") == "[image/png, 12 bytes: pictures cannot be shown here]"
    assert await use(read, path="e") == ""
    assert (await error_of(read)).startswith("invalid arguments: Object missing required field `path`")
    assert await error_of(read, path="a\0b") == "path must be a file name"


async def test_a_pipe_or_a_device_is_not_read(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    read = ReadTool(access(workspace))
    assert "not a regular file" in await error_of(read, path="pipe")
    for path in ("/dev/zero", "/proc/self/environ", "/proc/self/mem", "/sys/kernel/notes"):
        assert (await error_of(read, path=path)).startswith("EACCES: file tools do not work under")


ESCAPES = (
    "../other/secret.txt",
    "{root}/other/secret.txt",
    "link",
    "folder/secret.txt",
    "{root}/ws/../other/secret.txt",
    "/proc/self/root{root}/other/secret.txt",
)


@pytest.mark.parametrize("path", ESCAPES)
async def test_no_way_leads_to_a_forbidden_file(workspace: Path, path: str) -> None:
    (workspace / "link").symlink_to(workspace.parent / "other/secret.txt")
    (workspace / "folder").symlink_to(workspace.parent / "other")
    path = path.format(root=workspace.parent)
    rules = access(workspace)
    assert (await error_of(ReadTool(rules), path=path)).startswith("EACCES:")
    assert (await error_of(WriteTool(rules), path=path, content="x")).startswith("EACCES:")
    edits = [{"oldText": "top", "newText": "no"}]
    assert (await error_of(EditTool(rules), path=path, edits=edits)).startswith("EACCES:")
    assert (workspace.parent / "other/secret.txt").read_text() == "top secret"


async def test_a_forbidden_place_may_be_made_later_and_stays_forbidden(workspace: Path) -> None:
    rules = FileAccess(workspace, forbidden=(str(workspace.parent / "later"),))
    assert (await error_of(WriteTool(rules), path="../later/x", content="x")).startswith("EACCES:")
    assert not (workspace.parent / "later").exists()


async def test_a_prefix_is_a_folder_and_not_a_beginning_of_a_name(workspace: Path) -> None:
    (workspace.parent / "other2").write_text("fine")
    assert await use(ReadTool(access(workspace)), path="../other2") == "fine"


async def test_workspace_only_keeps_everything_inside(workspace: Path) -> None:
    (workspace.parent / "free").write_text("x")
    rules = access(workspace, workspace_only=True)
    assert "tools.fs.workspaceOnly" in await error_of(ReadTool(rules), path="../free")
    assert "tools.fs.workspaceOnly" in await error_of(WriteTool(rules), path="/tmp/x", content="x")
    assert await use(WriteTool(rules), path="in/side", content="x") == "Successfully wrote 1 bytes to in/side"


async def test_home_is_the_workspace(workspace: Path) -> None:
    (workspace / "a").write_text("x")
    assert await use(ReadTool(access(workspace)), path="~/a") == "x"


# --- write --------------------------------------------------------------------------------------------------------


async def test_write_makes_folders_counts_bytes_and_keeps_the_mode(workspace: Path) -> None:
    write = WriteTool(access(workspace))
    assert await use(write, path="a/b.txt", content="größer 14 by\n") == "Successfully wrote 15 bytes to a/b.txt"
    assert (workspace / "a/b.txt").read_text() == "größer 14 by\n"
    (workspace / "a/b.txt").chmod(0o755)
    await use(write, path="a/b.txt", content="x")
    assert (workspace / "a/b.txt").stat().st_mode & 0o777 == 0o755
    assert os.listdir(workspace / "a") == ["b.txt"]


async def test_writing_onto_a_folder_or_through_a_file_is_an_error(workspace: Path) -> None:
    write = WriteTool(access(workspace))
    (workspace / "dir").mkdir()
    (workspace / "file").touch()
    assert "not a regular file" in await error_of(write, path="dir", content="x")
    assert (await error_of(write, path="file/x", content="x")).split(":")[0] in ("ENOTDIR", "EEXIST")
    assert (await error_of(write, path=".", content="x")).startswith("EISDIR:")
    assert (await error_of(write, path="n" * 300, content="x")).startswith("ENAMETOOLONG:")


async def test_large_files_are_written_whole(workspace: Path) -> None:
    text = "x" * 3_000_000
    await use(WriteTool(access(workspace)), path="big", content=text)
    assert (workspace / "big").read_text() == text


# --- edit ---------------------------------------------------------------------------------------------------------


async def test_all_edits_apply_to_the_original(workspace: Path) -> None:
    (workspace / "a").write_text("one two three")
    edits = [{"oldText": "three", "newText": "one"}, {"oldText": "one", "newText": "three"}]
    text = await use(EditTool(access(workspace)), path="a", edits=edits)
    assert text == "Successfully replaced 2 block(s) in a."
    assert (workspace / "a").read_text() == "three two one"


async def test_the_flat_form_is_accepted(workspace: Path) -> None:
    (workspace / "a").write_text("x y")
    assert (await use(EditTool(access(workspace)), path="a", oldText="y", newText="z")).startswith("Successfully")
    assert (workspace / "a").read_text() == "x z"


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([], "edits must hold at least one replacement"),
        ([("", "x")], "oldText must not be empty"),
        ([("zz", "x")], "Could not find the exact text in a. The old text must match exactly including all whitespace"),
        ([("b", "x")], "Found 2 occurrences of the text in a. Give more of its surroundings."),
        ([("a b", "x"), ("b c", "y")], "Two edits in a overlap. Merge them into one."),
        ([("a b", "x"), ("zz", "y")], "Could not find the exact text in a."),
    ],
)
async def test_a_wrong_edit_changes_nothing(workspace: Path, edits: list[tuple[str, str]], reason: str) -> None:
    (workspace / "a").write_text("a b c b")
    given = [{"oldText": old, "newText": new} for old, new in edits]
    assert (await error_of(EditTool(access(workspace)), path="a", edits=given)).startswith(reason)
    assert (workspace / "a").read_text() == "a b c b"


async def test_windows_line_ends_stay(workspace: Path) -> None:
    (workspace / "a").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    await use(EditTool(access(workspace)), path="a", oldText="one\ntwo", newText="1\n2")
    assert (workspace / "a").read_bytes() == b"1\r\n2\r\nthree\r\n"


async def test_what_is_not_text_is_not_edited(workspace: Path) -> None:
    (workspace / "a").write_bytes(b"\xff\xfe\x00")
    assert await error_of(EditTool(access(workspace)), path="a", oldText="x", newText="y") == "a is not UTF-8 text"
