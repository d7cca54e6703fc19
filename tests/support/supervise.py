"""A gateway of peers: the real supervisor with tiny children in the place of router, cliproxy and zygote.

`python -m tests.support.supervise <folder>` runs one in the foreground; `Supervised` starts and watches it for a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import psutil

from protocol import control as c
from protocol.errors import OpenClawError, UserError
from protocol.paths import Paths
from protocol.pipe import Pipe
from supervisor.children import PROGRAMS
from supervisor.service import RunOptions, run_gateway

ROOT = Path(__file__).parents[2]


def main() -> int:
    folder = Path(sys.argv[1])
    peers = (sys.executable, "-m", "tests.support.peers")
    commands = {program.kind: (*peers, program.kind, str(folder)) for program in PROGRAMS}
    options = msgspec.json.decode((folder / "options.json").read_bytes(), type=RunOptions)
    try:
        return run_gateway(Paths.from_environ(os.environ), options, os.environ, commands=commands)
    except UserError as error:
        sys.stderr.write(f"error: {error.message} [{error.where}]\nhint: {error.hint}\n")
        return error.exit_code
    except OpenClawError as error:
        sys.stderr.write(f"failed: {error}\n")
        return 2


class Supervised:
    """One gateway of peers in a folder of its own; killed at the end, with everything below it."""

    def __init__(self, *agents: str, **options: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oc"))
        self.state = self.folder / "s"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OPENCLAW_STATE_DIR": str(self.state),
            "PYTHONPATH": str(ROOT),
            "ANTHROPIC_API_KEY": "sk-ant-api03-this-is-a-key-for-the-proxy-only",
        }
        self.paths = Paths.from_environ(self.environ)
        self.process: asyncio.subprocess.Process | None = None
        self.state.mkdir(mode=0o700)
        self.configure(*(agents or ("main",)))
        (self.folder / "options.json").write_bytes(msgspec.json.encode(RunOptions(**{"grace": 5.0, **options})))

    async def __aenter__(self) -> Supervised:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def configure(self, *agents: str, **extra: Any) -> None:
        config = {"agents": {"list": [{"id": agent} for agent in agents]}, "gateway": {"mode": "local"}, **extra}
        self.paths.config.write_text(json.dumps(config))

    def behave(self, role: str, behaviour: str) -> None:
        """How the next life of router, cliproxy, zygote or an agent's worker goes."""
        if role in {"router", "cliproxy", "zygote"}:
            (self.folder / role).write_text(behaviour)
            return
        workspace = self.state / ("workspace" if role == "main" else f"workspace-{role}")
        workspace.mkdir(exist_ok=True)
        (workspace / "behaviour").write_text(behaviour)

    async def start(self) -> None:
        with (self.folder / "out").open("wb") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.supervise", str(self.folder),
                env=self.environ, cwd=ROOT, stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip

    async def run_to_end(self) -> tuple[int, str]:
        """Start it when it cannot start: exit code and what was printed."""
        await self.start()
        assert self.process is not None
        return await self.process.wait(), (self.folder / "out").read_text()

    async def up(self) -> c.GatewayStatus:
        """Start it and wait until all programs and the workers of all agents serve."""
        await self.start()
        return await self.serving()

    async def up_programs(self) -> c.GatewayStatus:
        """Start it and wait for all but the workers."""
        await self.start()
        return await self.until(
            lambda found: all(one.state in {"ready", "stable"} for one in found.processes if one.kind != "worker")
        )

    async def serving(self) -> c.GatewayStatus:
        return await self.until(lambda found: all(one.state in {"ready", "stable"} for one in found.processes))

    async def until(self, condition: Any) -> c.GatewayStatus:
        """Ask for the status until the condition holds. The status is the only thing that says it, so it is polled."""
        status = None
        try:
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(OSError):
                        status = await self.ask(c.GetStatus())
                        assert isinstance(status, c.GatewayStatus)
                        if condition(status):
                            return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{status}\n{self.log()[-4000:]}\n{(self.folder / 'out').read_text()}") from None

    async def dial(self) -> Pipe[c.FromSupervisor]:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(self.paths.control_socket))
        except OSError:
            sock.close()
            raise
        return Pipe(sock, c.from_supervisor)

    async def ask(self, request: Any) -> c.FromSupervisor:
        """The last thing that is said to a request."""
        return (await self.hear(request))[-1]

    async def hear(self, request: Any) -> list[c.FromSupervisor]:
        """Everything that is said to a request."""
        pipe, heard = await self.dial(), list[c.FromSupervisor]()
        try:
            pipe.send(request)
            while not heard or isinstance(heard[-1], c.Progress):
                heard.append((await pipe.receive())[0])
        finally:
            pipe.close()
        return heard

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(20):
            return await self.process.wait()

    def heard(self) -> list[str]:
        """What router and cliproxy were told, in order."""
        path = self.folder / "heard"
        return path.read_text().splitlines() if path.exists() else []

    def log(self) -> str:
        return self.paths.log_file.read_text() if self.paths.log_file.exists() else ""

    def entries(self) -> list[dict[str, Any]]:
        # Its last line may be half written.
        return [json.loads(line) for line in self.log().rpartition("\n")[0].splitlines()]

    def descendants(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)


def pids(status: c.GatewayStatus) -> dict[str, int]:
    return {one.name: one.pid for one in status.processes}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
