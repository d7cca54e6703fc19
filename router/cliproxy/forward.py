"""One question on its way to a vendor and the answer on its way back, both unbuffered.

The address and the key come from the configuration; from the worker come the body, unread and unchanged, and a few
headers. A worker that goes away cancels the request upstream, because the server cancels this handler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import aiohttp
import msgspec
from aiohttp import web

from router.cliproxy import faults, headers
from router.cliproxy.accounts import Credential
from router.cliproxy.faults import Fault
from router.cliproxy.ledger import Call
from router.cliproxy.providers import Provider

log = logging.getLogger("cliproxy")

MAX_BODY = 32 * 1024 * 1024
#: Largest error text of a vendor that is passed on.
MAX_ERROR = 64 * 1024


class Limits(msgspec.Struct, frozen=True):
    """Seconds: to reach a vendor, without a byte from it, without a byte of the worker's own body."""

    connect: float = 15.0
    idle: float = 600.0
    upload: float = 60.0
    in_flight: int = 64


class Upstream(msgspec.Struct, frozen=True):
    """Where a question goes, for whom, and with which key."""

    agent: str
    provider: Provider
    credential: Credential


async def forward(
    request: web.BaseRequest, upstream: Upstream, session: aiohttp.ClientSession, call: Call, limits: Limits
) -> web.StreamResponse:
    """Raises Fault for everything that happens before the answer has begun."""
    provider = upstream.provider
    upload = _Upload(request, limits)
    timeout = aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_read=limits.idle)
    try:
        async with session.post(
            provider.url,
            data=upload.pieces(),
            headers=headers.to_vendor(request.headers, provider, upstream.credential),
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            if answer.status != 200:
                return await _refusal(answer, upstream, call)
            return await _relay(request, answer, upstream, call)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise upload.fault or _unreachable(error, provider) from None


def check(request: web.BaseRequest) -> None:
    """Refuse what cannot be passed on as it is. Raises Fault."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Fault(415, "send the request body without Content-Encoding")
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()


class _Upload:
    """The worker's body on its way out. What ends it early is kept, since the HTTP client wraps what it raises."""

    def __init__(self, request: web.BaseRequest, limits: Limits) -> None:
        self._content = request.content
        self._patience = limits.upload
        self.fault: Fault | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        size = 0
        while chunk := await self._piece():
            size += len(chunk)
            if size > MAX_BODY:
                self.fault = _too_large()
                raise self.fault
            yield chunk

    async def _piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await self._content.readany()
        except TimeoutError:
            self.fault = Fault(408, "the question did not arrive in time")
            raise self.fault from None


def _too_large() -> Fault:
    return Fault(413, f"the request is over {MAX_BODY} bytes")


async def _relay(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, upstream: Upstream, call: Call
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers.to_worker(answer.headers, upstream.credential))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            call.see(chunk)
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        await _break_off(request, response, upstream, call, error)
    return response


async def _break_off(
    request: web.BaseRequest, response: web.StreamResponse, upstream: Upstream, call: Call, error: Exception
) -> None:
    """The vendor's answer ended too soon: a stream says so in its last event, anything else is cut as it was."""
    fault = _unreachable(error, upstream.provider)
    call.fail(fault.message)
    log.warning("agent %s: %s in mid answer", upstream.agent, fault.message)
    if response.content_type == "text/event-stream":
        await response.write(faults.event(fault, upstream.provider.api))
    elif request.transport is not None:
        request.transport.abort()


async def _refusal(answer: aiohttp.ClientResponse, upstream: Upstream, call: Call) -> web.Response:
    """A vendor's error: its text without the key. What it says about a wrong key is replaced, as some quote the key."""
    name = upstream.provider.id
    call.fail(f"HTTP {answer.status} from {name}")
    log.warning("agent %s: HTTP %d from %s", upstream.agent, answer.status, name)
    if answer.status == 401:
        source = upstream.credential.source
        raise Fault(401, f'{name} rejects the API key of agent "{upstream.agent}" ({source})')
    passed = headers.to_worker(answer.headers, upstream.credential)
    if answer.status < 400:
        raise Fault(502, f"{name} answers with a redirect (HTTP {answer.status}), which is not followed with a key")
    said = faults.without(upstream.credential.key, await _read(answer))
    if not faults.is_json_object(said):
        raise Fault(answer.status, f"{name} answers HTTP {answer.status}", retry_after=passed.get("retry-after", ""))
    passed["content-type"] = "application/json"
    return web.Response(status=answer.status, body=said, headers=passed)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    said = b""
    async for chunk in answer.content.iter_any():
        said += chunk
        if len(said) > MAX_ERROR:
            return b""
    return said


def _unreachable(error: Exception, provider: Provider) -> Fault:
    """Names the kind of failure only: a foreign error's text may hold what it was sending."""
    if isinstance(error, TimeoutError):
        return Fault(504, f"{provider.id} does not answer in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Fault(502, f"{provider.id} cannot be reached at {_host(provider)}")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return Fault(502, f"the request to {provider.id} cannot be built: check its baseUrl and headers")
    return Fault(502, f"the connection to {provider.id} broke off")


def _host(provider: Provider) -> str:
    """Host and port only: an address may hold a password."""
    return provider.base_url.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2]
