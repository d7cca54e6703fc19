"""A process of this machine whose parent we are: launched, watched, signalled, reaped.

The pidfd becomes readable when the process ends (pidfd_open(2)). Until it is reaped its pid and its process group id
cannot be given to anybody else, so the group is killed before reaping: what a worker leaves behind goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from protocol.process import die_with_parent
from supervisor.cgroups import Group
from supervisor.life import Exit
from supervisor.spawners.base import HandleInfo, SpawnError

#: How often, and after how many seconds, a control group is removed that still has somebody dying in it.
_REMOVALS, _REMOVE_AGAIN = 20, 0.1


class LocalProcess:
    """The Handle of a child process of ours. What is left in its control group ends with it."""

    def __init__(self, pid: int, group: Group | None = None) -> None:
        self.pid = pid
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._oom_kills = self._count_oom_kills()
        self._fd = os.pidfd_open(pid)
        self._loop.add_reader(self._fd, self._on_end)

    def __repr__(self) -> str:
        return f"LocalProcess({self.pid}, {self._exit.result() if self._exit.done() else 'running'})"

    @property
    def pid_text(self) -> str:
        return str(self.pid)

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def signal(self, number: int) -> None:
        if not self._exit.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        if not self._exit.done():
            _kill_group(self.pid)
            self.signal(signal.SIGKILL)

    def describe(self) -> HandleInfo:
        return {"pid": self.pid}

    def _on_end(self) -> None:
        self._loop.remove_reader(self._fd)
        _kill_group(self.pid)
        end = self._reap()
        os.close(self._fd)
        if self._group is not None:
            self._group.kill()
            self._remove(self._group)
        self._exit.set_result(end)

    def _remove(self, group: Group, attempt: int = 0) -> None:
        """Its group goes as soon as the last one in it is dead."""
        if not group.remove() and attempt < _REMOVALS:
            self._loop.call_later(_REMOVE_AGAIN, self._remove, group, attempt + 1)

    def _count_oom_kills(self) -> int:
        return self._group.oom_kills() if self._group is not None else _oom_kills()

    def _reap(self) -> Exit:
        killed_for_memory = self._count_oom_kills() > self._oom_kills
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:
            return Exit(code=255)
        oom = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and killed_for_memory
        rss = usage.ru_maxrss * 1024
        if os.WIFSIGNALED(status):
            return Exit(signal=os.WTERMSIG(status), oom=oom, max_rss=rss)
        return Exit(code=os.waitstatus_to_exitcode(status), max_rss=rss)


def launch(command: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int], log_fd: int) -> LocalProcess:
    """Start a program in a session of its own that dies with us. Raises SpawnError."""
    try:
        # Single-threaded here, so code between fork and exec is safe; it must come before the program's own code.
        child = subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SpawnError(f"cannot start {command[0]}: {error}") from None
    process = LocalProcess(child.pid)
    # We reap it ourselves; Popen must neither wait nor complain.
    child.returncode = 0
    return process


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _oom_kills() -> int:
    """How often the kernel killed for lack of memory: in our own cgroup where that is told, else on this machine."""
    for name in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        try:
            text = Path(name).read_text()
        except OSError:
            continue
        found = [line.split()[1] for line in text.splitlines() if line.startswith("oom_kill ")]
        if found:
            return int(found[0])
    return 0
