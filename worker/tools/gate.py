"""Lets a command pass, or has people asked about it (SPEC 5.7).

A question that is not answered while the turn can wait leaves a permission behind when it is allowed later: the same
command, in the same session and folder, once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from protocol import messages as m
from protocol.approvals import EXPIRY, Ask, ExecPolicy, Security, approval_id, tightened
from protocol.tasks import Tasks
from worker.tools import approvals
from worker.tools.base import Context, ToolError, ToolResult

log = logging.getLogger(__name__)

#: Permissions kept for commands that may be tried again.
_MOST_KEPT = 64


class Approver(Protocol):
    """Asks the router (`worker.calls.Calls`)."""

    async def approval(self, turn: str, command: str, workdir: str) -> m.Decision:
        """What the approvers say; `expired` when nobody says anything."""

    async def elevate(self, turn: str, command: str, workdir: str, timeout: float) -> m.Response:
        """Run the command outside of the sandbox. Raises ToolError."""


class Wish(NamedTuple):
    """A command that wants to run, in a real folder; `security` and `ask` are what the call itself asks for."""

    command: str
    folder: str
    env: Mapping[str, str]
    security: Security | None = None
    ask: Ask | None = None

    @property
    def shown(self) -> str:
        """What an approver sees: nothing that changes its meaning is left out."""
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.env.items()), self.command])


class Gate:
    """The exec policy of one agent. `patience` is how long a turn waits for an approver, in seconds."""

    def __init__(
        self,
        policy: ExecPolicy | None = None,
        approver: Approver | None = None,
        *,
        sandboxed: bool = False,
        patience: float = 300.0,
        path: str = "",
    ) -> None:
        self.policy = policy or ExecPolicy()
        self.approver = approver
        self.sandboxed = sandboxed
        self._patience = patience
        self._path = path
        self._tasks = Tasks(lambda name, error: log.error("%s failed: %s", name, error))
        self._permitted: dict[tuple[str, str, str], float] = {}

    def __repr__(self) -> str:
        return f"Gate({self.policy.security}, ask {self.policy.ask}, {len(self._tasks)} questions open)"

    async def enter(self, wish: Wish, context: Context, *, free: bool = False) -> ToolResult | None:
        """None when the command may run, else what the model is told. Raises ToolError for a refusal.

        `free`: the sender may do without approvals; what is denied stays denied.
        """
        policy = tightened(self.policy, wish.security, wish.ask)
        verdict = approvals.decide(policy, wish.command, with_env=bool(wish.env), find=self._finder(wish.folder))
        if verdict.action == "run" or (free and policy.security != "deny") or self._take(context, wish):
            return None
        if verdict.action == "refuse" or self.approver is None:
            raise ToolError(f"command not run: {verdict.reason}")
        return await self._ask(policy, wish, context, self.approver)

    async def _ask(self, policy: ExecPolicy, wish: Wish, context: Context, approver: Approver) -> ToolResult | None:
        id = approval_id(context.id, wish.shown, wish.folder)
        question = self._tasks.start(approver.approval(context.id, wish.shown, wish.folder), f"approval {id}")
        try:
            # Not awaited itself: it outlives the tool, and what comes of it late is a permission.
            await asyncio.wait((question,), timeout=self._patience)
        except asyncio.CancelledError:
            self._keep_late(question, wish, context)
            raise
        if not question.done():
            self._keep_late(question, wish, context)
            return pending(id)
        self._settle(question.result(), policy, wish)
        return None

    def _settle(self, decision: m.Decision, policy: ExecPolicy, wish: Wish) -> None:
        if decision in ("allow-once", "allow-always"):
            return
        if decision == "deny":
            raise ToolError("command not run: an approver said no")
        find = self._finder(wish.folder)
        if not approvals.after_silence(policy, wish.command, with_env=bool(wish.env), find=find):
            raise ToolError("command not run: nobody approved it in time")

    def _keep_late(self, question: asyncio.Task[m.Decision], wish: Wish, context: Context) -> None:
        def decided(task: asyncio.Task[m.Decision]) -> None:
            if task.cancelled() or task.exception() is not None or not task.result().startswith("allow"):
                return
            until = asyncio.get_running_loop().time() + EXPIRY
            self._permitted[context.session_key, wish.shown, wish.folder] = until
            while len(self._permitted) > _MOST_KEPT:
                del self._permitted[next(iter(self._permitted))]

        question.add_done_callback(decided)

    def _take(self, context: Context, wish: Wish) -> bool:
        """Use up a permission for exactly this, if there is one."""
        until = self._permitted.pop((context.session_key, wish.shown, wish.folder), 0.0)
        return asyncio.get_running_loop().time() < until

    def _finder(self, folder: str) -> approvals.Find:
        """How the shell finds a program from that folder; nothing at all where PATH names no certain places."""
        certain = all(part.startswith("/") for part in self._path.split(":"))

        def find(program: str) -> str:
            if "/" in program:
                return program if program.startswith("/") else os.path.join(folder, program)
            return (shutil.which(program, path=self._path) or "") if certain else ""

        return find


def pending(id: str) -> ToolResult:
    """The answer while nobody has decided (SPEC 5.5)."""
    return ToolResult(
        f"status: approval-pending\nid: {id}\n\nThe command was not run. An approver was asked; when it is allowed, "
        "run exactly the same command again."
    )
