"""One account behind a bridge. A lost connection is made again by the account's runner; what was not answered before
is asked or said again, and ids on both sides make the repeats harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from protocol.envelope import Address, Outbound
from protocol.errors import Temporary
from router.channels.base import (
    AccountTrouble,
    Capabilities,
    ChannelHost,
    Probe,
    Receipt,
    SendDelayed,
    SendRefused,
    SendUncertain,
)
from router.channels.bridge import wire

#: Seconds for the connection, and for the answer to a send.
CONNECT_TIMEOUT, SEND_TIMEOUT = 10.0, 60.0
#: Messages of the bridge that wait for our disk at most, and those taken in one commit.
_WAITING, _BATCH = 1000, 100


class BridgeChannel:
    """See `base.Channel`."""

    def __init__(self, channel: str, account: str, path: str, text_limit: int) -> None:
        self.channel = channel
        self.account = account
        # A repeated send is harmless, so "did it arrive?" is answered by saying it again.
        self.capabilities = Capabilities(text_limit=text_limit, can_confirm=True)
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[str, asyncio.Future[Receipt]] = {}
        self._login: str | None = None
        self._problem = "not connected yet"

    def __repr__(self) -> str:
        return f"<BridgeChannel {self.channel}:{self.account} {'connected' if self._writer else self._problem}>"

    async def run(self, host: ChannelHost) -> None:
        reader, writer = await self._connect()
        self._writer = writer
        waiting: asyncio.Queue[wire.Message] = asyncio.Queue(_WAITING)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hand_over(host, waiting))
                group.create_task(self._listen(host, reader, waiting))
        except* (OSError, ValueError, Temporary) as errors:
            self._problem = f"the bridge at {self._path}: {errors.exceptions[0]}"
        finally:
            self._hang_up()
        raise AccountTrouble(self._problem)

    async def send(self, message: Outbound) -> Receipt:
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._answers[message.key] = answer
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._write(wire.send(message))
                return await answer
        except TimeoutError:
            raise SendUncertain(f"the bridge did not answer in {SEND_TIMEOUT:g} s") from None
        finally:
            self._answers.pop(message.key, None)

    def note(self, message: Outbound) -> str:
        return ""

    async def confirm(self, message: Outbound, note: str) -> Receipt | None:
        return None

    async def typing(self, address: Address) -> None:
        with contextlib.suppress(SendDelayed):
            await self._write(wire.Typing(target=address.target, thread=address.thread))

    async def probe(self) -> Probe:
        if self._login is None:
            return Probe(False, error=self._problem)
        return Probe(True, self._login)

    async def close(self) -> None:
        self._hang_up()

    # --- the connection ------------------------------------------------------------------------------------------

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=wire.MAX_LINE)
        except OSError as error:
            self._problem = f"no bridge at {self._path}: {error.strerror or 'no answer'}"
            raise AccountTrouble(self._problem) from None
        writer.write(wire.write(wire.Hello(version=wire.VERSION, channel=self.channel, account=self.account)))
        return reader, writer

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = self._login = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SendUncertain("the connection to the bridge broke"))

    async def _write(self, line: wire.ToBridge) -> None:
        """Raises SendDelayed when nothing can be written: the bridge surely has not got the line whole."""
        if self._writer is None or self._writer.is_closing():
            raise SendDelayed("the bridge is not connected")
        self._writer.write(wire.write(line))
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def _listen(
        self, host: ChannelHost, reader: asyncio.StreamReader, waiting: asyncio.Queue[wire.Message]
    ) -> None:
        while line := await reader.readline():
            match wire.read(line):
                case wire.Message() as message:
                    await waiting.put(message)
                case wire.Ready(login=login):
                    self._login = login
                    host.connected(login)
                case wire.Gone(reason=reason):
                    self._login, self._problem = None, reason
                    host.disconnected(reason)
                case wire.Sent(key=key, message_id=id):
                    self._settle(key, Receipt(id))
                case wire.Refused(key=key, reason=reason):
                    self._settle(key, SendRefused(reason))
                case wire.Delayed(key=key, reason=reason, seconds=seconds):
                    self._settle(key, SendDelayed(reason, retry_after=seconds))
        raise ConnectionError("it hung up")

    def _settle(self, key: str, result: Receipt | Exception) -> None:
        answer = self._answers.get(key)
        if answer is None or answer.done():
            return
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    async def _hand_over(self, host: ChannelHost, waiting: asyncio.Queue[wire.Message]) -> None:
        while True:
            batch = [await waiting.get()]
            while not waiting.empty() and len(batch) < _BATCH:
                batch.append(waiting.get_nowait())
            now = time.time()
            await host.receive([wire.inbound(self.channel, self.account, one, now) for one in batch])
            for one in batch:
                with contextlib.suppress(SendDelayed):
                    await self._write(wire.Taken(message_id=one.message_id))
