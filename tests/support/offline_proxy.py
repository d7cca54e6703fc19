"""A cliproxy that has no credential for anybody: every route leads to the offline model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from protocol.model_route import ROUTE_PATH, Route


@asynccontextmanager
async def offline_proxy(socket_path: str) -> AsyncIterator[None]:
    """Serve routes on a unix socket inside the block."""

    async def route(_: web.Request) -> web.Response:
        answer = Route("offline", "anthropic", "none", reason="no credential", hints=("export ANTHROPIC_API_KEY=…",))
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    app = web.Application()
    app.router.add_get(ROUTE_PATH, route)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, socket_path).start()
    try:
        yield
    finally:
        await runner.cleanup()
