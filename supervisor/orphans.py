"""Orphans: what a dead worker started in a session of its own and left behind becomes our child (subreaper).

They are killed and reaped. Whoever is known to be ours, or may be a worker that is just being made, is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Set
from pathlib import Path

from protocol.process import LINK_MARK
from supervisor.logs import Journal

#: Seconds after the end of a worker until its orphans are looked for.
_AFTER = 0.2


class Sweeper:
    """Looks for orphans after the end of a worker. While `busy` says so a new worker may look like one."""

    def __init__(self, known: Callable[[], set[int]], busy: Callable[[], bool], journal: Journal) -> None:
        self._known = known
        self._busy = busy
        self._journal = journal
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AFTER, self._sweep)

    def close(self) -> None:
        """Everybody has ended: whoever is still there is an orphan."""
        if self._timer is not None:
            self._timer.cancel()
        end(children(), self._known())

    def _sweep(self) -> None:
        self._timer = None
        pids, known = children(), self._known()
        if not pids - known:
            return
        gone = [] if self._busy() else end(pids, known)
        if gone:
            self._journal.log("warn", "supervisor", f"ended {len(gone)} processes that a worker left behind")
        self.soon()


def sweep_leftovers(run: Path) -> int:
    """Kill what agents of an earlier gateway of this state folder still run; returns how many there were.

    Only a gateway that was killed leaves any: its commands carry the mark of a link under our run folder. Called with
    the lock held and before any worker is started.
    """
    mark = f"{LINK_MARK}={run}/".encode()
    gone = 0
    for environ in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environ.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and any(variable.startswith(mark) for variable in environ.read_bytes().split(b"\0")):
                os.kill(pid, signal.SIGKILL)
                gone += 1
    return gone


def children() -> set[int]:
    """The pids of all our children, living or not yet reaped (proc_tid_children(5))."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:
            continue
    return found


def end(pids: Iterable[int], known: Set[int]) -> list[int]:
    """Kill and reap those we do not know; returns the ones that are gone."""
    return [pid for pid in pids if pid not in known and _end_one(pid)]


def _end_one(pid: int) -> bool:
    """Safe against reuse of the pid: until it is reaped here, a child's pid stays its own."""
    try:
        os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except (ProcessLookupError, ChildProcessError):
        return False
