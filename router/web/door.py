"""The open connections: how many there may be, whose they are, and what to tell when one is gone.

aiohttp's server takes any number of connections; this one closes a connection over the limits at once, before it has
sent a byte (FIELD S15). A connection that does not finish a request's header is closed by the keep-alive time, which
runs from the moment it is opened (FIELD S22).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from router.web.auth import neighbourhood

MAX_CONNECTIONS = 512
MAX_PER_ADDRESS = 128
#: Seconds a connection may be open without a complete request header.
IDLE_SECONDS = 15.0
#: Seconds for which the rest of a refused body is read and thrown away, so that the client sees the refusal.
LINGER_SECONDS = 2.0


class Visit:
    """One open connection. `proven` says that it has shown the right token."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.proven = False
        self.when_gone: list[Callable[[], None]] = []


class Door(web.Server):
    """aiohttp's server with a limit on connections, in all and per address."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        total: int = MAX_CONNECTIONS,
        each: int = MAX_PER_ADDRESS,
        idle: float = IDLE_SECONDS,
    ) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=idle, lingering_time=LINGER_SECONDS)
        self._total = total
        self._each = each
        self._visits: dict[RequestHandler, Visit] = {}
        self._per_address: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Door open={len(self._visits)}>"

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = neighbourhood(str(peer[0]) if peer else "")
        self._visits[handler] = Visit(address)
        self._per_address[address] += 1
        if len(self._visits) > self._total or self._per_address[address] > self._each:
            handler.force_close()
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        visit = self._visits.pop(handler, None)
        if visit is None:
            return
        self._per_address[visit.address] -= 1
        if not self._per_address[visit.address]:
            del self._per_address[visit.address]
        for tell in visit.when_gone:
            tell()

    def visit(self, request: web.BaseRequest) -> Visit:
        """The connection a request came on; one that is gone already gets a visit that nobody remembers."""
        return self._visits.get(request.protocol) or Visit("")

    def distrust(self) -> None:
        """The token changed: no connection has shown the new one."""
        for visit in self._visits.values():
            visit.proven = False
