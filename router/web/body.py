"""Reading a request's body: JSON of one shape, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from protocol.envelope import MAX_TEXT
from router.web.answers import Refused

#: The longest text allowed, in UTF-8, and its JSON around it.
MAX_BODY = 4 * MAX_TEXT + 4096
#: Seconds for a whole body.
BODY_SECONDS = 10.0

T = TypeVar("T")


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page posts. `key` is made once per message by the browser and makes a repeated POST harmless."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    key: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{8,64}\Z")]


async def read_json(request: web.BaseRequest, kind: type[T], limit: int = MAX_BODY) -> T:
    """The body as a `kind`. Raises Refused: 415 not JSON, 413 too long, 408 too slow, 400 another shape."""
    if request.content_type != "application/json":
        raise Refused(415, "the body must be application/json", "invalid_request")
    body = await read_body(request, limit)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"unexpected body: {error}", "invalid_request") from None


async def read_body(request: web.BaseRequest, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body. Raises Refused: 413 over `limit` bytes, 408 not complete after `seconds`."""
    if (request.content_length or 0) > limit:
        raise _too_long(limit)
    try:
        async with asyncio.timeout(seconds):
            return await _collect(request, limit)
    except TimeoutError:
        raise Refused(408, f"the body took over {seconds:g} s", "timeout") from None


async def _collect(request: web.BaseRequest, limit: int) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > limit:
            raise _too_long(limit)
    return bytes(body)


def _too_long(limit: int) -> Refused:
    return Refused(413, f"the body is over {limit} bytes", "too_large")
