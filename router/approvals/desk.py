"""Questions to the approvers that wait for an answer: bounded, kept in memory, gone after half an hour.

A question is put to the conversation it comes from if its sender may approve, else to the owners; whoever sits at the
machine sees all of them (`openclaw approvals pending`). Who answers must be an owner, or may give orders in the very
session that asks. Nothing here runs anything: whoever asked is told the decision.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from protocol import messages as m
from protocol.approvals import EXPIRY, approval_id
from protocol.control import Approval
from protocol.envelope import Address, Outbound
from protocol.shell import to_remember
from protocol.tasks import Tasks
from router.accounts import Accounts
from router.approvals import shown
from router.approvals.rights import Rights
from router.chunking import split
from router.outbound import DEFAULT_LIMIT, Outbox
from router.rules import Target
from router.spool.base import InboxRow

log = logging.getLogger(__name__)

#: Questions that wait at once: of all agents, and of one.
MAX_OPEN, MAX_OF_AGENT = 200, 10
#: Longest command and folder that are asked about, in characters.
MAX_COMMAND, MAX_WORKDIR = 64 * 1024, 4096

USAGE = "Usage: /approve <id> allow-once | allow-always | deny"
UNKNOWN = "⚠️ No such approval waits here. It may have been answered, or have expired."
_WORDS: dict[str, m.Decision] = {
    "allow-once": "allow-once",
    "once": "allow-once",
    "allow": "allow-once",
    "allow-always": "allow-always",
    "always": "allow-always",
    "deny": "deny",
}


class _Open:
    """One question; `session_key` is where it comes from."""

    def __init__(self, asked: Approval, session_key: str, answer: asyncio.Future[m.Decision]) -> None:
        self.asked = asked
        self.session_key = session_key
        self.answer = answer


class Approvals:
    """The questions of all agents."""

    def __init__(
        self,
        rights: Rights,
        outbox: Outbox,
        accounts: Accounts,
        tasks: Tasks,
        report: Callable[[m.RouterToSupervisor], None],
    ) -> None:
        self._rights = rights
        self._outbox = outbox
        self._accounts = accounts
        self._tasks = tasks
        self._report = report
        self._open: dict[str, _Open] = {}

    def __repr__(self) -> str:
        return f"<Approvals {len(self._open)} open>"

    async def ask(self, row: InboxRow, command: str, workdir: str, *, elevated: bool = False) -> m.Decision:
        """What the approvers say of this command of the turn of `row`; `expired` after EXPIRY seconds.

        The same question, asked again, waits for the same answer.
        """
        id = approval_id(row.id, command, workdir, elevated=elevated)
        known = self._open.get(id)
        if known is None:
            if problem := self._problem(row.agent, command, workdir):
                log.warning("agent %s: a command is denied without a question: %s", row.agent, problem)
                return "deny"
            known = self._put(row, id, command, workdir, elevated)
        elif not _is_same(known, row, command, workdir):
            log.warning("agent %s: a command is denied: its approval id %s is another one's", row.agent, id)
            return "deny"
        return await asyncio.shield(known.answer)

    def decide(self, text: str, *, owner: bool, targets: Sequence[Target], by: str) -> str:
        """`/approve <id> <decision>` of somebody who may give orders; gives what he is told."""
        id, _, word = text.strip().lower().partition(" ")
        decision, known = _WORDS.get(word.strip()), self._open.get(id)
        if decision is None:
            return USAGE
        if known is None or not (owner or any(_is_from(known, target) for target in targets)):
            return UNKNOWN
        return self._settle(known, decision, by)

    def resolve(self, id: str, decision: str, by: str) -> str | None:
        """The operator at the machine decides. None where no such question waits."""
        known, word = self._open.get(id.strip().lower()), _WORDS.get(decision.strip().lower())
        return self._settle(known, word, by) if known is not None and word is not None else None

    def pending(self) -> tuple[Approval, ...]:
        """Everything that waits, the oldest first."""
        return tuple(one.asked for one in self._open.values())

    def _problem(self, agent: str, command: str, workdir: str) -> str:
        if len(command) > MAX_COMMAND or len(workdir) > MAX_WORKDIR:
            return "it is too long"
        if sum(one.asked.agent == agent for one in self._open.values()) >= MAX_OF_AGENT:
            return f"{MAX_OF_AGENT} of this agent wait already"
        return "too many wait already" if len(self._open) >= MAX_OPEN else ""

    def _put(self, row: InboxRow, id: str, command: str, workdir: str, elevated: bool) -> _Open:
        loop, now = asyncio.get_running_loop(), time.time()
        asked = Approval(
            id=id,
            agent=row.agent,
            channel=row.message.channel,
            sender=row.message.sender.id,
            command=command,
            workdir=workdir,
            elevated=elevated,
            asked_at=now,
            expires_at=now + EXPIRY,
        )
        known = self._open[id] = _Open(asked, row.session_key, loop.create_future())
        loop.call_later(EXPIRY, self._expire, known)
        log.warning("agent %s waits for approval %s of a command. hint: openclaw approvals pending", row.agent, id)
        self._tasks.start(self._prompt(row, asked), f"approval {id}")
        return known

    def _expire(self, known: _Open) -> None:
        if self._open.get(known.asked.id) is known:
            self._end(known, "expired", "nobody, in time")

    def _settle(self, known: _Open, decision: m.Decision, by: str) -> str:
        self._end(known, decision, by)
        if decision == "deny":
            return "🚫 Denied."
        if decision == "allow-once":
            return "✅ Allowed once."
        remembered = () if known.asked.elevated else to_remember(known.asked.command)
        if not remembered:
            return "✅ Allowed once. A command of this kind is asked about each time."
        self._report(m.RememberApproval(agent=known.asked.agent, patterns=remembered))
        return f"✅ Allowed, and from now on: {', '.join(remembered)}"

    def _end(self, known: _Open, decision: m.Decision, by: str) -> None:
        del self._open[known.asked.id]
        if not known.answer.done():
            known.answer.set_result(decision)
        log.info("approval %s for agent %s: %s by %s", known.asked.id, known.asked.agent, decision, by)

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _prompt(self, row: InboxRow, asked: Approval) -> None:
        text = shown.question(asked.agent, asked.id, asked.command, asked.workdir, elevated=asked.elevated)
        for number, address in enumerate(self._whom(row)):
            parts = split(text, self._limit(address))
            await self._outbox.post(
                [
                    Outbound(key=f"a.{row.id}.{asked.id}.{number}.{part}", address=address, text=one)
                    for part, one in enumerate(parts)
                ]
            )

    def _whom(self, row: InboxRow) -> tuple[Address, ...]:
        if row.origin == "operator":
            return ()
        if self._rights.may_approve(row.message):
            return (msgspec.structs.replace(row.message.reply, reply_to=None),)
        return self._rights.owners(row.message)

    def _limit(self, address: Address) -> int:
        account = self._accounts.find(address.channel, address.account)
        return account.channel.capabilities.text_limit if account else DEFAULT_LIMIT


def _is_same(known: _Open, row: InboxRow, command: str, workdir: str) -> bool:
    asked = known.asked
    return (asked.agent, known.session_key, asked.command, asked.workdir) == (
        row.agent,
        row.session_key,
        command,
        workdir,
    )


def _is_from(known: _Open, target: Target) -> bool:
    return (known.asked.agent, known.session_key) == (target.agent, target.session_key)
