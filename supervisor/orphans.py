"""Orphans: what a dead worker started in a session of its own and left behind becomes our child (subreaper).

They are killed and reaped. Whoever is known to be ours, or may be a worker that is just being made, is left alone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Set
from pathlib import Path


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
