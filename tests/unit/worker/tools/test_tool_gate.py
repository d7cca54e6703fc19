"""Commands that need an approval wait for it, and run once when it comes late; elevated ones leave by the router."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m
from protocol.approvals import ExecPolicy, approval_id
from worker.tools.access import FileAccess
from worker.tools.base import Context, ToolError, ToolResult
from worker.tools.exec import ExecTool
from worker.tools.gate import Gate
from worker.tools.processes import Processes

PATH = "/usr/bin:/bin"
ASK = ExecPolicy(security="allowlist", ask="on-miss", allowlist=("pwd",))
ALICE = Context("m1", "agent:main:main", m.Grant(elevated="ask"))


class Approvers:
    """Answers every question with what is put into `answer`; `asked` is what they were shown."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[m.Decision] = asyncio.get_running_loop().create_future()
        self.asked: list[tuple[str, str, str]] = []
        self.elevated: list[tuple[str, str, str, float]] = []

    async def approval(self, turn: str, command: str, workdir: str) -> m.Decision:
        self.asked.append((turn, command, workdir))
        return await asyncio.shield(self.answer)

    async def elevate(self, turn: str, command: str, workdir: str, timeout: float) -> m.Response:
        self.elevated.append((turn, command, workdir, timeout))
        return m.Response(request=1, ok=True, text="from the host")

    def say(self, decision: m.Decision) -> None:
        self.answer.set_result(decision)


@pytest.fixture
async def approvers() -> Approvers:
    return Approvers()


def tool(folder: Path, gate: Gate) -> ExecTool:
    return ExecTool(FileAccess(folder), Processes(), {"PATH": PATH}, 30, gate)


async def run(tool: ExecTool, command: str, context: Context = ALICE, **arguments: Any) -> ToolResult:
    return await tool.run({"command": command, **arguments}, context)


async def test_what_is_listed_runs_without_a_question(tmp_path: Path, approvers: Approvers) -> None:
    exec_ = tool(tmp_path, Gate(ASK, approvers, path=PATH))
    assert (await run(exec_, "pwd")).text == str(tmp_path)
    assert not approvers.asked


async def test_an_approved_command_runs_in_the_same_call(tmp_path: Path, approvers: Approvers) -> None:
    exec_ = tool(tmp_path, Gate(ASK, approvers, path=PATH))
    call = asyncio.ensure_future(run(exec_, "echo $A", env={"A": "it is"}))
    await asyncio.sleep(0)
    approvers.say("allow-once")
    assert await call == ToolResult("it is")
    assert approvers.asked == [("m1", "A='it is' echo $A", str(tmp_path))]


@pytest.mark.parametrize(("decision", "reason"), [("deny", "said no"), ("expired", "in time")])
async def test_without_an_approval_nothing_runs(
    tmp_path: Path, approvers: Approvers, decision: m.Decision, reason: str
) -> None:
    approvers.say(decision)
    with pytest.raises(ToolError, match=reason):
        await run(tool(tmp_path, Gate(ASK, approvers, path=PATH)), "touch made")
    assert not (tmp_path / "made").exists()


async def test_a_late_approval_is_a_permission_for_the_same_command_once(tmp_path: Path, approvers: Approvers) -> None:
    exec_ = tool(tmp_path, Gate(ASK, approvers, path=PATH, patience=0.01))
    result = await run(exec_, "echo a > b")
    id = approval_id("m1", "echo a > b", str(tmp_path))
    assert result.text.startswith(f"status: approval-pending\nid: {id}\n") and not (tmp_path / "b").exists()
    approvers.say("allow-once")
    await asyncio.sleep(0.01)
    elsewhere = Context("m2", "agent:main:other")
    approvers.answer = asyncio.get_running_loop().create_future()
    for command, context in (("echo x > b", ALICE), ("echo a > b", elsewhere)):
        assert "approval-pending" in (await run(exec_, command, context)).text
    assert not (tmp_path / "b").exists()
    assert await run(exec_, "echo a > b") == ToolResult("(no output)")
    assert "approval-pending" in (await run(exec_, "echo a > b")).text


