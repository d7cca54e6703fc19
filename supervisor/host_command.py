"""One shell command on the host: begun, read, ended, with limits on time and output.

It runs in a session of its own with the environment it is given. Who leaves its process group is an orphan of ours in
the end (subreaper) and is swept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from supervisor.life import Exit
from supervisor.spawners.local import LocalProcess

#: Seconds between SIGTERM and SIGKILL.
TERM_GRACE = 2.0
#: Bytes of output that are shown, half from the beginning and half from the end, and that may come at all.
KEPT_OUTPUT, MAX_OUTPUT = 64 * 1024, 10 * 1024 * 1024
#: Seconds for what is still in the pipe when the command has ended.
_EOF_GRACE = 0.3
_SETPRIV = "/usr/bin/setpriv"
_SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


class HostCommand:
    """One command on the host. Raises OSError when it cannot be started."""

    def __init__(self, command: str, folder: Path, environ: Mapping[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._output = bytearray()
        self._tail = bytearray()
        self._size = 0
        self.timed_out = False
        self.flooded = False
        self._seconds = 0.0
        self._silent = asyncio.Event()
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._process = _launch(command, folder, environ, write)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._fd = read
        self._loop.add_reader(read, self._on_output)
        self.over: asyncio.Future[None] = self._loop.create_future()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    async def wait(self, seconds: float) -> Exit:
        """Until it has ended, at most so many seconds; whatever of it still runs is ended."""
        self._seconds = seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            self.timed_out = True
            return await self._end()
        finally:
            # Cancelled or not: nothing runs on without somebody who waits for it.
            self.kill()
            await self._drain()
            self.over.set_result(None)

    async def _end(self) -> Exit:
        """SIGTERM and time to tidy up, then SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_GRACE):
                return await self._process.wait()
        self.kill()
        return await self._process.wait()

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EOF_GRACE):
                await self._silent.wait()
        if not self._silent.is_set():
            self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _on_output(self) -> None:
        try:
            data = os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return
        self._size += len(data)
        self._tail += data
        if len(self._output) < KEPT_OUTPUT // 2:
            room = KEPT_OUTPUT // 2 - len(self._output)
            self._output += self._tail[:room]
            del self._tail[:room]
        del self._tail[: -KEPT_OUTPUT // 2]
        if not data or self._size > MAX_OUTPUT:
            self.flooded = bool(data)
            self._loop.remove_reader(self._fd)
            self._silent.set()
        if self.flooded:
            self.kill()

    def result(self, end: Exit) -> tuple[bool, str]:
        """What the model is shown (SPEC 5.5)."""
        missing = self._size - len(self._output) - len(self._tail)
        mark = f"\n[… {missing} bytes left out …]\n".encode() if missing else b""
        text = (bytes(self._output) + mark + bytes(self._tail)).decode("utf-8", "replace").rstrip("\n")
        parts = (text or "(no output)", self._ending(end))
        good = end.code == 0 and not end.signal and not self.timed_out and not self.flooded
        return good, "\n\n".join(part for part in parts if part)

    def _ending(self, end: Exit) -> str:
        if self.flooded:
            return f"Command was ended: it wrote more than {MAX_OUTPUT} bytes."
        if self.timed_out:
            return f"Command timed out after {self._seconds:g} seconds."
        if end.signal:
            return f"(Command was ended by signal {end.signal})"
        return f"(Command exited with code {end.code})" if end.code else ""


def _launch(command: str, folder: Path, environ: Mapping[str, str], output: int) -> LocalProcess:
    """In a session of its own that dies with us. Raises OSError."""
    shell = next((one for one in _SHELLS if os.path.exists(one)), "/bin/sh")
    # No code of ours between fork and exec: the supervisor has threads.
    dying = [_SETPRIV, "--pdeathsig", "KILL"] if os.path.exists(_SETPRIV) else []
    os.set_blocking(output, True)
    child = subprocess.Popen(
        [*dying, shell, "-c", command],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    process = LocalProcess(child.pid)
    # The handle reaps it; Popen must neither wait nor complain.
    child.returncode = 0
    return process
