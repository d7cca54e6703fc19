"""exec: the texts, and limits that hold against what a hostile command may do."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.tools.access import FileAccess
from worker.tools.base import Context, ToolError, ToolResult
from worker.tools.exec import ExecTool
from worker.tools.processes import Capture, Processes, descendants

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/home/nobody", "LANG": "C.UTF-8"}


@pytest.fixture
def tool(tmp_path: Path) -> ExecTool:
    access = FileAccess(tmp_path, forbidden=("/root/.other",))
    return ExecTool(access, Processes(), ENVIRON, 30)


async def run(tool: ExecTool, command: str, **arguments: Any) -> ToolResult:
    return await tool.run({"command": command, **arguments}, Context())


async def until(fact: Callable[[], bool]) -> None:
    """Wait for something outside this process; fails after five seconds."""
    async with asyncio.timeout(5):
        while not fact():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_output_and_errors_come_together(tool: ExecTool, tmp_path: Path) -> None:
    assert await run(tool, "pwd; echo oops >&2") == ToolResult(f"{tmp_path}\noops")
    assert await run(tool, "true") == ToolResult("(no output)")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo x; exit 3", "x\n\n(Command exited with code 3)"),
        ("kill -9 $$", "(no output)\n\n(Command was ended by signal 9)"),
        ("no-such-program-here 2>/dev/null", "(no output)\n\n(Command exited with code 127)"),
    ],
)
async def test_a_failure_says_how_it_ended(tool: ExecTool, command: str, text: str) -> None:
    assert await run(tool, command) == ToolResult(text, is_error=True)


async def test_commands_give_way_to_their_worker(tool: ExecTool) -> None:
    assert await run(tool, "nice") == ToolResult(str(min(os.nice(0) + 5, 19)))


async def test_a_command_sees_only_what_it_is_given(tool: ExecTool) -> None:
    os.environ["TEST_SECRET_OF_OURS"] = "x"
    try:
        result = await run(tool, "env; ls -l /proc/self/fd | wc -l", env={"A": "b", "LD_PRELOAD": "/x"})
    finally:
        del os.environ["TEST_SECRET_OF_OURS"]
    lines = set(result.text.split("\n"))
    assert {"A=b", "OPENCLAW_SHELL=exec", "HOME=/home/nobody", "LANG=C.UTF-8", "PATH=/usr/bin:/bin"} <= lines
    assert "SECRET" not in result.text and "LD_PRELOAD" not in result.text
    assert int(result.text.split("\n")[-1]) <= 5


async def test_there_is_no_input_to_wait_for(tool: ExecTool) -> None:
    assert await run(tool, "cat") == ToolResult("(no output)")


async def test_the_folder_can_be_chosen_and_must_be_allowed(tool: ExecTool, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert (await run(tool, "pwd", workdir="sub")).text == str(tmp_path / "sub")
    for arguments, reason in (
        ({"workdir": "/root/.other"}, "EACCES:"),
        ({"workdir": "missing"}, "ENOENT:"),
        ({"env": {"PATH": "/evil"}}, "env must not replace PATH"),
        ({"env": {"A": "\0"}}, "invalid arguments:"),
        ({"background": True}, "background commands are not available"),
    ):
        with pytest.raises(ToolError, match=reason):
            await run(tool, "true", **arguments)
    with pytest.raises(ToolError, match="the command is over"):
        await run(tool, "x" * 200_000)


async def test_a_command_that_takes_too_long_is_ended_with_its_children(tool: ExecTool) -> None:
    result = await run(tool, "sleep 1000 & echo $!; sleep 1000", timeout=0.5)
    pid, _, ending = result.text.partition("\n\n")
    assert ending == "Command timed out after 0.5 seconds."
    assert result.is_error
    await until(lambda: not alive(int(pid)))


async def test_who_ignores_the_polite_signal_is_killed(tool: ExecTool) -> None:
    began = time.monotonic()
    result = await run(tool, "trap '' TERM; while :; do sleep 0.1; done", timeout=0.2)
    assert "timed out" in result.text
    assert time.monotonic() - began < 5


async def test_a_child_that_left_the_group_does_not_survive_the_timeout(tool: ExecTool) -> None:
    result = await run(tool, "setsid sleep 1000 & echo $!; wait", timeout=0.5)
    pid = int(result.text.split()[0])
    await until(lambda: not alive(pid))


async def test_cancelling_ends_the_command(tool: ExecTool, tmp_path: Path) -> None:
    running = asyncio.ensure_future(run(tool, "echo $$ > pid; sleep 1000"))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_what_was_left_running_is_ended_and_said(tool: ExecTool) -> None:
    result = await run(tool, "sleep 1000 & echo $!")
    pid, _, ending = result.text.partition("\n\n")
    assert ending == "(What the command left running was ended)"
    await until(lambda: not alive(int(pid)))


async def test_where_the_kernel_has_no_pidfd_a_command_ends_by_the_signal_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pidfd(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    processes = Processes()
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, processes.reap)
    tool = ExecTool(FileAccess(tmp_path), processes, ENVIRON, 30)
    try:
        first, second = await asyncio.gather(run(tool, "echo x; exit 3"), run(tool, "sleep 0.05; echo y"))
        assert (first.text, second.text) == ("x\n\n(Command exited with code 3)", "y")
        assert "timed out" in (await run(tool, "sleep 30", timeout=0.1)).text
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)


async def test_a_daemon_that_holds_the_output_does_not_hold_up_the_turn(tool: ExecTool) -> None:
    began = time.monotonic()
    result = await run(tool, "setsid sleep 20 & echo $!")
    assert time.monotonic() - began < 5
    os.kill(int(result.text.split()[0]), 9)


async def test_a_flood_is_cut_and_ended(tool: ExecTool) -> None:
    result = await run(tool, "yes")
    assert result.is_error
    assert "bytes left out" in result.text
    assert result.text.endswith(f"Command was ended: it wrote more than {10 * 1024 * 1024} bytes.")
    assert len(result.text) < 70_000


async def test_the_event_loop_turns_while_a_command_floods(tool: ExecTool) -> None:
    flood = asyncio.ensure_future(run(tool, "yes"))
    longest, last = 0.0, time.monotonic()
    while not flood.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    await flood
    assert longest < 1.0


def test_a_capture_keeps_the_beginning_and_the_end() -> None:
    capture = Capture(keep=8, limit=100)
    for piece in (b"abc", b"defgh", b"x" * 50, b"wxyz"):
        assert capture.add(piece)
    assert capture.text() == "abcd\n[… 54 bytes left out …]\nwxyz"
    assert not capture.add(b"x" * 100)
    whole = Capture(keep=8)
    whole.add(b"abcdefgh")
    assert whole.text() == "abcdefgh"


def test_descendants_are_found_across_sessions() -> None:
    assert os.getpid() in descendants(os.getppid())
    assert descendants(2**22 + 1) == set()