async def test_without_anybody_to_ask_a_miss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="command not run: exec is limited to an allowlist: id is not on it"):
        await run(tool(tmp_path, Gate(ASK, path=PATH)), "id")


async def test_a_call_can_only_make_the_policy_stricter(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="id is not on it"):
        await run(tool(tmp_path, Gate(ASK, path=PATH)), "id", security="full", ask="off")
    with pytest.raises(ToolError, match="exec is denied"):
        await run(tool(tmp_path, Gate()), "id", security="deny")


async def test_a_program_of_the_workspace_is_not_the_listed_one(tmp_path: Path) -> None:
    (tmp_path / "pwd").write_text("#!/bin/sh\necho hostile\n")
    (tmp_path / "pwd").chmod(0o755)
    exec_ = tool(tmp_path, Gate(ASK, path=PATH))
    assert (await run(exec_, "pwd")).text == str(tmp_path)
    with pytest.raises(ToolError, match="not on it"):
        await run(exec_, "./pwd")
    with pytest.raises(ToolError, match="not on it"):
        await run(tool(tmp_path, Gate(ASK, path=f":{PATH}")), "pwd")


async def test_elevated_needs_a_sender_who_may(tmp_path: Path, approvers: Approvers) -> None:
    exec_ = tool(tmp_path, Gate(approver=approvers, sandboxed=True))
    with pytest.raises(ToolError, match=r"tools\.elevated\.allowFrom"):
        await run(exec_, "id", Context("m1", "k"), elevated=True)
    assert not approvers.elevated


async def test_elevated_in_a_sandbox_leaves_by_the_router(tmp_path: Path, approvers: Approvers) -> None:
    exec_ = tool(tmp_path, Gate(approver=approvers, sandboxed=True))
    assert await run(exec_, "touch made", elevated=True, workdir="/", timeout=5) == ToolResult("from the host")
    assert approvers.elevated == [("m1", "touch made", "/", 5)] and not (tmp_path / "made").exists()
    with pytest.raises(ToolError, match="env cannot be given"):
        await run(exec_, "id", elevated=True, env={"A": "b"})
    denied = tool(tmp_path, Gate(ExecPolicy(security="deny"), approvers, sandboxed=True))
    with pytest.raises(ToolError, match="exec is denied"):
        await run(denied, "id", elevated=True)


async def test_on_the_host_full_does_without_approvals_but_not_without_permission(tmp_path: Path) -> None:
    full = Context("m1", "k", m.Grant(elevated="full"))
    exec_ = tool(tmp_path, Gate(ASK, path=PATH))
    assert await run(exec_, "echo hi > a; cat a", full, elevated=True) == ToolResult("hi")
    with pytest.raises(ToolError):
        await run(exec_, "echo hi > a; cat a", full)
    with pytest.raises(ToolError):
        await run(exec_, "echo hi > a; cat a", ALICE, elevated=True)
    with pytest.raises(ToolError, match="denied"):
        await run(tool(tmp_path, Gate(ExecPolicy(security="deny"))), "id", full, elevated=True)


@pytest.mark.parametrize(
    ("sandboxed", "arguments", "reason"),
    [
        (False, {"host": "node"}, "no node"),
        (False, {"host": "sandbox"}, "would not run in a sandbox"),
        (True, {"host": "sandbox", "elevated": True}, "would not run in a sandbox"),
        (True, {"host": "gateway"}, "needs elevated"),
    ],
)
async def test_a_host_that_is_not_there_is_an_error(
    tmp_path: Path, sandboxed: bool, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ToolError, match=reason):
        await run(tool(tmp_path, Gate(sandboxed=sandboxed)), "id", **arguments)
