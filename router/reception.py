"""A batch from a platform becomes messages of agents: access, route, gate, and one commit.

From the commit in `receive` on the messages are ours; only after it returns does the channel confirm them to its
platform. The decisions are pure modules; here they are asked in order and their answers carried out.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from protocol.envelope import Address, Inbound, Outbound
from protocol.slices import RouterSlice
from router import access, broadcast, commands, mentions
from router.accounts import Account
from router.approvals.desk import Approvals
from router.elevation import Elevation
from router.history import History, earlier, key_of
from router.orders import Order, Orders
from router.pairing import offer_text
from router.pairing_store import PairingStore
from router.rules import AccountKey, Rules, Target
from router.spool.base import Admission, Cursor, InboxRow, Spool
from router.turns import Turns

log = logging.getLogger(__name__)

#: What people call a platform, for the text that a stranger reads.
_LABELS = {"telegram": "Telegram", "irc": "IRC", "whatsapp": "WhatsApp", "discord": "Discord", "slack": "Slack"}


class _Batch:
    """What comes of one batch. `carried` are pending messages that go along with one of its messages already."""

    def __init__(self, account: Account, rules: Rules) -> None:
        self.account = account
        self.rules = rules
        self.settings = rules.settings(account.channel.channel, account.channel.account, account.settings)
        self.admitted: list[Admission] = []
        self.orders: list[Order] = []
        self.carried: set[tuple[str, str]] = set()


class Reception:
    """The door for messages from platforms."""

    def __init__(
        self,
        spool: Spool,
        pairing: PairingStore,
        turns: Turns,
        approvals: Approvals | None = None,
        elevation: Elevation | None = None,
    ) -> None:
        self._spool = spool
        self._pairing = pairing
        self._turns = turns
        self._orders = Orders(turns, approvals, elevation)
        self._history = History()
        self._rules: Rules
        self._batches: dict[asyncio.Future[None], Rules] = {}

    def update(self, slice: RouterSlice) -> None:
        """Decide by this configuration from the next batch on; what is under way ends by the rules it began with."""
        self._rules = Rules(slice)
        for problem in self._rules.problems:
            log.warning("%s", problem)
        self._turns.sequential = self._rules.sequential

    async def settle(self) -> None:
        """Until no batch is judged by earlier rules any more: what they decided is on disk and queued."""
        if old := [batch for batch, by in self._batches.items() if by is not self._rules]:
            await asyncio.wait(old)

    @property
    def rules(self) -> Rules:
        """What is decided by now."""
        return self._rules

    def accounts(self) -> Mapping[AccountKey, Mapping[str, Any]]:
        """The channel accounts to run, with their settings."""
        return self._rules.accounts

    def main_key(self, agent: str) -> str:
        """The session where an agent's direct chats and its operator meet."""
        return self._rules.main_key(agent)

    async def receive(self, account: Account, messages: Sequence[Inbound], cursor: str | None) -> None:
        """Take over one batch; on return everything that is to be answered is on disk."""
        batch, done = _Batch(account, self._rules), asyncio.get_running_loop().create_future()
        self._batches[done] = batch.rules
        try:
            for message in messages:
                await self._judge(batch, message)
            await self._admit(batch, cursor)
        finally:
            del self._batches[done]
            done.set_result(None)

    async def _admit(self, batch: _Batch, cursor: str | None) -> None:
        channel = batch.account.channel
        if batch.admitted or cursor is not None:
            stop = Cursor(channel.channel, channel.account, cursor) if cursor is not None else None
            rows = await self._spool.admit(batch.admitted, stop, time.time())
            self._forget(rows)
            self._turns.add(rows)
        for order in batch.orders:
            await self._orders.carry_out(order)

    async def _judge(self, batch: _Batch, message: Inbound) -> None:
        """One message through access, routing and the mention gate."""
        approved = self._pairing.approved(message.channel, message.account)
        slice = batch.rules.slice
        defaults = slice.channels.get("defaults") or {}
        match access.decide(batch.settings, message, approved, defaults, batch.account.login):
            case access.Ignore(reason):
                self._log(message, f"ignored: {reason}")
            case access.OfferPairing():
                await self._offer_pairing(message)
            case access.Allow(require_mention):
                may = commands.may_command(slice.commands, batch.settings, message, approved)
                self._route(batch, message, require_mention, may)

    def _route(self, batch: _Batch, message: Inbound, require_mention: bool, may_command: bool) -> None:
        targets = batch.rules.targets(message)
        command = batch.rules.command(message)
        # A word such as "stop" is only a word while there is nothing to stop.
        if command and (command.explicit or (may_command and self._orders.running(targets))):
            if may_command:
                owner = commands.is_owner(batch.rules.slice.commands, message)
                self._order(batch, command, Order(command.name, message, targets, require_mention, owner, command.text))
            else:
                self._log(message, f"ignored: the sender may not give commands (/{command.name})")
        elif message.peer.kind == "direct":
            self._take(batch, targets, message)
        else:
            self._route_group(batch, message, require_mention, targets)

    def _order(self, batch: _Batch, command: commands.Command, order: Order) -> None:
        """A command passes the mention gate. What changes a session goes to its agent, in order with all else."""
        if command.name in commands.WITH_TEXT:
            message = msgspec.structs.replace(order.message, text=command.text, command=command.name)
            self._take(batch, order.targets, message)
        else:
            self._log(order.message, f"/{command.name}")
            batch.orders.append(order)

    def _route_group(self, batch: _Batch, message: Inbound, require_mention: bool, targets: Sequence[Target]) -> None:
        """To the agents that are meant, with what was written before; or aside, until one is."""
        rules, heard = batch.rules, [target.agent for target in targets]
        key, limit = key_of(message), rules.history_limit(batch.settings, message.channel, heard[0])
        if not mentions.gate(message, [one for agent in heard for one in rules.patterns[agent]], require_mention):
            self._history.keep(key, earlier(message), limit)
            self._log(message, f"not for {', '.join(heard)}: no mention")
            return
        named = {agent for agent in heard if mentions.named_in(message.text, rules.patterns[agent])}
        chosen = broadcast.addressed(heard, named)
        before = self._history.waiting(key, limit, {id for talk, id in batch.carried if talk == key})
        batch.carried |= {(key, one.message_id) for one in before}
        whole = msgspec.structs.replace(message, history=before)
        self._take(batch, [target for target in targets if target.agent in chosen], whole)

    def _take(self, batch: _Batch, targets: Iterable[Target], message: Inbound) -> None:
        for target in targets:
            self._log(message, f"→ {target.agent} by {target.why}, session {target.session_key}")
            batch.admitted.append(Admission(target.agent, target.session_key, message))

    def _forget(self, rows: Iterable[InboxRow]) -> None:
        """What new messages carry is on disk with them now, so it is not pending any more."""
        for row in rows:
            if row.message.history:
                self._history.forget(key_of(row.message), [one.message_id for one in row.message.history])

    async def _offer_pairing(self, message: Inbound) -> None:
        sender = message.sender
        meta = {key: value for key, value in (("username", sender.username), ("firstName", sender.name)) if value}
        request = self._pairing.knock(message.channel, message.account, sender.id, meta, time.time())
        if request is None:
            self._log(message, "ignored: waits for pairing")
            return
        self._log(message, "stranger: pairing offered")
        text = offer_text(_LABELS.get(message.channel, message.channel), request)
        address = Address(message.channel, message.account, message.reply.target, message.reply.thread)
        await self._turns.outbox.post([Outbound(key=f"n.{uuid.uuid4().hex}", address=address, text=text)])

    @staticmethod
    def _log(message: Inbound, what: str) -> None:
        """One line a message, without its text: what an operator looks for when an answer came from the wrong agent."""
        peer = f"{message.peer.kind}:{message.peer.id}"
        log.info("%s/%s %s from %s %s", message.channel, message.account, peer, message.sender.id, what)
