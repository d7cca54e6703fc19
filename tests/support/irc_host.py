"""A router in miniature for one IRC account: keeps what came in, starts the account again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from protocol.envelope import Address, Inbound, Outbound
from router.channels.base import AccountTrouble, Receipt
from router.channels.irc import IrcChannel, create
from router.channels.irc.channel import IrcChannel as Account
from router.channels.irc.session import Timing
from router.channels.irc.settings import read

PATIENCE = 15.0


class Host:
    """Implements ChannelHost. `received`, `logins` and `reasons` grow; the queues beside them wake whoever waits."""

    def __init__(self) -> None:
        self.received: list[Inbound] = []
        self.logins: list[str] = []
        self.reasons: list[str] = []
        self._messages: asyncio.Queue[Inbound] = asyncio.Queue()
        self._logins: asyncio.Queue[str] = asyncio.Queue()
        self._reasons: asyncio.Queue[str] = asyncio.Queue()

    async def receive(self, messages: Sequence[Inbound], cursor: str | None = None) -> None:
        assert cursor is None
        self.received += messages
        for message in messages:
            self._messages.put_nowait(message)

    async def cursor(self) -> str | None:
        return None

    def connected(self, login: str) -> None:
        self.logins.append(login)
        self._logins.put_nowait(login)

    def disconnected(self, reason: str) -> None:
        self.reasons.append(reason)
        self._reasons.put_nowait(reason)

    async def message(self) -> Inbound:
        return await asyncio.wait_for(self._messages.get(), PATIENCE)

    async def login(self) -> str:
        return await asyncio.wait_for(self._logins.get(), PATIENCE)

    async def reason(self) -> str:
        return await asyncio.wait_for(self._reasons.get(), PATIENCE)


def account(settings: dict[str, Any], timing: Timing | None = None) -> IrcChannel:
    """An account as the router makes it; with other pauses where a test cannot wait for the real ones."""
    return Account("work", read("work", settings), timing) if timing else create("irc", "work", settings)


def outbound(target: str, text: str, key: str = "m1.0.0") -> Outbound:
    return Outbound(key=key, address=Address(channel="irc", account="work", target=target), text=text)


async def answer(channel: IrcChannel, message: Inbound, text: str) -> Receipt:
    return await channel.send(Outbound(key=f"{message.message_id}.0.0", address=message.reply, text=text))


@asynccontextmanager
async def running(channel: IrcChannel) -> AsyncIterator[Host]:
    """The account runs, and is started again as the router would, until the block ends."""
    host = Host()
    task = asyncio.create_task(_keep_running(channel, host), name="irc account")
    try:
        yield host
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await channel.close()


async def _keep_running(channel: IrcChannel, host: Host) -> None:
    while True:
        try:
            await channel.run(host)
        except AccountTrouble:
            await asyncio.sleep(0.1)
