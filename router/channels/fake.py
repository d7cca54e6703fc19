"""A platform in memory, behind the same interface as the real ones: for tests and for trying things out.

It keeps what was sent, repeats what was not confirmed, and fails on demand in every way a platform can.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from protocol.envelope import Address, Inbound, Outbound
from router.channels.base import (
    Capabilities,
    ChannelHost,
    Probe,
    Receipt,
    SendDelayed,
    SendRefused,
    SendUncertain,
)


class FakeChannel:
    """One account. `push` is a person writing; `sent` is what reached the platform, in order."""

    def __init__(self, channel: str = "fake", account: str = "default", *, can_confirm: bool = True) -> None:
        self.channel = channel
        self.account = account
        self.capabilities = Capabilities(text_limit=4000, can_confirm=can_confirm)
        self.sent: list[Outbound] = []
        self.typed: list[Address] = []
        self.faults: deque[SendDelayed | SendRefused | SendUncertain] = deque()
        #: Whether a message whose answer gets lost (SendUncertain) had arrived.
        self.arrives_when_uncertain = False
        self.cursor = ""
        self.closed = False
        self._waiting: deque[Inbound] = deque()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Condition()

    def push(self, *messages: Inbound) -> None:
        """Messages from people; they are handed over in one batch."""
        self._waiting.extend(messages)
        self._arrived.set()

    async def wait_sent(self, count: int) -> list[Outbound]:
        """Wait until `count` messages have reached the platform."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.sent) >= count)
        return self.sent

    async def run(self, host: ChannelHost) -> None:
        host.connected(f"@{self.account}")
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch = list(self._waiting)
            await host.receive(batch, cursor=batch[-1].message_id if batch else None)
            for _ in batch:
                self._waiting.popleft()

    async def send(self, message: Outbound) -> Receipt:
        fault = self.faults.popleft() if self.faults else None
        if fault is None or (isinstance(fault, SendUncertain) and self.arrives_when_uncertain):
            async with self._changed:
                self.sent.append(message)
                self._changed.notify_all()
        if fault is not None:
            raise fault
        return Receipt(str(len(self.sent)))

    def note(self, message: Outbound) -> str:
        return str(len(self.sent))

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        if not self.capabilities.can_confirm:
            raise SendUncertain("this platform cannot tell")
        found = [number for number, sent in enumerate(self.sent, 1) if sent.key == message.key and number > int(note)]
        return Receipt(str(found[0])) if found else None

    async def typing(self, address: Address) -> None:
        self.typed.append(address)

    async def probe(self) -> Probe:
        return Probe(True, f"@{self.account}")

    async def close(self) -> None:
        self.closed = True


def create(channel: str, account: str, settings: Mapping[str, Any]) -> FakeChannel:
    """As every channel module has it."""
    return FakeChannel(channel, account)
