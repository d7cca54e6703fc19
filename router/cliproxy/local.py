"""Finds OpenAI-compatible model servers on this machine: who answers GET /v1/models with a list is one.

Looking costs at most `PROBE_TIMEOUT` and is remembered, so a gateway without any key does not knock at each message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import msgspec

from router.cliproxy.providers import LOCAL_PORTS

#: Seconds one server gets to answer; on loopback that is a long time.
PROBE_TIMEOUT = 0.3
#: Seconds a finding is believed: a server found rarely goes away, a server being started is wanted soon.
FOUND_AGE = 30.0
NOTHING_AGE = 5.0
MAX_LIST = 1024 * 1024


class LocalServers:
    """Remembers which servers run; `find` looks again when that is too old."""

    def __init__(self, session: aiohttp.ClientSession, ports: Iterable[int]) -> None:
        self._session = session
        self._ports = tuple(ports)
        self._found: Mapping[str, str] = {}
        self._until = 0.0
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"LocalServers({', '.join(self._found) or 'none found'})"

    @property
    def known(self) -> tuple[str, ...]:
        """The servers found last time."""
        return tuple(self._found)

    async def find(self) -> Mapping[str, str]:
        """Running servers in the order of the ports: provider id to the first model that can chat."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._ports and now >= self._until:
                self._found = await self._look()
                self._until = now + (FOUND_AGE if self._found else NOTHING_AGE)
            return self._found

    async def _look(self) -> Mapping[str, str]:
        models = await asyncio.gather(*(self._ask(port) for port in self._ports))
        names = (LOCAL_PORTS.get(port, f"local-{port}") for port in self._ports)
        return {name: model for name, model in zip(names, models, strict=True) if model}

    async def _ask(self, port: int) -> str:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT)
        url = f"http://127.0.0.1:{port}/v1/models"
        try:
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                if response.status != 200:
                    return ""
                return first_model(await _read(response))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return ""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Whatever answers there may be no model server at all: an endless body ends the look."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_LIST:
            return b""
    return body


def first_model(body: bytes) -> str:
    """The first model of a GET /v1/models answer that can chat, or ""; embedding models cannot."""
    try:
        listed: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ""
    data = listed.get("data") if isinstance(listed, dict) else None
    models = [one.get("id") for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    return next((model for model in models if isinstance(model, str) and model and "embed" not in model.lower()), "")
