"""Events from the router to whoever watches an agent: one bounded queue per reader, nobody waits for anybody.

The router publishes without awaiting. A reader that lets its queue fill is dropped, which it sees as the end of its
subscription; it connects again and reloads the history. A reader that waits costs nothing until something happens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from protocol.errors import Temporary
from router.web.events import Event, weigh

#: Events and bytes that may wait for one reader before it is dropped.
MAX_WAITING = 1024
MAX_WAITING_BYTES = 2 * 1024 * 1024
#: Readers of all agents together; a browser tab is one.
MAX_READERS = 64


class Subscription:
    """One reader's queue. Ends (`take` gives None, iteration stops) when closed by either side or overrun."""

    def __init__(self, leave: Callable[[Subscription], None], *, ours: bool = False) -> None:
        self._leave = leave
        self.ours = ours
        self._waiting: deque[Event] = deque()
        self._weight = 0
        self._closed = False
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Subscription {'closed' if self._closed else 'open'} waiting={len(self._waiting)}>"

    def offer(self, event: Event) -> None:
        """Queue an event; a reader too far behind is dropped instead."""
        if self._closed:
            return
        self._waiting.append(event)
        self._weight += weigh(event)
        if len(self._waiting) > MAX_WAITING or self._weight > MAX_WAITING_BYTES:
            self._waiting.clear()
            self.close()
        self._changed.set()

    async def take(self, timeout: float) -> tuple[Event, ...] | None:
        """Everything that waits; empty when nothing came for `timeout` seconds, None when it is over."""
        if not self._waiting and not self._closed:
            await self._rest(timeout)
        if not self._waiting:
            return None if self._closed else ()
        taken = tuple(self._waiting)
        self._waiting.clear()
        self._weight = 0
        return taken

    async def _rest(self, timeout: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            await self._rest(None)
        event = self._waiting.popleft()
        self._weight -= weigh(event)
        return event

    def close(self) -> None:
        """End it: nothing is queued any more; what waits may still be taken. Twice is harmless."""
        if not self._closed:
            self._closed = True
            self._leave(self)
            self._changed.set()


class Feed:
    """All readers of all agents."""

    def __init__(self, *, readers: int = MAX_READERS) -> None:
        self._limit = readers
        self._readers: dict[str, dict[Subscription, None]] = {}

    def __repr__(self) -> str:
        return f"<Feed readers={self._count()}>"

    def _count(self) -> int:
        return sum(not reader.ours for readers in self._readers.values() for reader in readers)

    def subscribe(self, agent: str) -> Subscription:
        """Events of one agent from now on. Raises Temporary when too many watch already."""
        if self._count() >= self._limit:
            raise Temporary("too many pages are open", retry_after=30.0)
        return self._enter(agent, ours=False)

    def attend(self, agent: str) -> Subscription:
        """As `subscribe`, for a part of the router itself: it takes no page's place."""
        return self._enter(agent, ours=True)

    def _enter(self, agent: str, *, ours: bool) -> Subscription:
        subscription = Subscription(lambda reader: self._drop(agent, reader), ours=ours)
        self._readers.setdefault(agent, {})[subscription] = None
        return subscription

    def _drop(self, agent: str, reader: Subscription) -> None:
        readers = self._readers.get(agent, {})
        readers.pop(reader, None)
        if not readers:
            self._readers.pop(agent, None)

    def watched(self, agent: str) -> bool:
        """Whether anybody looks: live text for nobody need not be made."""
        return agent in self._readers

    def publish(self, agent: str, event: Event) -> None:
        """Tell everybody who watches `agent`; never waits, never fails."""
        for reader in tuple(self._readers.get(agent, ())):
            reader.offer(event)

    def close(self) -> None:
        """End every reader's subscription."""
        for readers in tuple(self._readers.values()):
            for reader in tuple(readers):
                reader.close()
