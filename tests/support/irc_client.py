"""A person on IRC, for tests: a plain client that knows nothing of ours, so that it can judge it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE = 8.0


class IrcClient:
    """Lines in, lines out. Keeps what was read and not yet asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nick: str) -> None:
        self._reader = reader
        self._writer = writer
        self._lines: list[str] = []
        self.nick = nick

    def write(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")

    def say(self, target: str, text: str) -> None:
        self.write(f"PRIVMSG {target} :{text}")

    async def expect(self, pattern: str, timeout: float = PATIENCE) -> str:
        """The next line (of those not taken yet) that holds the pattern; earlier ones stay for other questions."""
        wanted = re.compile(pattern)
        seen = 0
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for index in range(seen, len(self._lines)):
                        if wanted.search(self._lines[index]):
                            return self._lines.pop(index)
                    seen = len(self._lines)
                    await self._read()
        except TimeoutError:
            raise AssertionError(f"{self.nick} waited for {pattern!r} and saw {self._lines}") from None

    async def _read(self) -> None:
        raw = await self._reader.readline()
        if not raw:
            raise AssertionError(f"the server closed the link of {self.nick} after {self._lines}")
        line = raw.decode().rstrip("\r\n")
        if line.startswith("PING "):
            self.write(line.replace("PING", "PONG", 1))
        else:
            self._lines.append(line)

    async def join(self, room: str) -> None:
        self.write(f"JOIN {room}")
        await self.expect(rf" 366 \S+ {re.escape(room.split()[0])} ")

    async def settle(self) -> list[str]:
        """Everything the server had for us up to now."""
        self.write("PING :settle")
        await self.expect(r" PONG .*settle")
        lines, self._lines = self._lines, []
        return lines

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return


@asynccontextmanager
async def irc_client(host: str, port: int, nick: str, ca_file: str | None = None) -> AsyncIterator[IrcClient]:
    """A client that has been welcomed; over TLS if an authority is named."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    client = IrcClient(reader, writer, nick)
    try:
        client.write(f"NICK {nick}")
        client.write(f"USER {nick} 0 * :{nick}")
        await client.expect(r" (376|422) ")
        yield client
    finally:
        await client.close()
