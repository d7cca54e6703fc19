"""Asking a model through the cliproxy: the only file of the worker that speaks HTTP.

Nothing is made at import: a zygote loads this file before it forks, and sessions belong to a running loop. Foreign
errors end here; what leaves is ModelBusy or ModelRefused.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import aiohttp
import msgspec

from protocol.model_route import (
    ANTHROPIC_PATH,
    OPENAI_PATH,
    PROXY_VERSION,
    PROXY_VERSION_HEADER,
    ROUTE_PATH,
    Route,
)
from worker.llm.anthropic import AnthropicCodec
from worker.llm.base import Finished, Model, ModelBusy, ModelEvent, ModelRefused, Request
from worker.llm.codec import Codec, Decoder
from worker.llm.failures import from_status
from worker.llm.offline import OfflineModel
from worker.llm.openai import OpenAICodec
from worker.llm.sse import Event, Parser

#: Seconds without a byte before an answer counts as lost, and for one whole answer.
IDLE_TIMEOUT = 600.0
TOTAL_TIMEOUT = 3600.0
#: Seconds for a route: the proxy may probe local servers first.
ROUTE_TIMEOUT = 10.0
#: Seconds a route is believed, so that a key set a moment ago is used soon.
ROUTE_AGE = 5.0
#: Seconds to wait for the end of a body after the answer is complete.
DRAIN_TIMEOUT = 0.25
#: Largest question written in one piece, in bytes.
MAX_AT_ONCE = 256 * 1024
#: Largest answer in bytes, and largest error body we look into.
MAX_RESPONSE = 64 * 1024 * 1024
MAX_ERROR = 64 * 1024

#: The host name is not used on a unix socket; it only has to be one.
_BASE = "http://cliproxy"
_CODECS: Mapping[str, tuple[str, Codec]] = {
    "anthropic-messages": (ANTHROPIC_PATH, AnthropicCodec()),
    "openai-completions": (OPENAI_PATH, OpenAICodec()),
}


class ProxyClient:
    """This agent's connection to the cliproxy. Make it anywhere, use it in one loop, close it at the end."""

    def __init__(self, socket_path: str, token: str, *, idle_timeout: float = IDLE_TIMEOUT) -> None:
        self._socket_path = socket_path
        self._headers = {"Authorization": f"Bearer {token}", PROXY_VERSION_HEADER: PROXY_VERSION}
        self._idle_timeout = idle_timeout
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"ProxyClient({self._socket_path!r}, {'connected' if self._session else 'idle'})"

    async def route(self, model_ref: str) -> Route:
        """Where a model (`provider/model`, or empty for "whatever there is") is served for this agent.

        Raises ModelBusy when the proxy is away, ModelRefused when it does not know us.
        """
        timeout = aiohttp.ClientTimeout(total=ROUTE_TIMEOUT)
        url = f"{_BASE}{ROUTE_PATH}?model={quote(model_ref, safe='')}"
        try:
            async with self._open().get(url, timeout=timeout) as response:
                body = await _read_some(response, MAX_ERROR)
                if response.status != 200:
                    raise from_status(response.status, body, response.headers.get("Retry-After"), time.time())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _away(error) from None
        try:
            return msgspec.json.decode(body, type=Route)
        except msgspec.DecodeError as error:
            raise ModelRefused(f"the model proxy speaks another version: {error}") from None

    @asynccontextmanager
    async def post(self, path: str, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 200 answer, to be read inside the block. Leaving early closes the connection, which cancels upstream.

        Raises ModelBusy or ModelRefused, also for what goes wrong while the block reads.
        """
        timeout = aiohttp.ClientTimeout(total=TOTAL_TIMEOUT, sock_read=self._idle_timeout)
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        # A large body goes out in pieces, so that other sessions of this agent run meanwhile.
        data = body if len(body) <= MAX_AT_ONCE else io.BytesIO(body)
        try:
            async with self._open().post(f"{_BASE}{path}", data=data, headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    said = await _read_some(response, MAX_ERROR)
                    raise from_status(response.status, said, response.headers.get("Retry-After"), time.time())
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _away(error) from None

    async def close(self) -> None:
        """Close every connection; a later question opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self._socket_path, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


class ProxyModel:
    """`base.Model` on one route: builds the vendor's request, decodes the vendor's stream."""

    def __init__(self, client: ProxyClient, route: Route) -> None:
        self._client = client
        self._route = route

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """`request.model` is the vendor's own id. Raises ModelBusy or ModelRefused."""
        path, codec = _CODECS[self._route.api]
        body = codec.build(request, self._route.provider)
        decoder = codec.decoder(request)
        async with self._client.post(path.format(provider=self._route.provider), body) as response:
            async for event in _decode(response, decoder):
                yield event


class RoutedModel:
    """`base.Model` for whatever the proxy has: asks for the route, then asks the model there, or answers offline.

    Here `request.model` is the reference from the configuration: `provider/model`, or empty. Routes are remembered
    for a few seconds and forgotten on any error.
    """

    def __init__(self, client: ProxyClient) -> None:
        self._client = client
        self._routes: dict[str, tuple[float, Route]] = {}

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Raises ModelBusy or ModelRefused."""
        route = await self._route(request.model)
        try:
            async for event in self._model(route).stream(msgspec.structs.replace(request, model=route.model)):
                yield event
        except (ModelBusy, ModelRefused):
            self._routes.pop(request.model, None)
            raise

    async def close(self) -> None:
        """Close the connection to the proxy."""
        await self._client.close()

    def _model(self, route: Route) -> Model:
        if route.api == "offline":
            return OfflineModel(route.reason, route.hints)
        return ProxyModel(self._client, route)

    async def _route(self, model_ref: str) -> Route:
        now = asyncio.get_running_loop().time()
        known = self._routes.get(model_ref)
        if known is not None and now - known[0] < ROUTE_AGE:
            return known[1]
        route = await self._client.route(model_ref)
        self._routes[model_ref] = (now, route)
        return route


class _WholeBody:
    """Stands in for the stream parser when a server does not stream: one JSON body, taken as one event."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Event]:
        self._chunks.append(chunk)
        return []

    def end(self) -> list[Event]:
        return [Event("", b"".join(self._chunks).decode("utf-8", "replace"))]


async def _decode(response: aiohttp.ClientResponse, decoder: Decoder) -> AsyncIterator[ModelEvent]:
    parser = _WholeBody() if response.content_type == "application/json" else Parser()
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_RESPONSE:
            raise ModelRefused(f"the model's answer is over {MAX_RESPONSE} bytes")
        for said in _said(parser.feed(chunk), decoder):
            if isinstance(said, Finished):
                await _drain(response)
                yield said
                return
            yield said
    for said in (*_said(parser.end(), decoder), *decoder.end()):
        yield said


def _said(events: Iterable[Event], decoder: Decoder) -> Iterator[ModelEvent]:
    for event in events:
        yield from decoder.feed(event)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of the body, so that the connection can be used again; a server that dawdles loses it."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(DRAIN_TIMEOUT):
            async for _ in response.content.iter_any():
                pass


async def _read_some(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """At most `limit` bytes; an error text needs no more."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= limit:
            break
    return body[:limit]


def _away(error: Exception) -> ModelBusy:
    """Names the kind of failure only: a foreign error's text may hold what it was sending."""
    if isinstance(error, TimeoutError):
        return ModelBusy("the model did not answer in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return ModelBusy("the model proxy is not running")
    return ModelBusy("the connection to the model broke off")
