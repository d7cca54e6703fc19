"""The socket: every failure in words, as trouble."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from router.channels.base import AccountTrouble
from router.channels.irc.connect import open_link
from router.channels.irc.settings import IrcSettings, read


def settings(port: int, **more: Any) -> IrcSettings:
    return read("work", {"host": "127.0.0.1", "port": port, "tls": False, "nick": "claw", **more})


async def test_nobody_listens() -> None:
    """Ensure host and port are named."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(AccountTrouble, match=f"cannot connect to 127.0.0.1:{port}: "):
        await open_link(settings(port), 5.0)


async def test_a_server_that_speaks_no_tls() -> None:
    """Ensure that a plain server on a TLS account is trouble in words, and that waiting ends."""

    over = asyncio.Event()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"NOTICE * :hello, who is there?\r\n")
        with suppress(OSError):
            await reader.read()
        writer.close()
        over.set()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        with pytest.raises(AccountTrouble, match="127"):
            await open_link(settings(server.sockets[0].getsockname()[1], tls=True), 5.0)
        await over.wait()


async def test_a_missing_certificate_file_is_trouble() -> None:
    """Ensure that a wrong path in the config does not crash the account's runner."""
    with pytest.raises(AccountTrouble, match="No such file"):
        await open_link(settings(1, tls=True, tlsCaFile="/nowhere/ca.pem"), 5.0)


async def test_the_end_of_the_link_is_trouble_and_silence_is_not() -> None:
    """Ensure a read that times out gives nothing, and one on a closed link says so."""
    go = asyncio.Event()

    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.close()

    server = await asyncio.start_server(brief, "127.0.0.1", 0)
    async with server:
        link = await open_link(settings(server.sockets[0].getsockname()[1]), 5.0)
        assert await link.read(0.01) == b""
        assert "open" in repr(link)
        go.set()
        with pytest.raises(AccountTrouble, match="closed the link"):
            await link.read(5.0)
        await link.close()
        assert link.closed
