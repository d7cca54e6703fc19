"""Events to readers: bounded, never waiting, and a slow reader is dropped."""

from __future__ import annotations

import asyncio

import pytest

from protocol.errors import Temporary
from router.web.events import Doing, Growing
from router.web.feed import MAX_WAITING, MAX_WAITING_BYTES, Feed


def _event(number: int = 1) -> Doing:
    return Doing(id=str(number), doing="model")


async def test_every_reader_of_the_agent_gets_the_event() -> None:
    feed = Feed()
    first, second, other = feed.subscribe("main"), feed.subscribe("main"), feed.subscribe("family")
    feed.publish("main", _event())
    assert await first.take(0) == (_event(),)
    assert await second.take(0) == (_event(),)
    assert await other.take(0) == ()


async def test_a_waiting_reader_is_woken() -> None:
    feed = Feed()
    reader = feed.subscribe("main")
    asyncio.get_running_loop().call_soon(feed.publish, "main", _event())
    assert await reader.take(5) == (_event(),)


async def test_what_piled_up_comes_at_once() -> None:
    """One write to the socket for all of it."""
    feed = Feed()
    reader = feed.subscribe("main")
    for number in range(3):
        feed.publish("main", _event(number))
    assert await reader.take(0) == (_event(0), _event(1), _event(2))


async def test_a_subscription_can_be_iterated() -> None:
    feed = Feed()
    reader = feed.subscribe("main")
    feed.publish("main", _event(1))
    feed.publish("main", _event(2))
    reader.close()
    assert [event async for event in reader] == [_event(1), _event(2)]


async def test_closing_wakes_a_waiting_reader() -> None:
    feed = Feed()
    reader = feed.subscribe("main")
    asyncio.get_running_loop().call_soon(reader.close)
    assert await reader.take(5) is None


async def test_a_reader_with_too_many_events_waiting_is_dropped() -> None:
    feed = Feed()
    reader = feed.subscribe("main")
    for number in range(MAX_WAITING + 1):
        feed.publish("main", _event(number))
    assert await reader.take(0) is None
    assert repr(feed) == "<Feed readers=0>"


async def test_a_reader_with_too_many_bytes_waiting_is_dropped() -> None:
    """A hostile worker says a megabyte at a time."""
    feed = Feed()
    reader = feed.subscribe("main")
    for _ in range(3):
        feed.publish("main", Growing(id="1", seq=0, offset=0, text="x" * (MAX_WAITING_BYTES // 2)))
    assert await reader.take(0) is None


async def test_reading_makes_room_again() -> None:
    feed = Feed()
    reader = feed.subscribe("main")
    for _ in range(5):
        feed.publish("main", Growing(id="1", seq=0, offset=0, text="x" * (MAX_WAITING_BYTES // 2)))
        assert await reader.take(0)
    for _ in range(5):
        feed.publish("main", Growing(id="1", seq=0, offset=0, text="x" * (MAX_WAITING_BYTES // 2)))
        await anext(reader)
    assert repr(reader) == "<Subscription open waiting=0>"


async def test_nobody_is_watched_after_the_last_reader_left() -> None:
    feed = Feed()
    reader = feed.subscribe("main")
    assert feed.watched("main")
    reader.close()
    reader.close()
    assert not feed.watched("main")


async def test_there_is_a_limit_to_readers() -> None:
    feed = Feed(readers=1)
    first = feed.subscribe("main")
    with pytest.raises(Temporary, match="too many pages"):
        feed.subscribe("family")
    first.close()
    feed.subscribe("family")
