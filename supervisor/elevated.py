"""The broker: commands of agents that run on the host, outside of every sandbox, because an allowed sender asked.

The router has decided who may; here it is written down first (`logs/audit.jsonl`, append only) and then run, as the
gateway's user, in a session of its own, with limits on time, output and number. What cannot be written down is not
run. Whatever a command leaves running is ended with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from protocol import messages as m
from protocol.errors import UserError
from protocol.paths import Paths
from protocol.process import LINK_MARK
from protocol.tasks import Tasks
from supervisor.audit import AuditLog
from supervisor.config import approvals
from supervisor.host_command import HostCommand
from supervisor.logs import Journal

__all__ = ["AuditLog", "Broker", "Home"]

#: Commands at once; more are refused.
MAX_RUNNING = 4
#: Longest command, in bytes, and seconds one may run at most.
MAX_COMMAND, MAX_TIMEOUT = 128 * 1024 - 1, 3600.0
#: Variables of the gateway's user that a command sees; no secret of the gateway is among them.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR")


class Home(NamedTuple):
    """Where an agent's commands start, and whether the operator denies it all commands."""

    workspace: Path
    denied: bool = False


class Broker:
    """Runs what the router hands over. `home_of` gives None for an agent that is not configured.

    `sweep` is called when a command has ended: what left its process group is an orphan of ours.
    """

    def __init__(
        self,
        audit: AuditLog,
        paths: Paths,
        home_of: Callable[[str], Home | None],
        tell_router: Callable[[m.SupervisorToRouter], object],
        tasks: Tasks,
        journal: Journal,
        sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self._sweep = sweep
        self._audit = audit
        self._paths = paths
        self._home_of = home_of
        self._tell_router = tell_router
        self._tasks = tasks
        self._journal = journal
        self._running: dict[int, HostCommand] = {}
        self._begun = 0

    def __repr__(self) -> str:
        return f"<Broker {len(self._running)} running>"

    @property
    def pids(self) -> set[int]:
        """The commands that run, which are no orphans."""
        return {one.pid for one in self._running.values()}

    def run(self, request: m.RunElevated) -> None:
        """Run it; the router is told how it ended."""
        self._begun += 1
        self._tasks.start(self._answer(request), f"elevated command of {request.agent}")

    def remember(self, message: m.RememberApproval) -> None:
        """An approver said "always": into exec-approvals.json, from which every worker gets its rules."""
        self._tasks.start(self._remember(message), f"approval for {message.agent}")

    async def close(self) -> None:
        """End what runs."""
        for command in self._running.values():
            command.kill()
        while self._running:
            await asyncio.wait([one.over for one in self._running.values()])
            await asyncio.sleep(0)

    async def _answer(self, request: m.RunElevated) -> None:
        try:
            ok, text = await self._perform(request)
        except OSError as error:
            ok, text = False, f"command not run: {error.strerror or error}"
            self._journal.log("error", "elevated", f"agent {request.agent}: {text}")
        finally:
            self._begun -= 1
        self._tell_router(m.ElevatedResult(request=request.request, ok=ok, text=text))

    async def _perform(self, request: m.RunElevated) -> tuple[bool, str]:
        home = self._home_of(request.agent)
        if refusal := self._refusal(request, home):
            await asyncio.to_thread(self._audit.write, "elevated.refused", request, reason=refusal)
            return False, f"command not run: {refusal}"
        assert home is not None
        folder = _folder(home.workspace, request.workdir)
        await asyncio.to_thread(self._audit.write, "elevated.run", request, folder=str(folder))
        command = HostCommand(request.command, folder, self._environ())
        self._running[command.pid] = command
        try:
            end = await command.wait(min(max(request.timeout, 0.01), MAX_TIMEOUT))
        finally:
            del self._running[command.pid]
            self._sweep()
        outcome = {"code": end.code, "signal": end.signal, "timedOut": command.timed_out, "flooded": command.flooded}
        await asyncio.to_thread(self._audit.write, "elevated.ended", request, **outcome)
        return command.result(end)

    def _refusal(self, request: m.RunElevated, home: Home | None) -> str:
        if home is None:
            return f"agent {request.agent} is not configured"
        if home.denied:
            return "exec is denied to this agent (tools.exec.security or exec-approvals.json)"
        if len(request.command.encode("utf-8", "replace")) > MAX_COMMAND or "\0" in request.command + request.workdir:
            return f"it is longer than {MAX_COMMAND} bytes, or not text"
        return f"{MAX_RUNNING} elevated commands run already" if self._begun > MAX_RUNNING else ""

    def _environ(self) -> dict[str, str]:
        """The mark lets the next gateway find what a killed one left running."""
        kept = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
        mark = {LINK_MARK: f"{self._paths.run}/elevated", "OPENCLAW_SHELL": "exec"}
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **kept, **mark}

    async def _remember(self, message: m.RememberApproval) -> None:
        try:
            await asyncio.to_thread(approvals.remember, self._paths, message.agent, message.patterns)
        except (UserError, OSError) as error:
            self._journal.log("error", "approvals", f"agent {message.agent}: not remembered: {error}")
            return
        self._journal.log("info", "approvals", f"agent {message.agent}: allowed always: {', '.join(message.patterns)}")


def _folder(workspace: Path, workdir: str) -> Path:
    """Where a command starts: a folder of the host, else the agent's workspace. Raises OSError."""
    inner = workdir.removeprefix("/workspace") if f"{workdir}/".startswith("/workspace/") else workdir
    if inner.startswith("/") and inner == workdir:
        return Path(workdir)
    inner = inner.lstrip("/")
    wanted = Path(os.path.realpath(workspace / inner))
    if not wanted.is_relative_to(os.path.realpath(workspace)):
        raise OSError(0, "the folder is outside of the workspace")
    return wanted
