"""message: a text to a conversation, of the agent's own accord (SPEC 5.5).

Without a target it goes where the answer goes. Another conversation may be written to on the account the message came
by, if `tools.message.crossContext` allows it, and never one that is another client's (ARCHITECTURE 10).
"""

from __future__ import annotations

import logging

import msgspec

from protocol.envelope import Address, Outbound
from router.accounts import Account, Accounts
from router.calls import arguments
from router.calls.call import Call, Refused, done, result, text_of
from router.calls.channel import CHANNEL
from router.calls.limits import Answer
from router.chunking import split
from router.desk import CHANNEL as WEBCHAT
from router.rules import Rules
from router.turns import Turns

log = logging.getLogger(__name__)

#: Most platform messages that one request may become.
MAX_PARTS = 20


class Speaking:
    """Sends what agents say of their own accord."""

    def __init__(self, turns: Turns, accounts: Accounts) -> None:
        self._turns = turns
        self._accounts = accounts
        self._rules: Rules

    def update(self, rules: Rules) -> None:
        self._rules = rules

    async def message(self, call: Call) -> Answer:
        """The tool `message`, action send. On disk when it is answered, and stored once however often it is asked."""
        asked = arguments.read(arguments.Message, text_of(call))
        address = self._address(call, asked)
        limit = self._account(address).channel.capabilities.text_limit
        parts = split(asked.message, limit)
        if len(parts) > MAX_PARTS:
            raise Refused(f"The text is too long for {address.channel}: it takes {len(parts)} messages.", "error")
        key = f"m.{call.key}"
        await self._turns.outbox.post(
            [Outbound(key=f"{key}.{number}", address=address, text=part) for number, part in enumerate(parts)]
        )
        log.info("%s writes to %s/%s:%s (%s)", call.seat, address.channel, address.account, address.target, key)
        return done(call, result(ok=True, messageId=f"{key}.0", chatId=address.target))

    def _address(self, call: Call, asked: arguments.Message) -> Address:
        here = call.row.message.reply
        if here.channel in (CHANNEL, WEBCHAT):
            raise Refused("There is no chat here to send to: just answer.", "error")
        if (asked.channel or here.channel).lower() != here.channel or (
            asked.account_id or here.account
        ) != here.account:
            raise Refused("Sending across channels or accounts is not allowed (tools.message.crossContext).")
        target = (asked.target or here.target).removeprefix(f"{here.channel}:")
        if target == here.target:
            return msgspec.structs.replace(here, thread=asked.thread_id or here.thread, reply_to=asked.reply_to)
        self._check_other(call, here, target)
        return Address(here.channel, here.account, target, asked.thread_id, asked.reply_to)

    def _check_other(self, call: Call, here: Address, target: str) -> None:
        """Raises Refused unless the agent may write to this other conversation."""
        if not self._rules.slice.reach.same_channel:
            raise Refused("Sending to another conversation is not allowed (tools.message.crossContext).")
        tenants = {self._tenant(agent) for agent in self._rules.answering(here.channel, here.account, target)}
        if tenants - {self._tenant(call.seat.agent)}:
            raise Refused(f"Unknown target: {target[:128]}", "error")

    def _tenant(self, agent: str) -> str:
        known = self._rules.agents.get(agent)
        return known.placement.tenant if known else ""

    def _account(self, address: Address) -> Account:
        account = self._accounts.find(address.channel, address.account)
        if account is None:
            raise Refused(f"The account {address.channel}/{address.account} is not configured any more.", "error")
        return account
