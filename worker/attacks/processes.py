"""Attacks on other processes. All of them leave the other one as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

from protocol.sandbox import HOST
from protocol.slices import WorkerSlice
from worker.attacks.base import Outcome, Try, call, fell, held, libc
from worker.tools.processes import descendants

#: Attaches without stopping the other one, and lets go when we end (ptrace(2)).
_PTRACE_SEIZE = 0x4206


def signal_pid(on: str, settings: WorkerSlice | None) -> Outcome:
    """Signal 0 asks whether one could be sent, and sends none."""
    os.kill(int(on), 0)
    return fell("a signal would be delivered")


def ptrace_pid(on: str, settings: WorkerSlice | None) -> Outcome:
    call(libc.ptrace(_PTRACE_SEIZE, int(on), None, None))
    return fell("attached")


def read_proc_environ(on: str, settings: WorkerSlice | None) -> Outcome:
    os.open(f"/proc/{int(on)}/environ", os.O_RDONLY | os.O_CLOEXEC)
    return fell("opened")


def read_proc_mem(on: str, settings: WorkerSlice | None) -> Outcome:
    os.open(f"/proc/{int(on)}/mem", os.O_RDONLY | os.O_CLOEXEC)
    return fell("opened")


def scan_proc_environ(on: str, settings: WorkerSlice | None) -> Outcome:
    """Every process to be seen, but for the worker's own ones; in a container those of its uid are its own."""
    sandboxed = settings is not None and settings.place != HOST
    count = 0
    for pid in _foreign():
        count += 1
        with suppress(OSError):
            if sandboxed and os.stat(f"/proc/{pid}").st_uid == os.getuid():
                continue
            with open(f"/proc/{pid}/environ", "rb") as file:
                if file.read(1):
                    return fell(f"that of process {pid} is readable")
    return held(f"{count} other processes looked at")


def _foreign() -> Iterator[int]:
    worker = os.getppid()
    own = {os.getpid(), worker, *descendants(worker)}
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in own)


TRIES: Mapping[str, Try] = {
    "signal_pid": signal_pid,
    "ptrace_pid": ptrace_pid,
    "read_proc_environ": read_proc_environ,
    "read_proc_mem": read_proc_mem,
    "scan_proc_environ": scan_proc_environ,
}
