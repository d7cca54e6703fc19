"""Limits on open connections (FIELD S15)."""

from __future__ import annotations

import asyncio

from aiohttp import web

from router.web.door import Door


async def _hello(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


async def _ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """A connection kept open after one answer; no bytes when it was closed instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return reader, writer, await reader.read(15)
    except ConnectionError:
        return reader, writer, b""


async def _run(total: int, each: int, count: int) -> list[bytes]:
    door = Door(_hello, total=total, each=each)
    listener = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    visits = [await _ask(port) for _ in range(count)]
    for _, writer, _ in visits:
        writer.close()
    async with asyncio.timeout(5):
        while "open=0" not in repr(door):
            await asyncio.sleep(0.01)
    _, writer, again = await _ask(port)
    writer.close()
    listener.close()
    await door.shutdown(1)
    return [*(answer for _, _, answer in visits), again]


async def test_connections_over_the_total_are_closed_at_once_and_room_comes_back() -> None:
    assert [bool(answer) for answer in await _run(total=2, each=9, count=3)] == [True, True, False, True]


async def test_connections_over_the_limit_of_one_address_are_closed_at_once() -> None:
    assert [bool(answer) for answer in await _run(total=9, each=1, count=2)] == [True, False, True]
