"""The operator's door: who is let in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from supervisor.control import ancestors, stranger

CONNECT = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.read()
"""


def listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(4)
    return listening


def test_a_process_that_the_gateway_started_is_no_operator(tmp_path: Path) -> None:
    with listen(tmp_path / "s") as listening:
        child = subprocess.Popen(
            ["setsid", sys.executable, "-c", CONNECT, str(tmp_path / "s")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        with listening.accept()[0] as client:
            assert "was started below process" in stranger(client)
        child.communicate()


def test_a_process_that_is_gone_is_no_operator(tmp_path: Path) -> None:
    with listen(tmp_path / "s") as listening:
        child = subprocess.Popen(
            [sys.executable, "-c", CONNECT, str(tmp_path / "s")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        child.wait(10)
        with listening.accept()[0] as client:
            assert "was gone" in stranger(client)


def test_who_was_not_started_by_us_is_let_in(tmp_path: Path) -> None:
    with listen(tmp_path / "s") as listening, socket.socket(socket.AF_UNIX) as own:
        own.connect(str(tmp_path / "s"))
        with listening.accept()[0] as client:
            assert stranger(client) == ""


def test_ancestors_lead_to_the_first_process() -> None:
    above = list(ancestors(os.getpid()))
    assert above[0] == os.getppid()
    assert above[-1] <= 1
