"""Sending over one connection: the barrier, the pace, and what a lost link means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from router.channels.base import Receipt, SendDelayed, SendRefused, SendUncertain
from router.channels.irc.connect import open_link
from router.channels.irc.flood import Bucket
from router.channels.irc.outgoing import Outgoing
from router.channels.irc.session import Echo, Pong, Refusal
from router.channels.irc.settings import read

LINES = [b"PRIVMSG bob :one\r\n", b"PRIVMSG bob :two\r\n"]


class Far:
    """The server's end of the link: shows what arrived."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.streams.put((reader, writer))


@asynccontextmanager
async def outgoing(
    *, burst: int = 50, interval: float = 0.0, patience: float = 5.0
) -> AsyncIterator[tuple[Outgoing, asyncio.StreamReader]]:
    far = Far()
    server = await asyncio.start_server(far.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = read("work", {"host": "127.0.0.1", "port": port, "tls": False, "nick": "claw"})
    link = await open_link(settings, 5.0)
    reader, writer = await far.streams.get()
    try:
        bucket = Bucket(burst, interval, asyncio.get_running_loop().time())
        yield Outgoing(link, bucket, patience), reader
    finally:
        await link.close()
        writer.close()
        server.close()
        await server.wait_closed()


async def _token(reader: asyncio.StreamReader) -> str:
    """Read up to the barrier and return what is in it."""
    while not (line := await reader.readline()).startswith(b"PING :"):
        assert line in LINES
    return line.decode().strip().removeprefix("PING :")


async def test_the_pong_is_the_proof() -> None:
    """Ensure lines, then the barrier; another's PONG proves nothing; the echo's id is in the receipt."""
    async with outgoing() as (ours, reader), asyncio.TaskGroup() as group:
        sending = group.create_task(ours.deliver("bob", LINES))
        token = await _token(reader)
        for reply in (Pong("alive"), Echo("ann", "m0"), Echo("bob", "m1"), Echo("bob", "m2")):
            ours.settle(reply)
        assert not sending.done() and "sending to bob" in repr(ours)
        ours.settle(Pong(token))
        assert await sending == Receipt("m1")
        assert "idle" in repr(ours)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal("bob", "No such nick (401)"), SendRefused),
        (Refusal("", "not now"), SendRefused),
        (Refusal("bob", "too fast (439)", temporary=True), SendDelayed),
    ],
)
async def test_a_refusal_counts_once_the_barrier_is_passed(refusal: Refusal, error: type[Exception]) -> None:
    """Ensure that late errors of this message cannot hit the next one to the same target."""
    async with outgoing() as (ours, reader):
        sending = asyncio.create_task(ours.deliver("bob", LINES))
        token = await _token(reader)
        ours.settle(refusal)
        ours.settle(Refusal("bob", "No such nick (401)"))
        assert not sending.done()
        ours.settle(Pong(token))
        with pytest.raises(error):
            await sending


async def test_an_error_for_another_target_is_not_ours() -> None:
    """Ensure correlation by target."""
    async with outgoing() as (ours, reader):
        sending = asyncio.create_task(ours.deliver("bob", LINES))
        token = await _token(reader)
        ours.settle(Refusal("#team", "Cannot send (404)"))
        ours.settle(Pong(token))
        assert await sending == Receipt()


async def test_a_link_lost_after_writing_is_uncertain() -> None:
    """Ensure we never claim that a written line did not arrive."""
    async with outgoing() as (ours, reader):
        sending = asyncio.create_task(ours.deliver("bob", LINES))
        await _token(reader)
        ours.lose("gone")
        with pytest.raises(SendUncertain, match="gone"):
            await sending


async def test_a_link_lost_before_writing_is_a_delay() -> None:
    """Ensure that what waited for its turn can be sent again without a doubt."""
    async with outgoing(burst=1, interval=60.0) as (ours, reader):
        first = asyncio.create_task(ours.deliver("bob", LINES[:1]))
        ours.settle(Pong(await _token(reader)))
        await first
        second = asyncio.create_task(ours.deliver("bob", LINES))
        while "sending" not in repr(ours):
            await asyncio.sleep(0)
        ours.lose("gone")
        with pytest.raises(SendDelayed, match="gone"):
            await second


async def test_a_server_that_does_not_answer_loses_the_link() -> None:
    """Ensure a bounded wait, and that its late errors cannot be taken for the next message's."""
    async with outgoing(patience=0.05) as (ours, reader):
        with pytest.raises(SendUncertain, match="no answer to PING"):
            await ours.deliver("bob", LINES)
        await _token(reader)
        with pytest.raises(SendDelayed):
            await ours.deliver("bob", LINES)


async def test_typing_yields_to_messages() -> None:
    """Ensure that the tokens of a message are never spent on a sign of typing."""
    async with outgoing(burst=3, interval=60.0) as (ours, _):
        assert [ours.spare(0.5) for _ in range(5)] == [True, True, True, False, False]
