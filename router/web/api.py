"""The page's API: each endpoint is one question to the desk. Authentication happened before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from protocol.errors import Temporary
from protocol.messages import HistoryEntry
from router.web.answers import SAFE_HEADERS, Refused, answer
from router.web.body import NewMessage, read_json
from router.web.desk import OperatorDesk, Pending
from router.web.door import Visit
from router.web.events import Event
from router.web.feed import Subscription

#: Seconds between blank lines on a silent event stream, so that both ends notice a dead connection.
HEARTBEAT = 15.0
#: Seconds one write to a slow reader may take before its connection is cut.
WRITE_SECONDS = 20.0
#: Lines of history sent when the page names no number, and at most.
HISTORY = 200
MAX_HISTORY = 1000

Endpoint = Callable[[web.BaseRequest, Visit, str], Awaitable[web.StreamResponse]]


class Api:
    """The endpoints. `streams` are the event streams open now."""

    def __init__(self, desk: OperatorDesk, *, heartbeat: float = HEARTBEAT) -> None:
        self._desk = desk
        self._heartbeat = heartbeat
        self.streams: set[Subscription] = set()

    async def agents(self, _request: web.BaseRequest, _visit: Visit, _agent: str) -> web.StreamResponse:
        return answer({"agents": list(self._desk.agents())})

    async def channels(self, _request: web.BaseRequest, _visit: Visit, _agent: str) -> web.StreamResponse:
        return answer({"accounts": list(self._desk.accounts())})

    async def submit(self, request: web.BaseRequest, _visit: Visit, agent: str) -> web.StreamResponse:
        """202 with the inbound id once the message is on disk."""
        self._know(agent)
        message = await read_json(request, NewMessage)
        if not message.text.strip():
            raise Refused(400, "the message is empty", "invalid_request")
        return answer({"id": await self._desk.submit(agent, message.text, message.key)}, 202)

    async def history(self, request: web.BaseRequest, _visit: Visit, agent: str) -> web.StreamResponse:
        """What was said and what waits. A worker that does not answer costs the first part only."""
        self._know(agent)
        limit = _read_limit(request.query.get("limit", ""))
        entries: tuple[HistoryEntry, ...] = ()
        problem = ""
        try:
            entries = await self._desk.history(agent, limit)
        except Temporary as error:
            problem = error.reason
        pending = [_describe(message) for message in self._desk.pending(agent)]
        return answer({"entries": entries, "pending": pending, "problem": problem})

    async def events(self, request: web.BaseRequest, visit: Visit, agent: str) -> web.StreamResponse:
        """One JSON line per event until either side closes; blank lines while nothing happens."""
        self._know(agent)
        subscription = self._desk.subscribe(agent)
        self.streams.add(subscription)
        visit.when_gone.append(subscription.close)
        try:
            return await self._stream(request, subscription)
        finally:
            visit.when_gone.remove(subscription.close)
            self.streams.discard(subscription)
            subscription.close()

    async def _stream(self, request: web.BaseRequest, subscription: Subscription) -> web.StreamResponse:
        headers = {**SAFE_HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        try:
            while (events := await subscription.take(self._heartbeat)) is not None:
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(_lines(events))
        except (TimeoutError, ConnectionError):
            # The reader is too slow or gone: it connects again and reloads the history.
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        return response

    def _know(self, agent: str) -> None:
        if all(view.id != agent for view in self._desk.agents()):
            raise Refused(404, f"no agent {agent!r}", "not_found", hint="openclaw agents list")

    def close_streams(self) -> None:
        """End every event stream; the pages connect again and must show their token."""
        for subscription in tuple(self.streams):
            subscription.close()


def _read_limit(text: str) -> int:
    if not text:
        return HISTORY
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) > 0):
        raise Refused(400, "limit must be a positive number", "invalid_request")
    return min(int(text), MAX_HISTORY)


def _describe(message: Pending) -> dict[str, object]:
    number, text, at = message
    return {"id": number, "text": text, "at": at}


def _lines(events: Sequence[Event]) -> bytes:
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events) or b"\n"
