"""Messages on their way out of one connection: paced, one at a time, and each with a proof.

After the lines of a message goes a PING with a token of its own. A server works through a client's lines in order, so
its PONG says that it has passed the message on, and an error numeric for this target that came before it says that it
has not. That holds on every server since RFC 1459, which labeled-response does not.
"""

from __future__ import annotations

import asyncio
import secrets

from router.channels.base import AccountTrouble, Receipt, SendDelayed, SendRefused, SendUncertain
from router.channels.irc.connect import Link
from router.channels.irc.flood import LINE_COST, PING_COST, Bucket
from router.channels.irc.session import Echo, Pong, Refusal, Reply
from router.channels.irc.wire import build

#: Seconds to wait before another try where the server said "not now".
_LATER = 15.0


class _Pending:
    """The one message being sent. `done` is set by the PONG or by the loss of the link."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.token = f"sent-{secrets.token_hex(8)}"
        self.done = asyncio.Event()
        self.written = False
        self.refusal: Refusal | None = None
        self.message_id = ""
        self.lost: str | None = None

    def verdict(self) -> Receipt:
        """What became of it, once `done`. A refusal outweighs the loss of the link: it was certain."""
        if self.refusal is not None:
            raise self._refused(self.refusal)
        if self.lost is None:
            return Receipt(self.message_id)
        raise SendUncertain(self.lost) if self.written else SendDelayed(self.lost)

    def _refused(self, refusal: Refusal) -> SendRefused | SendDelayed:
        if refusal.temporary:
            return SendDelayed(refusal.reason, retry_after=_LATER)
        return SendRefused(f"{self.target}: {refusal.reason}")


class Outgoing:
    """The way out of one connection. `deliver` must not run twice at a time: its caller holds a lock."""

    def __init__(self, link: Link, bucket: Bucket, patience: float) -> None:
        self._link = link
        self._bucket = bucket
        self._patience = patience
        self._pending: _Pending | None = None

    def __repr__(self) -> str:
        return f"Outgoing({'sending to ' + self._pending.target if self._pending else 'idle'}, {self._bucket!r})"

    async def deliver(self, target: str, lines: list[bytes]) -> Receipt:
        """Send the lines of one message to a folded target. Raises SendRefused, SendDelayed or SendUncertain."""
        pending = self._pending = _Pending(target)
        try:
            for line in lines:
                await self._pace(pending, LINE_COST)
                if pending.done.is_set() or pending.refusal:
                    break
                await self._write(pending, line)
            return await self._settle(pending)
        finally:
            self._pending = None

    async def _pace(self, pending: _Pending, cost: float) -> None:
        """Wait for the flood control, but not longer than the link lives."""
        loop = asyncio.get_running_loop()
        pause = self._bucket.wait(cost, loop.time())
        if pause > 0:
            await _wait(pending.done, pause)
        self._bucket.take(cost, loop.time())

    async def _write(self, pending: _Pending, line: bytes) -> None:
        if self._link.closed:
            self._lose(pending, "the link was lost")
            return
        pending.written = True
        self._link.write(line)
        try:
            await self._link.flush()
        except AccountTrouble as trouble:
            self._lose(pending, trouble.reason)

    async def _settle(self, pending: _Pending) -> Receipt:
        if not pending.done.is_set():
            self._bucket.take(PING_COST, asyncio.get_running_loop().time())
            await self._write(pending, build("PING", pending.token))
        await _wait(pending.done, self._patience)
        if not pending.done.is_set():
            # A server that leaves a PING unanswered is as good as gone, and its late errors would be taken for
            # those of the next message.
            self._link.abort()
            self._lose(pending, f"no answer to PING within {self._patience:g} s")
        return pending.verdict()

    def settle(self, reply: Reply) -> None:
        """Take in what the server said about the message being sent."""
        pending = self._pending
        if pending is None:
            return
        match reply:
            case Pong(token) if token == pending.token:
                pending.done.set()
            case Refusal(target) if target in ("", pending.target):
                pending.refusal = pending.refusal or reply
            case Echo(target, message_id) if target == pending.target:
                pending.message_id = pending.message_id or message_id

    def lose(self, reason: str) -> None:
        """The link is gone: what was written is uncertain, what was not can be tried again."""
        if self._pending is not None:
            self._lose(self._pending, reason)

    def _lose(self, pending: _Pending, reason: str) -> None:
        if not pending.done.is_set():
            pending.lost = reason
            pending.done.set()

    def spare(self, cost: float) -> bool:
        """Take tokens for something that may as well not be sent; keeps room for one message."""
        now = asyncio.get_running_loop().time()
        return self._pending is None and self._bucket.wait(2 * LINE_COST, now) == 0 and self._bucket.try_take(cost, now)


async def _wait(event: asyncio.Event, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return
