"""A clean machine with a shell: what people type, typed by a real shell, with the real commands on its PATH."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import json5

from tests.support.gateway import free_port

ROOT = Path(__file__).parents[2]
#: Where `openclaw` and `cliproxy` are installed: beside the interpreter that runs the tests.
COMMANDS = Path(sys.executable).parent
#: What a gateway writes by itself while it runs.
_ITS_OWN = ("run", "logs", "state", "agents", "openclaw.json.last-good")


class Typed(NamedTuple):
    """What one line did."""

    code: int
    out: str
    err: str


class Shell:
    """One home. Variables that a line exports hold for the lines after it, as in a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".openclaw"
        self.environ = {
            "PATH": os.pathsep.join([str(COMMANDS), "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "OPENCLAW_GATEWAY_PORT": str(free_port()),
            "OPENCLAW_LOCAL_MODEL_PORTS": "",
        }

    async def type(self, line: str, stdin: str = "", timeout: float = 60) -> Typed:
        """Run a line and wait for its end; background processes it leaves are not waited for."""
        if line.startswith("export "):
            self._export(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", line, stdin=asyncio.subprocess.PIPE, stdout=out, stderr=err,
                cwd=self.folder, env=self.environ, start_new_session=True,
            )  # fmt: skip
            try:
                async with asyncio.timeout(timeout):
                    await process.communicate(stdin.encode())
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                raise
            out.seek(0)
            err.seek(0)
            return Typed(int(process.returncode or 0), out.read().decode(), err.read().decode())

    def _export(self, line: str) -> None:
        name, _, value = line.removeprefix("export ").partition("=")
        self.environ[name] = value.strip('"')

    async def value(self, line: str) -> Any:
        """The JSON document that a command prints."""
        done = await self.type(line)
        assert done.code == 0, done
        return json.loads(done.out)

    def config(self) -> Any:
        return json5.loads((self.state / "openclaw.json").read_text())

    def tree(self) -> dict[str, bytes]:
        """Every file but what a running gateway writes by itself, so that "nothing changed" can be said."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return {
            str(path): path.read_bytes()
            for path in files
            if not (path.is_relative_to(self.state) and path.relative_to(self.state).parts[0] in _ITS_OWN)
        }


@asynccontextmanager
async def clean_machine() -> AsyncIterator[Shell]:
    """A home that never saw us; its path is short, because sockets live below it. What runs there ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="oc"))
    shell = Shell(folder)
    try:
        yield shell
    finally:
        if (shell.state / "run" / "control.sock").exists():
            await shell.type("openclaw gateway stop")
        shutil.rmtree(folder, ignore_errors=True)
