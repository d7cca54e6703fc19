"""The Bot API as bytes: one session per account, calls in, results or three kinds of failure out.

Every aiohttp error ends here, because their texts hold the URL and the URL holds the token.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
from yarl import URL

#: Where the real server is; `apiRoot` in the config names another one.
API_ROOT = "https://api.telegram.org"
#: Bytes read of one answer at most. A hundred full updates are about 3 MiB.
MAX_ANSWER = 8 * 1024 * 1024
#: Seconds to reach the server before a call counts as not sent.
CONNECT_SECONDS = 10.0
#: Seconds an idle connection is kept for the next call: below the 60 to 75 s after which servers close it themselves,
#: since a request written into a closing connection ends as "uncertain".
KEEPALIVE_SECONDS = 45.0
#: Connections per account: one poll, the rest for sends. Telegram allows a bot about 30 messages a second.
CONNECTIONS = 32


class ApiError(Exception):
    """The server answered and refused. The text is its description."""

    def __init__(self, code: int, description: str, retry_after: float | None, moved_to: int | None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.retry_after = retry_after
        self.moved_to = moved_to


class NotSent(Exception):
    """The server was never reached: nothing happened there."""


class NoAnswer(Exception):
    """The request left and no usable answer came: it may or may not have been carried out."""


class _Parameters(msgspec.Struct, frozen=True):
    retry_after: float | None = None
    migrate_to_chat_id: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error_code: int = 0
    description: str = ""
    parameters: _Parameters | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode
#: Raised before the first byte of a request is written.
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_HEADERS = {"Content-Type": "application/json"}


class Wire:
    """Calls of one bot.

    `date` is the server's time at the last answer that told it, in whole seconds since the epoch; `clock` is the
    server's time minus ours as the first answer told it: late by up to a second, never early.
    """

    def __init__(self, token: str, root: str = API_ROOT, *, timeout: float, proxy: str | None = None) -> None:
        self._base = f"{root.rstrip('/')}/bot{token}/"
        self._proxy = proxy
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}
        self.date: float | None = None
        self.clock: float | None = None

    def __repr__(self) -> str:
        return f"<Wire {'open' if self._session is not None else 'closed'}>"

    async def call(self, method: str, params: Mapping[str, Any], *, timeout: float | None = None) -> msgspec.Raw:
        """The `result` of one method. Raises ApiError, NotSent or NoAnswer; `timeout` in seconds is for all of it."""
        status, body = await self._post(method, _encode(params), self._timeout if timeout is None else timeout)
        try:
            answer = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _unreadable(status) from None
        if answer.ok:
            return answer.result
        raise _refused(answer, status)

    async def _post(self, method: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        url = self._url(method)
        limits = aiohttp.ClientTimeout(total=timeout, connect=min(timeout, CONNECT_SECONDS))
        try:
            async with self._open().post(
                url, data=body, headers=_HEADERS, timeout=limits, proxy=self._proxy, allow_redirects=False
            ) as response:
                self._set_clock(response.headers.get("Date"))
                return response.status, await _read(response)
        except _UNREACHED as error:
            raise NotSent(f"cannot reach the server: {_cause(error)}") from None
        except aiohttp.ConnectionTimeoutError:
            raise NotSent(f"cannot reach the server within {limits.connect:g} s") from None
        except TimeoutError:
            raise NoAnswer(f"no answer within {timeout:g} s") from None
        except aiohttp.InvalidURL:
            raise NotSent("apiRoot is not a URL") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(f"the connection broke: {_cause(error)}") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _url(self, method: str) -> URL:
        if method not in self._urls:
            try:
                self._urls[method] = URL(self._base + method, encoded=True)
            except ValueError:
                raise NotSent("apiRoot is not a URL") from None
        return self._urls[method]

    def _set_clock(self, date: str | None) -> None:
        if date is None:
            return
        with contextlib.suppress(ValueError):
            self.date = parsedate_to_datetime(date).timestamp()
            self.clock = self.date - time.time() if self.clock is None else self.clock

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises NoAnswer when it is longer than MAX_ANSWER, told or not."""
    length = response.content_length
    if length is not None and length <= MAX_ANSWER:
        return await response.read()
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_ANSWER:
            raise NoAnswer(f"the answer is longer than {MAX_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)


def _unreadable(status: int) -> ApiError | NoAnswer:
    """A page of some proxy instead of the API's JSON: only 429 and 4xx say that nothing happened."""
    if 400 <= status < 500:
        return ApiError(status, f"HTTP {status}", None, None)
    return NoAnswer(f"HTTP {status} without a readable answer")


def _refused(answer: _Answer, status: int) -> ApiError | NoAnswer:
    code = answer.error_code or status
    if code >= 500:
        return NoAnswer(f"server error {code}: {answer.description[:200]}")
    told = answer.parameters or _Parameters()
    return ApiError(code, answer.description[:500], told.retry_after, told.migrate_to_chat_id)


def _cause(error: Exception) -> str:
    """Only the kind of error and the system's own words: aiohttp's text may hold the URL."""
    system = getattr(error, "os_error", error)
    words = system.strerror if isinstance(system, OSError) else None
    return words if isinstance(words, str) and "/bot" not in words else type(error).__name__
