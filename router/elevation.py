"""Commands outside of the sandbox: whose message may ask for them, and the way to the supervisor's broker.

A worker is not believed: who sent the message, which agent has it and how far that sender may go are known here. A
level of `ask` has every command allowed by a person first; what is allowed too late may be asked for again, once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from protocol import messages as m
from protocol.approvals import EXPIRY, approval_id
from protocol.envelope import Inbound
from protocol.tasks import Tasks
from router.approvals.desk import MAX_COMMAND, MAX_WORKDIR, Approvals
from router.approvals.rights import Rights
from router.spool.base import InboxRow

log = logging.getLogger(__name__)

#: Commands of one agent outside of the sandbox at once; the supervisor bounds those of all.
MAX_OF_AGENT = 2
#: Seconds a command may run at most.
MAX_TIMEOUT = 3600.0
#: Seconds a worker's call waits for an approver; a worker gives the router a minute beyond the command's own time.
PATIENCE = 45.0
#: Seconds for the supervisor's answer beyond the command's own time.
_GRACE = 30.0
#: Sessions whose `/elevated` is remembered, and permissions that came late.
_MOST_SESSIONS, _MOST_LATE = 2000, 200
_LEVELS: dict[str, m.Elevated] = {"on": "ask", "ask": "ask", "full": "full", "off": "off"}

#: Agent, session, channel, sender, command, folder: a late permission is for exactly this.
_Same = tuple[str, str, str, str, str, str]


class Elevation:
    """Who may leave the sandbox, and the commands that do. `is_out` tells whether a message is still worked on."""

    def __init__(
        self,
        rights: Rights,
        approvals: Approvals,
        tasks: Tasks,
        report: Callable[[m.RouterToSupervisor], None],
        is_out: Callable[[InboxRow], bool],
    ) -> None:
        self._rights = rights
        self._approvals = approvals
        self._tasks = tasks
        self._report = report
        self._is_out = is_out
        self._chosen: OrderedDict[tuple[str, str], m.Elevated] = OrderedDict()
        self._late: OrderedDict[_Same, float] = OrderedDict()
        self._running: dict[int, tuple[str, asyncio.Future[m.ElevatedResult]]] = {}
        self._number = 0

    def __repr__(self) -> str:
        return f"<Elevation {len(self._running)} running>"

    # --- who may ----------------------------------------------------------------------------------------------------

    def level(self, row: InboxRow) -> m.Elevated:
        """How far the sender of this message may go, in its session, now."""
        return self._level(row.agent, row.session_key, row.message)

    def _level(self, agent: str, session_key: str, message: Inbound) -> m.Elevated:
        if self._rights.closed_gates(agent, message):
            return "off"
        return self._chosen.get((agent, session_key), self._rights.elevated(agent).default)

    def command(self, agent: str, session_key: str, message: Inbound, text: str) -> str:
        """`/elevated [on|ask|full|off]`: show or choose the level of a session; gives what the sender is told."""
        if gates := self._rights.closed_gates(agent, message):
            listed = "\n".join(f"- {gate}" for gate in gates)
            return f"⚠️ elevated is not available to you. Failing gates:\n{listed}"
        if not text.strip():
            return f"⚙️ Elevated level: {self._level(agent, session_key, message)}. Options: off, ask, full."
        level = _LEVELS.get(text.strip().lower())
        if level is None:
            return "Usage: /elevated on | ask | full | off"
        self._chosen[agent, session_key] = level
        self._chosen.move_to_end((agent, session_key))
        while len(self._chosen) > _MOST_SESSIONS:
            self._chosen.popitem(last=False)
        log.info("%s: elevated %s, chosen by %s:%s", session_key, level, message.channel, message.sender.id)
        return _TOLD[level]

    # --- running ----------------------------------------------------------------------------------------------------

    async def run(self, row: InboxRow | None, wish: m.Elevate) -> m.Response:
        """Run this command in the name of the message `row`, if its sender may; None is nobody's message.

        The caller has checked that the worker that asks has this message, and that the tool policy leaves it `exec`.
        """
        refusal = self._refusal(row, wish)
        if refusal or row is None:
            return _no(wish, refusal)
        if self.level(row) == "ask" and not self._use_late(row, wish):
            if refusal := await self._approval(row, wish):
                return _no(wish, refusal)
            # Somebody took his time: what was true before need not be true now.
            if refusal := self._refusal(row, wish):
                return _no(wish, refusal)
        return await self._perform(row, wish)

    def finished(self, result: m.ElevatedResult) -> None:
        """The supervisor's broker has ended one."""
        _, answer = self._running.get(result.request, ("", None))
        if answer is not None and not answer.done():
            answer.set_result(result)

    def _refusal(self, row: InboxRow | None, wish: m.Elevate) -> str:
        if row is None or row.id != wish.turn or not self._is_out(row):
            return "command not run: this message is not worked on here"
        if len(wish.command) > MAX_COMMAND or len(wish.workdir) > MAX_WORKDIR or "\0" in wish.command + wish.workdir:
            return f"command not run: it is longer than {MAX_COMMAND} characters, or not text"
        if gates := self._rights.closed_gates(row.agent, row.message):
            return f"command not run: elevated is not available. Failing gates: {'; '.join(gates)}"
        if self.level(row) == "off":
            return "command not run: elevated is switched off in this session (/elevated ask)"
        if sum(agent == row.agent for agent, _ in self._running.values()) >= MAX_OF_AGENT:
            return f"command not run: {MAX_OF_AGENT} elevated commands of this agent run already; wait for one"
        return ""

    async def _approval(self, row: InboxRow, wish: m.Elevate) -> str:
        """Why it may not run, empty when it may."""
        name = f"approval of an elevated command of {row.agent}"
        question = self._tasks.start(self._approvals.ask(row, wish.command, wish.workdir, elevated=True), name)
        try:
            await asyncio.wait((question,), timeout=PATIENCE)
        finally:
            if not question.done():
                question.add_done_callback(lambda task: self._keep_late(task, row, wish))
        if not question.done():
            id = approval_id(row.id, wish.command, wish.workdir, elevated=True)
            return (
                f"status: approval-pending\nid: {id}\n\nThe command was not run. An approver was asked; when it is "
                "allowed, run exactly the same command again."
            )
        decision = question.result()
        if decision in ("allow-once", "allow-always"):
            return ""
        return "command not run: " + ("an approver said no" if decision == "deny" else "nobody approved it in time")

    def _keep_late(self, question: asyncio.Task[m.Decision], row: InboxRow, wish: m.Elevate) -> None:
        if question.cancelled() or question.exception() is not None or not question.result().startswith("allow"):
            return
        self._late[_same(row, wish)] = time.monotonic() + EXPIRY
        while len(self._late) > _MOST_LATE:
            self._late.popitem(last=False)

    def _use_late(self, row: InboxRow, wish: m.Elevate) -> bool:
        return time.monotonic() < self._late.pop(_same(row, wish), 0.0)

    async def _perform(self, row: InboxRow, wish: m.Elevate) -> m.Response:
        self._number += 1
        number, timeout = self._number, min(max(wish.timeout, 1.0), MAX_TIMEOUT)
        answer: asyncio.Future[m.ElevatedResult] = asyncio.get_running_loop().create_future()
        self._running[number] = row.agent, answer
        sender = row.message.sender.id
        log.info("%s: a command outside of the sandbox, for %s:%s", row.agent, row.message.channel, sender)
        try:
            self._report(
                m.RunElevated(
                    request=number,
                    agent=row.agent,
                    turn=row.id,
                    channel=row.message.channel,
                    sender=sender,
                    command=wish.command,
                    workdir=wish.workdir,
                    timeout=timeout,
                )
            )
            async with asyncio.timeout(timeout + _GRACE):
                result = await answer
        except TimeoutError:
            return _no(wish, "the supervisor did not say how the command ended; its outcome is unknown")
        finally:
            del self._running[number]
        return m.Response(request=wish.request, ok=result.ok, text=result.text)


_TOLD: dict[m.Elevated, str] = {
    "off": "⚙️ Elevated mode disabled.",
    "ask": "⚙️ Elevated mode set to ask: each command outside of the sandbox waits for /approve.",
    "full": "⚙️ Elevated mode set to full: commands may leave the sandbox without approval.",
}


def _no(wish: m.Elevate, reason: str) -> m.Response:
    return m.Response(request=wish.request, ok=False, text=reason)


def _same(row: InboxRow, wish: m.Elevate) -> _Same:
    message = row.message
    return row.agent, row.session_key, message.channel, message.sender.id, wish.command, wish.workdir
