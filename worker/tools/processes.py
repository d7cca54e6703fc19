"""A shell command and everything it started: begun, read, ended.

A command runs in a process group of its own. Whoever leaves the group (setsid) is still found as a descendant, and
whoever was orphaned on the way becomes a child of the worker, which is a child subreaper: `Processes(adopts=True)`.
Ending a command ends all of these.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

#: Seconds between SIGTERM and SIGKILL, and for the pipe's end after the command has ended.
TERM_GRACE = 2.0
EOF_GRACE = 0.3
#: Seconds for `setsid … &` to leave the group of a shell that has ended already.
DETACH_GRACE = 0.15
_READ = 64 * 1024


class Capture:
    """The beginning and the end of an output of any length. `limit` is how much may come at all."""

    def __init__(self, keep: int = 64 * 1024, limit: int = 10 * 1024 * 1024) -> None:
        self._half = keep // 2
        self.limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def add(self, data: bytes) -> bool:
        """False once the limit is passed."""
        self.size += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]
        return self.size <= self.limit

    def text(self) -> str:
        tail = self._tail[-self._half :]
        missing = self.size - len(self._head) - len(tail)
        mark = f"\n[… {missing} bytes left out …]\n".encode() if missing else b""
        return (bytes(self._head) + mark + bytes(tail)).decode("utf-8", "replace")


class Command:
    """One running command. `ended` becomes its exit status (negative for a signal).

    Its zombie is kept until `close`, so that its pid and group cannot become anybody else's while we still kill.
    """

    def __init__(self, child: subprocess.Popen[bytes], capture: Capture, before: set[int]) -> None:
        self.pid = child.pid
        self.before = before
        self._child = child
        self._capture = capture
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self.silent = asyncio.Event()
        self.flooded = False
        assert child.stdout is not None
        self._out = child.stdout
        os.set_blocking(self._out.fileno(), False)
        self._loop.add_reader(self._out.fileno(), self._on_output)
        self._pidfd = _pidfd(child.pid)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self.look)

    def __repr__(self) -> str:
        return f"Command({self.pid}, {self.ended.result() if self.ended.done() else 'running'})"

    async def over(self) -> int:
        """Wait for the exit status, or for the flood that ends it."""
        await asyncio.shield(self._over)
        return self.ended.result() if self.ended.done() else -signal.SIGKILL

    def close(self) -> None:
        """Forget the process, which must have ended."""
        self._stop_reading()
        self._out.close()
        self._child.wait()

    def _on_output(self) -> None:
        try:
            data = os.read(self._out.fileno(), _READ)
        except BlockingIOError:
            return
        # After a flood nobody reads any more, so it stops at the pipe's few kilobytes.
        self.flooded = bool(data) and not self._capture.add(data)
        if not data or self.flooded:
            self._stop_reading()
        if self.flooded:
            self._be_over()

    def _stop_reading(self) -> None:
        if not self.silent.is_set():
            self._loop.remove_reader(self._out.fileno())
            self.silent.set()

    def look(self) -> None:
        """Whether it has ended: at once where the kernel tells of it by a pidfd, else at each SIGCHLD."""
        if self.ended.done():
            return
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self.ended.set_result(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
        self._be_over()

    def _be_over(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


class Processes:
    """All commands of this worker. `adopts` says that the worker is a child subreaper."""

    def __init__(self, *, adopts: bool = False) -> None:
        self._adopts = adopts
        self._running: dict[int, Command] = {}

    def __repr__(self) -> str:
        return f"Processes({len(self._running)} running)"

    def start(self, argv: list[str], cwd: str, env: Mapping[str, str], capture: Capture) -> Command:
        """Raises OSError."""
        before = self._strangers()
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        command = self._running[child.pid] = Command(child, capture, before)
        return command

    async def end(self, command: Command) -> bool:
        """End the command and all it started; True when something of it was still there."""
        try:
            if not command.ended.done():
                await self._terminate(command)
                left = True
            else:
                left = await self._left_over(command)
                _kill_group(command.pid, signal.SIGKILL)
            await _within(EOF_GRACE, command.silent.wait())
            return left
        finally:
            command.close()
            del self._running[command.pid]
            self.reap()

    def reap(self) -> None:
        """At SIGCHLD: see which commands have ended, and take the exit status of adopted orphans."""
        for command in self._running.values():
            command.look()
        for pid in self._strangers():
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def kill_orphans(self) -> None:
        """At the worker's own end: nothing it started outlives it."""
        for pid in self._strangers():
            _kill(pid)

    async def _left_over(self, command: Command) -> bool:
        """Whether something of an ended command still runs in its group; a daemon gets a moment to leave it."""
        holds_output = not await _within(EOF_GRACE, command.silent.wait())
        if not self._adopts:
            return holds_output
        if self._strangers() - command.before:
            await asyncio.sleep(DETACH_GRACE)
        return any(_group(pid) == command.pid for pid in self._strangers() - command.before)

    async def _terminate(self, command: Command) -> None:
        """SIGTERM and time to tidy up, then SIGKILL for the group and for those who left it."""
        family = descendants(command.pid)
        _kill_group(command.pid, signal.SIGTERM)
        await asyncio.wait((command.ended,), timeout=0 if command.flooded else TERM_GRACE)
        family |= descendants(command.pid)
        if len(self._running) == 1:
            family |= self._strangers() - command.before
        for pid in family:
            _kill(pid)
        _kill_group(command.pid, signal.SIGKILL)
        await command.ended

    def _strangers(self) -> set[int]:
        """Children that are nobody's command: adopted orphans."""
        return children() - self._running.keys() if self._adopts else set()


def _pidfd(pid: int) -> int:
    """-1 where the kernel has no such thing (gVisor's)."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return -1


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


def children() -> set[int]:
    """Our own direct children, zombies too (proc_tid_children(5))."""
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/children", "rb") as file:
            found |= {int(pid) for pid in file.read().split()}
    return found


def descendants(pid: int) -> set[int]:
    """Children, their children and so on."""
    tree = _tree()
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in tree.get(waiting.pop(), set()) - found:
            found.add(child)
            waiting.append(child)
    return found


def _tree() -> dict[int, set[int]]:
    tree: dict[int, set[int]] = defaultdict(set)
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of the program is in parentheses and may hold anything, also parentheses.
                tree[int(file.read().rpartition(b")")[2].split()[1])].add(int(name))
    return tree


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
