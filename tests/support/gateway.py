"""The whole product as a user starts it: `openclaw gateway run` in a home of its own, on ports of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import psutil

#: The command of the environment the tests run in.
OPENCLAW = [sys.executable, "-m", "supervisor.cli.main"]
GATEWAY = [*OPENCLAW, "gateway", "run"]
ROOT = Path(__file__).parents[2]
READY_TIMEOUT = 30.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Gateway:
    """One gateway with its state folder. An async context manager: everything below it is killed at the end.

    `command` may be replaced by one that starts another build of it.
    """

    command = GATEWAY

    def __init__(self, config: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="oc"))
        self.state = self.home / "s"
        self.port = free_port()
        self.token = "test-token-0123456789abcdef"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "OPENCLAW_STATE_DIR": str(self.state),
            "OPENCLAW_LOCAL_MODEL_PORTS": "",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            **(environ or {}),
        }
        self.process: asyncio.subprocess.Process | None = None
        self.state.mkdir(mode=0o700)
        self.write(config or {})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.kill_all()
        if self.process is not None:
            await self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page(self) -> str:
        return f"{self.url}/#token={self.token}"

    def write(self, config: dict[str, Any]) -> None:
        """Replace openclaw.json; port and token are filled in."""
        section = {"mode": "local", "port": self.port, "auth": {"token": self.token}, **config.get("gateway", {})}
        whole = {**config, "gateway": section}
        path = self.state / "openclaw.json"
        path.write_text(json.dumps(whole, indent=2))
        path.chmod(0o600)

    async def start(self, *options: str, terminal: bool = False) -> None:
        """Start it and wait until it is ready. Raises AssertionError with its output when it ends or hangs.

        With `terminal` its output is a terminal (kept in out.log), as when a person types the command.
        """
        log = self.home / "out.log"
        command = [*self.command, *options]
        if terminal:
            command = ["script", "-qefc", shlex.join(command), str(log)]
        with log.open("ab") if not terminal else open(os.devnull, "ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                *command, env=self.environ, cwd=self.home, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await self.wait_ready()
        except TimeoutError:
            raise AssertionError(f"not ready in {READY_TIMEOUT:g} s:\n{self.output()}") from None

    async def wait_ready(self) -> None:
        """Until /readyz answers 200."""
        while True:
            assert self.process is not None
            if self.process.returncode is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.output()}")
            with contextlib.suppress(OSError):
                if await self._ready():
                    return
            await asyncio.sleep(0.02)

    async def printed(self, pattern: str) -> str:
        """Wait until the gateway has printed this. It is ready a moment before it says so."""
        async with asyncio.timeout(READY_TIMEOUT):
            while (found := re.search(pattern, (self.home / "out.log").read_text(errors="replace"))) is None:
                await asyncio.sleep(0.02)
        return found[0]

    async def _ready(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return b" 200 " in (await reader.readline())
        finally:
            writer.close()

    async def stop(self) -> int:
        """SIGTERM, as a service manager would; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    def pid(self, title: str) -> int:
        """The pid of the living process with this title (`router`, `cliproxy`, `worker main`), 0 when there is none."""
        found = [process for process in self.processes() if process.name == title]
        return found[0].pid if found else 0

    def processes(self) -> list[Named]:
        """Every process of this gateway by its title, the supervisor included."""
        if self.process is None or self.process.returncode is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(self.process.pid)
            return [named for child in [supervisor, *supervisor.children(recursive=True)] if (named := _named(child))]
        return []

    def kill(self, title: str) -> bool:
        """SIGKILL the process with this title; False when it is not there."""
        if pid := self.pid(title):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def kill_all(self) -> None:
        for named in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(named.pid, signal.SIGKILL)

    async def run(self, *arguments: str, stdin: str = "") -> Ran:
        """An `openclaw` command in this home."""
        process = await asyncio.create_subprocess_exec(
            *OPENCLAW,
            *arguments,
            env=self.environ,
            cwd=self.home,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    @contextlib.asynccontextmanager
    async def meanwhile(self, *arguments: str) -> AsyncIterator[None]:
        """An `openclaw` command that runs while the block does, at most."""
        process = await asyncio.create_subprocess_exec(
            *OPENCLAW, *arguments, env=self.environ, cwd=self.home, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def output(self) -> str:
        """What the gateway printed, and the end of its log."""
        log = self.state / "logs" / "openclaw.log"
        printed = (self.home / "out.log").read_text(errors="replace") if (self.home / "out.log").exists() else ""
        return printed[-3000:] + "\n--- log ---\n" + (log.read_text(errors="replace")[-5000:] if log.exists() else "")


class Named:
    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid

    def __repr__(self) -> str:
        return f"{self.name}({self.pid})"


class Ran:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def _named(process: psutil.Process) -> Named | None:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        title = " ".join(process.cmdline())
        if process.status() != psutil.STATUS_ZOMBIE and title.startswith("openclaw: "):
            return Named(title.removeprefix("openclaw: ").strip(), process.pid)
    return None
