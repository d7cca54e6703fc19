"""A disk that one agent fills: the whole gateway on a small file system."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.gateway import Gateway, Ran

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system"),
    pytest.mark.timeout(120),
]
#: Fast, but not faster than a disk; it goes on when the disk is full.
FILL = "while :; do head -c 4000000 /dev/zero >> junk; sleep 0.05; done"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as made:
        command = ["mount", "-t", "tmpfs", "-o", "size=300m,mode=700", "none", str(made.state)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        try:
            made.write({"agents": {"list": [{"id": "neighbour"}, {"id": "filler"}]}})
            yield made
        finally:
            made.kill_all()
            subprocess.run(["umount", "-l", str(made.state)], check=True)


async def ask(gateway: Gateway, agent: str, text: str) -> Ran:
    return await gateway.run("agent", "--agent", agent, "-m", text)


async def worker(gateway: Gateway, agent: str, wanted: set[str]) -> dict[str, Any]:
    """The state of an agent's worker, as soon as it is one of these."""
    async with asyncio.timeout(60):
        while True:
            status = json.loads((await gateway.run("gateway", "status", "--json")).out)
            one = next(one for one in processes(status) if one["name"] == f"worker {agent}")
            if one["state"] in wanted:
                return one
            await asyncio.sleep(0.2)


def processes(status: dict[str, Any]) -> list[dict[str, Any]]:
    return list(status["processes"])


async def test_the_filler_is_stopped_and_its_neighbour_goes_on(gateway: Gateway) -> None:
    await gateway.start()
    await worker(gateway, "filler", {"ready", "stable"})
    async with gateway.meanwhile("agent", "--agent", "filler", "-m", f"/run {FILL}"):
        found = await worker(gateway, "filler", {"quarantined"})
        assert found["reason"].startswith("filled the disk: its folders grew by ")
        assert found["reason"].endswith("hint: free space, then openclaw gateway restart --agent filler")
        told = os.statvfs(gateway.state)
        assert told.f_bavail * told.f_frsize > 20_000_000, "it was stopped before the disk was full"
        for number in range(3):
            answer = await ask(gateway, "neighbour", f"/run echo {number} > note && cat note")
            assert (answer.code, str(number) in answer.out) == (0, True), answer
        assert (await worker(gateway, "neighbour", {"ready", "stable"}))["restarts"] == 0
        assert "filled the disk" in gateway.output()

        refused = await gateway.run("gateway", "restart", "--agent", "filler")
        assert await worker(gateway, "filler", {"quarantined"}), refused
        (gateway.state / "workspace-filler/junk").unlink()
        await gateway.run("gateway", "restart", "--agent", "filler")
        await worker(gateway, "filler", {"ready", "stable"})
