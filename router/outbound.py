"""What we owe the platforms: one lane per conversation, each platform message in order, each exactly once if at all
possible.

A lane takes the first part of its queue through SENDING (with the channel's note, on disk) to SENT. An answer that got
lost on the way back makes it UNCERTAIN: a channel that can find out is asked (`confirm`), on any other platform the
part stays uncertain for the operator and is never sent twice (ARCHITECTURE 3, row 12).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable

from protocol.envelope import Address, Outbound
from protocol.tasks import Tasks
from router.accounts import Account, Accounts
from router.channels.base import SendDelayed, SendRefused, SendUncertain
from router.chunking import split
from router.spool.backoff import pause
from router.spool.base import OutboxRow, Spool, part_key
from router.spool.states import OutState

log = logging.getLogger(__name__)

#: Seconds between tries of one part: first and longest.
RETRY_BASE, RETRY_CAP = 0.5, 60.0
#: A part that could not be delivered for so long is given up: answers hours late confuse more than they help.
TOO_OLD = 24 * 3600.0
#: Where no account tells its limit (it is not configured any more): Telegram's.
DEFAULT_LIMIT = 4000

LaneKey = tuple[str, str, str]


class _Lane:
    """One conversation. `free` only when nothing is queued and nothing is on its way."""

    def __init__(self) -> None:
        self.rows: deque[OutboxRow] = deque()
        self.reserved = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def free(self) -> bool:
        return not self.rows and not self.reserved and self.task is None


class Outbox:
    """Stores answers and sends them."""

    def __init__(self, spool: Spool, accounts: Accounts, tasks: Tasks, on_sent: Callable[[OutboxRow], None]) -> None:
        self._spool = spool
        self._accounts = accounts
        self._tasks = tasks
        self._on_sent = on_sent
        self._lanes: dict[LaneKey, _Lane] = {}

    def resume(self, rows: list[OutboxRow]) -> None:
        """Go on with what an earlier life of the router left."""
        for row in rows:
            self._queue(row)

    async def say(
        self, inbound: str, seq: int, text: str, address: Address, first: Address | None = None
    ) -> list[OutboxRow]:
        """Take over one Say of a worker: on disk when this returns. [] when it was known already.

        `first` is where its first part goes when that one quotes a message; the conversation is the same.
        """
        account = self._accounts.find(address.channel, address.account)
        limit = account.channel.capabilities.text_limit if account else DEFAULT_LIMIT
        parts = [
            Outbound(key=part_key(inbound, seq, number), address=address if number else first or address, text=part)
            for number, part in enumerate(split(text, limit))
        ]
        if not parts:
            return []
        lane = self._lane(address)
        note = account.channel.note(parts[0]) if account and lane.free and account.online.is_set() else None
        lane.reserved += 1
        try:
            rows = await self._spool.say(inbound, seq, parts, time.time(), sending_note=note)
        finally:
            lane.reserved -= 1
        for row in rows:
            self._queue(row)
        return rows

    async def post(self, messages: list[Outbound]) -> bool:
        """Queue texts that answer no message. False when their keys were all known already."""
        rows = await self._spool.post(messages, time.time())
        for row in rows:
            self._queue(row)
        return bool(rows)

    async def settle(self, timeout: float) -> None:
        """Wait until everything that can be sent now is sent, at most `timeout` seconds.

        What belongs to an account that is not connected stays in the spool for the next router.
        """
        tasks = [lane.task for key, lane in self._lanes.items() if lane.task and self._sendable(key)]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def _sendable(self, key: LaneKey) -> bool:
        account = self._accounts.find(key[0], key[1])
        return account is not None and account.online.is_set()

    @property
    def owed(self) -> int:
        """Parts in memory that are not sent yet."""
        return sum(len(lane.rows) for lane in self._lanes.values())

    def _lane(self, address: Address) -> _Lane:
        key = (address.channel, address.account, address.target)
        return self._lanes.setdefault(key, _Lane())

    def _queue(self, row: OutboxRow) -> None:
        address = row.message.address
        lane = self._lane(address)
        lane.rows.append(row)
        if lane.task is None:
            lane.task = self._tasks.start(self._work(lane, address), f"outbox {address.channel}:{address.target}")

    async def _work(self, lane: _Lane, address: Address) -> None:
        """Empty one lane. The row in hand stays at its head until its fate is on disk."""
        try:
            while lane.rows:
                await self._deliver(lane.rows[0])
                lane.rows.popleft()
        finally:
            lane.task = None
            if lane.free:
                self._lanes.pop((address.channel, address.account, address.target), None)

    async def _deliver(self, row: OutboxRow) -> None:
        """Bring one part to an end: SENT, DEAD, or UNCERTAIN where nobody can tell."""
        state, note, attempt = row.state, row.note, row.attempts
        while True:
            account = await self._online(row)
            if time.time() - row.created_at > TOO_OLD and state is OutState.QUEUED:
                await self._spool.refuse(row.message.key, "could not be delivered for a day")
                log.error("%s %s: given up after a day", account, row.key)
                return
            try:
                if state is OutState.UNCERTAIN:
                    found = await account.confirm(row.message, note)
                    if found is not None:
                        await self._done(account, row, found.message_id)
                        return
                    await self._spool.delay(row.key, time.time(), "it did not arrive; sending again")
                    state = OutState.QUEUED
                    continue
                if state is OutState.QUEUED:
                    note = account.channel.note(row.message)
                    await self._spool.sending(row.key, note, time.time())
                    state = OutState.SENDING
                receipt = await account.send(row.message)
            except SendUncertain as error:
                if state is OutState.UNCERTAIN or not account.channel.capabilities.can_confirm:
                    await self._leave_uncertain(account, row, state, error.reason)
                    return
                await self._spool.uncertain(row.key, error.reason)
                state = OutState.UNCERTAIN
            except SendDelayed as error:
                attempt += 1
                state = await self._put_off(account, row, state, attempt, error)
            except SendRefused as error:
                await self._spool.refuse(row.key, error.reason)
                log.error("%s refused %s: %s; it is kept as a dead letter", account, row.key, error.reason)
                return
            else:
                await self._done(account, row, receipt.message_id)
                return

    async def _put_off(
        self, account: Account, row: OutboxRow, state: OutState, attempt: int, error: SendDelayed
    ) -> OutState:
        wait = error.retry_after if error.retry_after is not None else self._pause(attempt)
        log.info("%s cannot take %s now (%s); again in %.1f s", account, row.key, error.reason, wait)
        if state is not OutState.UNCERTAIN:
            await self._spool.delay(row.key, time.time() + wait, error.reason)
            state = OutState.QUEUED
        await asyncio.sleep(wait)
        return state

    async def _leave_uncertain(self, account: Account, row: OutboxRow, state: OutState, reason: str) -> None:
        if state is not OutState.UNCERTAIN:
            await self._spool.uncertain(row.key, reason)
        log.error("%s: nobody can tell whether %s arrived (%s); it is not sent again", account, row.key, reason)

    async def _done(self, account: Account, row: OutboxRow, receipt: str) -> None:
        account.outbound_at = time.time()
        await self._spool.sent(row.key, receipt, account.outbound_at)
        self._on_sent(row)

    async def _online(self, row: OutboxRow) -> Account:
        """The account of this row, once it is connected and the row's time has come."""
        address = row.message.address
        wait = row.not_before - time.time()
        if wait > 0 and row.attempts:
            await asyncio.sleep(min(wait, RETRY_CAP))
        while True:
            account = self._accounts.find(address.channel, address.account)
            if account is None:
                await self._accounts.changed.wait()
                continue
            if not account.online.is_set():
                await account.online.wait()
                continue
            return account

    @staticmethod
    def _pause(attempt: int) -> float:
        return pause(attempt, RETRY_BASE, RETRY_CAP, random.random())
