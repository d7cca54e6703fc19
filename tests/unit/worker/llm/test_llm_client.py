"""The client costs nothing until it is used: a zygote imports it and forks."""

from __future__ import annotations

import subprocess
import sys

from worker.llm.client import ProxyClient

SCRIPT = """
import os, threading
before = len(os.listdir("/proc/self/fd"))
import worker.llm.client as client
found = client.RoutedModel(client.ProxyClient("/nowhere", "token"))
assert threading.active_count() == 1
assert len(os.listdir("/proc/self/fd")) == before
import asyncio
try:
    asyncio.get_running_loop()
except RuntimeError:
    print("clean")
"""


def test_importing_and_making_a_client_opens_nothing_and_starts_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "clean\n", done.stderr


def test_a_client_shows_itself_without_its_token() -> None:
    assert repr(ProxyClient("/run/p/proxy", "ocp_secret")) == "ProxyClient('/run/p/proxy', idle)"


async def test_a_client_that_was_never_used_closes_quietly() -> None:
    await ProxyClient("/nowhere", "token").close()
