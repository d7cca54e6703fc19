"""A batch from a platform becomes messages of agents: access, route, gate, and one commit.

From the commit in `receive` on the messages are ours; only after it returns does the channel confirm them to its
platform. The decisions are pure modules; here they are asked in order and their answers carried out.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.envelope import Address, Inbound, Outbound
from protocol.slices import RouterSlice
from router import access, mentions, routing, rules
from router.accounts import Account
from router.pairing import offer_text
from router.pairing_store import PairingStore
from router.rules import AccountKey, Rules
from router.spool.base import Admission, Cursor, Spool
from router.turns import Turns

log = logging.getLogger(__name__)

#: What people call a platform, for the text that a stranger reads.
_LABELS = {"telegram": "Telegram", "irc": "IRC"}


class Reception:
    """The door for messages from platforms."""

    def __init__(self, spool: Spool, pairing: PairingStore, turns: Turns) -> None:
        self._spool = spool
        self._pairing = pairing
        self._turns = turns
        self._rules: Rules
        self._batches: dict[asyncio.Future[None], Rules] = {}

    def update(self, slice: RouterSlice) -> None:
        """Decide by this configuration from the next batch on; what is under way ends by the rules it began with."""
        self._rules = rules.build(slice)

    async def settle(self) -> None:
        """Until no batch is judged by earlier rules any more: what they decided is on disk and queued."""
        if old := [batch for batch, by in self._batches.items() if by is not self._rules]:
            await asyncio.wait(old)

    def accounts(self) -> Mapping[AccountKey, Mapping[str, Any]]:
        """The channel accounts to run, with their settings."""
        return self._rules.accounts

    def main_key(self, agent: str) -> str:
        """The session where an agent's direct chats and its operator meet."""
        return self._rules.main_key(agent)

    async def receive(self, account: Account, messages: Sequence[Inbound], cursor: str | None) -> None:
        """Take over one batch; on return everything that is to be answered is on disk."""
        by, batch = self._rules, asyncio.get_running_loop().create_future()
        self._batches[batch] = by
        try:
            await self._take(by, account, messages, cursor)
        finally:
            del self._batches[batch]
            batch.set_result(None)

    async def _take(self, by: Rules, account: Account, messages: Sequence[Inbound], cursor: str | None) -> None:
        channel, name = account.channel.channel, account.channel.account
        admitted = [one for message in messages if (one := await self._judge(by, account, message)) is not None]
        if not admitted and cursor is None:
            return
        stop = Cursor(channel, name, cursor) if cursor is not None else None
        rows = await self._spool.admit(admitted, stop, time.time())
        self._turns.add(rows)

    async def _judge(self, by: Rules, account: Account, message: Inbound) -> Admission | None:
        """One message through access, routing and the mention gate."""
        approved = self._pairing.approved(message.channel, message.account)
        defaults = by.slice.channels.get("defaults") or {}
        # An account that this configuration does not have any more is on its way out: its own settings still hold.
        settings = by.accounts.get((account.channel.channel, account.channel.account), account.settings)
        match access.decide(settings, message, approved, defaults):
            case access.Ignore(reason):
                self._log(message, f"ignored: {reason}")
                return None
            case access.OfferPairing():
                await self._offer_pairing(message)
                return None
            case access.Allow(require_mention):
                return self._route(by, message, require_mention)

    def _route(self, by: Rules, message: Inbound, require_mention: bool) -> Admission | None:
        found = routing.resolve(by.table, route_input(message))
        if message.peer.kind != "direct" and not mentions.gate(message, by.patterns[found.agent], require_mention):
            self._log(message, f"not for {found.agent}: no mention")
            return None
        self._log(message, f"→ {found.agent} by {found.matched_by}, session {found.session_key}")
        return Admission(found.agent, found.session_key, message)

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


def route_input(message: Inbound) -> routing.RouteInput:
    """What the binding table looks at."""
    parent = message.parent_peer
    return routing.RouteInput(
        channel=message.channel,
        account=message.account,
        peer=(message.peer.kind, message.peer.id),
        parent_peer=(parent.kind, parent.id) if parent else None,
        guild=message.guild_id or "",
        team=message.team_id or "",
        roles=message.roles,
    )
