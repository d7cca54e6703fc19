"""Commands that agents run, and the end of the gateway that they run under."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.support.gateway import OPENCLAW, Gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as made:
        yield made


def running(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or [])]


async def wait_for(condition: bool, mark: str) -> None:
    async with asyncio.timeout(10):
        while bool(running(mark)) is not condition:
            await asyncio.sleep(0.02)


async def test_what_agents_run_ends_with_a_killed_gateway_or_with_its_successor(gateway: Gateway) -> None:
    """SIGKILL of everything leaves the worker no moment to end its command: the kernel and the next gateway do."""
    await gateway.start()
    number = "86399.25"
    asking = await asyncio.create_subprocess_exec(
        *OPENCLAW,
        *("agent", "--agent", "main", "-m", f"/run sleep {number} & sleep {number}"),
        env=gateway.environ,
        cwd=gateway.home,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await wait_for(True, number)
    assert gateway.process is not None
    gateway.process.kill()
    await gateway.process.wait()
    assert await asking.wait() == 1, "the person at the command line is told"
    await gateway.start()
    await wait_for(False, number)
