"""Latency the cliproxy adds to one model request: `python -m tests.bench.proxy_hop [--requests 500]`.

The fake vendor, the proxy and the asking side are three processes. The same RoutedModel-shaped request goes to the
vendor directly and through the proxy's unix socket, alternating, so that both see the same noise of the machine.
Caveat: three processes on two cores; a machine with idle cores adds less.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from protocol import messages as m
from protocol.model_route import PROXY_VERSION, PROXY_VERSION_HEADER
from protocol.pipe import Pipe, make_pair
from protocol.slices_proxy import AgentSlice, ProviderSlice, ProxySlice
from worker.llm.anthropic import AnthropicCodec
from worker.llm.base import Request, UserTurn


@contextlib.asynccontextmanager
async def vendor() -> AsyncIterator[str]:
    """The fake vendors as a process; its address."""
    command = (sys.executable, "-m", "tests.support.model_api")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def proxy(settings: ProxySlice) -> AsyncIterator[None]:
    """The cliproxy as a process, ready."""
    ours, theirs = make_pair()
    command = (sys.executable, "-m", "router.cliproxy", "--pipe", str(theirs.fileno()))
    process = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),))
    theirs.close()
    pipe = Pipe(ours, m.proxy_to_supervisor)
    pipe.send(m.ProxyBoot(version=m.PROTOCOL_VERSION, slice=settings))
    await pipe.receive()
    try:
        yield
    finally:
        pipe.send(m.ProxyStop(grace=0))
        await process.wait()
        pipe.close()


async def once(session: aiohttp.ClientSession, url: str, body: bytes) -> float:
    """Seconds from question to the end of the answer."""
    begin = time.perf_counter()
    async with session.post(url, data=body) as response:
        await response.read()
    assert response.status == 200, response.status
    return time.perf_counter() - begin


async def measure(requests: int, size: int) -> tuple[list[float], list[float]]:
    """Direct and proxied times, in seconds."""
    body = AnthropicCodec().build(Request("c", "s" * size, (UserTurn("hi"),)), "anthropic")
    with tempfile.TemporaryDirectory() as folder:
        async with vendor() as address:
            token = hashlib.sha256(b"t").hexdigest()
            settings = ProxySlice(
                socket=str(Path(folder) / "p" / "s"),
                agents=(AgentSlice(agent="main", token_sha256=token, agent_dir=folder, api_key="sk-ant-x"),),
                providers=(ProviderSlice(id="anthropic", base_url=address),),
            )
            async with proxy(settings):
                return await compare(address, settings.socket, body, requests)


async def compare(address: str, socket: str, body: bytes, requests: int) -> tuple[list[float], list[float]]:
    direct_headers = {"x-api-key": "sk-ant-x", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    proxied_headers = {"authorization": "Bearer t", PROXY_VERSION_HEADER: PROXY_VERSION}
    unix = aiohttp.UnixConnector(socket)
    async with (
        aiohttp.ClientSession(headers=direct_headers) as direct,
        aiohttp.ClientSession(headers=proxied_headers, connector=unix) as proxied,
    ):
        times: tuple[list[float], list[float]] = ([], [])
        for count in range(requests + 50):
            took = await once(direct, f"{address}/v1/messages", body)
            through = await once(proxied, "http://cliproxy/p/anthropic/v1/messages", body)
            if count >= 50:
                times[0].append(took)
                times[1].append(through)
        return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--size", type=int, default=4000, help="characters of the system prompt")
    options = parser.parse_args()
    direct, proxied = asyncio.run(measure(options.requests, options.size))
    for name, times in (("direct", direct), ("proxied", proxied)):
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"{name:8} median {statistics.median(times) * 1000:.2f} ms   p95 {p95 * 1000:.2f} ms")
    print(f"added    median {(statistics.median(proxied) - statistics.median(direct)) * 1000:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
