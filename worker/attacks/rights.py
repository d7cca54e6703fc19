"""Attacks on the kernel's patience: rights, limits and rare system calls."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Mapping

from protocol.slices import WorkerSlice
from worker.attacks.base import Outcome, Try, call, fell, held, libc

_CLONE_NEWUSER = 0x10000000
_SESSION_KEYRING = -3
_PR_GET_NO_NEW_PRIVS = 39
#: Numbers of system calls that libc has no function for (syscalls(2)).
_NUMBERS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {"finit_module": 313, "bpf": 321, "perf_event_open": 298, "keyctl": 250},
    "aarch64": {"finit_module": 273, "bpf": 280, "perf_event_open": 241, "keyctl": 219},
}


def ids(on: str, settings: WorkerSlice | None) -> Outcome:
    status = _status()
    # A kernel without ambient capabilities (gVisor's) has none to tell of.
    capabilities = ("CapInh", "CapPrm", "CapEff", *(("CapAmb",) if "CapAmb" in status else ()))
    problems = [f"{name} is {status.get(name)}" for name in capabilities if _some(status, name)]
    problems += ["uid 0"] if "0" in status.get("Uid", "0").split() else []
    problems += ["gid 0"] if "0" in (status.get("Gid", "0") + " " + status.get("Groups", "")).split() else []
    problems += ["new privileges are allowed"] if libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 else []
    return fell(", ".join(problems)) if problems else held(f"uid {os.getuid()}, no capabilities, no new privileges")


def seccomp(on: str, settings: WorkerSlice | None) -> Outcome:
    mode = _status().get("Seccomp", "0")
    return held("mode 2, a filter") if mode == "2" else fell(f"mode {mode}, no filter")


def setuid_root(on: str, settings: WorkerSlice | None) -> Outcome:
    os.setresuid(0, 0, 0)
    return fell("uid 0")


def raise_rlimit(on: str, settings: WorkerSlice | None) -> Outcome:
    limits = {"files": resource.RLIMIT_NOFILE, "processes": resource.RLIMIT_NPROC, "core": resource.RLIMIT_CORE}
    finite = {name: which for name, which in limits.items() if resource.getrlimit(which)[1] != resource.RLIM_INFINITY}
    for name, which in finite.items():
        hard = resource.getrlimit(which)[1]
        try:
            resource.setrlimit(which, (hard, hard + 1))
        except (ValueError, OSError):
            continue
        return fell(f"raised the limit of {name}")
    return held(", ".join(finite)) if finite else fell("nothing is limited")


def unshare_user_ns(on: str, settings: WorkerSlice | None) -> Outcome:
    try:
        call(libc.unshare(_CLONE_NEWUSER))
    except OSError as error:
        # ENOSPC and EUSERS: the machine allows none at all (user_namespaces(7)).
        if error.errno in (errno.ENOSPC, errno.EUSERS):
            return held(os.strerror(error.errno).lower())
        raise
    return fell("made one")


def load_module(on: str, settings: WorkerSlice | None) -> Outcome:
    """With a descriptor that is none: who may load modules is told EBADF."""
    _syscall("finit_module", -1, b"", 0)
    return fell("the call is let through")


def bpf(on: str, settings: WorkerSlice | None) -> Outcome:
    """A map of one number."""
    described = ctypes.create_string_buffer(struct.pack("=4I", 2, 4, 4, 1), 64)
    _syscall("bpf", 0, described, 64)
    return fell("made a map")


def perf_event_open(on: str, settings: WorkerSlice | None) -> Outcome:
    """A clock of our own."""
    described = ctypes.create_string_buffer(struct.pack("=IIQ", 1, 64, 1), 64)
    _syscall("perf_event_open", described, 0, -1, -1, 0)
    return fell("opened an event")


def keyctl(on: str, settings: WorkerSlice | None) -> Outcome:
    _syscall("keyctl", 0, _SESSION_KEYRING, 0, 0, 0)
    return fell("found a keyring")


def _syscall(name: str, *arguments: object) -> None:
    number = _NUMBERS.get(os.uname().machine, {}).get(name)
    if number is None:
        raise OSError(errno.ENOTSUP, f"the number of {name} is not known for {os.uname().machine}")
    call(libc.syscall(number, *arguments))


def _status() -> dict[str, str]:
    with open("/proc/self/status") as file:
        lines = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in lines}


def _some(status: Mapping[str, str], name: str) -> bool:
    return int(status.get(name, "1"), 16) != 0


TRIES: Mapping[str, Try] = {
    "ids": ids,
    "seccomp": seccomp,
    "setuid_root": setuid_root,
    "raise_rlimit": raise_rlimit,
    "unshare_user_ns": unshare_user_ns,
    "load_module": load_module,
    "bpf": bpf,
    "perf_event_open": perf_event_open,
    "keyctl": keyctl,
}
