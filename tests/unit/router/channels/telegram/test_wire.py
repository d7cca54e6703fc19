"""The wire's three kinds of failure, against sockets that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from router.channels.telegram.wire import MAX_ANSWER, ApiError, NoAnswer, NotSent, Wire

TOKEN = "1:SECRET"


@asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[Wire]:
    """A wire to a server that reads one request and then does what `answer` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    wire = Wire(TOKEN, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=5)
    try:
        yield wire
    finally:
        await wire.close()
        server.close()
        await server.wait_closed()


def page(status: str, body: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return write


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    for _ in range(MAX_ANSWER // 0x100000 + 4):
        writer.write(chunk)
        try:
            await writer.drain()
        except ConnectionError:
            return


async def nothing(writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (page("502 Bad Gateway", b"<html>"), NoAnswer, "HTTP 502 without a readable answer"),
        (page("500 X", b'{"ok":false,"error_code":500,"description":"x"}'), NoAnswer, "server error 500: x"),
        (page("404 Not Found", b"<html>"), ApiError, "HTTP 404"),
        (page("200 OK", b"\xff\xfe"), NoAnswer, "HTTP 200 without a readable answer"),
        (page("302 Found", b""), NoAnswer, "HTTP 302 without a readable answer"),
        (endless, NoAnswer, f"the answer is longer than {MAX_ANSWER} bytes"),
        (nothing, NoAnswer, "the connection broke: ServerDisconnectedError"),
    ],
)
async def test_answers_that_are_none(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]], kind: type[Exception], text: str
) -> None:
    """Each becomes the one kind of error that its meaning has, without the URL."""
    async with answering(answer) as wire:
        with pytest.raises(kind) as failed:
            await wire.call("getMe", {})
    assert str(failed.value) == text


async def test_a_refusal_carries_its_parameters() -> None:
    """`retry_after` and the new chat id are read."""
    body = b'{"ok":false,"error_code":429,"description":"slow","parameters":{"retry_after":3,"migrate_to_chat_id":-9}}'
    async with answering(page("429 X", body)) as wire:
        with pytest.raises(ApiError) as failed:
            await wire.call("sendMessage", {})
    assert (failed.value.code, failed.value.retry_after, failed.value.moved_to) == (429, 3.0, -9)


@pytest.mark.parametrize("root", ["http://127.0.0.1:1", "not a url", "http://[::bad", "http://nosuchhost.invalid"])
async def test_an_unreachable_server_was_sent_nothing(root: str) -> None:
    """No connection, no message; and the error shows no token."""
    wire = Wire(TOKEN, root, timeout=5)
    with pytest.raises(NotSent) as failed:
        await wire.call("sendMessage", {})
    assert "SECRET" not in repr(failed.value) and "SECRET" not in repr(wire)
    await wire.close()


async def test_the_server_s_clock_is_read_once() -> None:
    """The Date header tells how far its clock is from ours."""

    async def dated(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:10 GMT\r\n")
        writer.write(b'Content-Length: 11\r\n\r\n{"ok":true}')
        await writer.drain()

    async with answering(dated) as wire:
        await wire.call("getMe", {})
        assert wire.date == 10.0
        assert wire.clock is not None and wire.clock < -1e9
