"""What somebody may have left lying about inside: descriptors, keys, missing limits."""

from __future__ import annotations

import os
import re
import resource
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from protocol.slices import WorkerSlice
from worker.attacks.base import Outcome, Try, fell, held, libc

_PR_GET_DUMPABLE = 3
_KEY_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASS(WD|WORD|PHRASE)?|CREDENTIALS?|AUTH)(_|$)|APIKEY", re.I)
_KEY_TEXT = re.compile(r"(key|token|secret|password)\S*[=: ]\s*\S{8,}|\bsk-[\w-]{16,}|\b\d{6,}:[\w-]{30,}", re.I)
#: More than these are as good as no limit.
_MANY_FILES, _MANY_PROCESSES, _MUCH_MEMORY = 1 << 17, 1 << 16, 1 << 46
_CGROUPS = Path("/sys/fs/cgroup")


def inherited_descriptors(on: str, settings: WorkerSlice | None) -> Outcome:
    counts: dict[str, int] = {}
    problems: list[str] = []
    for fd in _descriptors():
        kind, problem = _look_at(fd)
        problems += [problem] if problem else []
        counts[kind] = counts.get(kind, 0) + 1
    if problems:
        return fell("; ".join(problems))
    return held(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))


def environment(on: str, settings: WorkerSlice | None) -> Outcome:
    """Only names are told, never values."""
    names = {name for name, value in os.environ.items() if value}
    with suppress(OSError):
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        names |= {entry.partition(b"=")[0].decode("utf-8", "replace") for entry in given if entry.partition(b"=")[2]}
    suspicious = sorted(name for name in names if _KEY_NAME.search(name))
    return fell(", ".join(suspicious)[:200]) if suspicious else held(f"{len(names)} variables, none of them a key")


def preload_and_argv(on: str, settings: WorkerSlice | None) -> Outcome:
    loading = sorted(name for name in os.environ if name.startswith("LD_"))
    if loading:
        return fell(f"{', '.join(loading)[:200]} is set")
    line = Path("/proc/self/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return fell("an argument looks like a key") if _KEY_TEXT.search(line) else held("nothing preloaded, no key")


def core_dumps(on: str, settings: WorkerSlice | None) -> Outcome:
    if libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0:
        return held("the process cannot be dumped")
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    return held("limited to nothing") if hard == 0 else fell(f"a core of {_shown(hard)} bytes may be written")


def limit_files(on: str, settings: WorkerSlice | None) -> Outcome:
    return _limited(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _MANY_FILES, "open files")


def limit_processes(on: str, settings: WorkerSlice | None) -> Outcome:
    own = resource.getrlimit(resource.RLIMIT_NPROC)[1] if os.getuid() else resource.RLIM_INFINITY
    return _limited(_least(own, _cgroup("pids", "pids.max")), _MANY_PROCESSES, "processes")


def limit_memory(on: str, settings: WorkerSlice | None) -> Outcome:
    own = resource.getrlimit(resource.RLIMIT_AS)[1]
    group = _least(_cgroup("memory", "memory.max"), _cgroup("memory", "memory.limit_in_bytes"))
    return _limited(_least(own, group), _MUCH_MEMORY, "bytes")


# --- descriptors -------------------------------------------------------------------------------------------------


def _descriptors() -> Iterator[int]:
    """Those that are open now, but for the one that is used to look."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            os.fstat(int(name))
            yield int(name)


def _look_at(fd: int) -> tuple[str, str]:
    """What kind of descriptor it is, and what is wrong with it: then it gives what we could not get ourselves."""
    target = os.readlink(f"/proc/self/fd/{fd}")
    if target.startswith("/memfd:"):
        return "memory", ""
    if target.startswith("/"):
        return "files", "" if _could_open(
            fd, target
        ) else f"descriptor {fd} is {target}, which it could not open itself"
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        return "sockets", _wrong_socket(fd)
    return "others", ""


def _could_open(fd: int, target: str) -> bool:
    fields = (line.split() for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    flags = next(int(field[1], 8) for field in fields if field[0] == "flags:")
    keep = os.O_ACCMODE | os.O_DIRECTORY | os.O_PATH
    try:
        again = os.open(target, (flags & keep) | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    same = os.path.sameopenfile(fd, again)
    os.close(again)
    return same


def _wrong_socket(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as found:
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return f"descriptor {fd} is a socket that listens"
        with suppress(OSError):
            if "docker" in str(found.getpeername()) or "containerd" in str(found.getpeername()):
                return f"descriptor {fd} is a connection to {found.getpeername()}"
    return ""


# --- limits ------------------------------------------------------------------------------------------------------


def _cgroup(controller: str, name: str) -> int:
    """A limit of the cgroup we are in, version 2 or 1; infinite when there is none or it cannot be seen."""
    found = [_number(folder / name) for folder in (_CGROUPS, _CGROUPS / controller)]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                root = _CGROUPS / controller if controllers else _CGROUPS
                found.append(_number(root / path.strip("/") / name))
    return _least(*found)


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return resource.RLIM_INFINITY
    return int(text) if text.isdecimal() else resource.RLIM_INFINITY


def _least(*limits: int) -> int:
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=resource.RLIM_INFINITY)


def _limited(limit: int, many: int, what: str) -> Outcome:
    if limit == resource.RLIM_INFINITY or limit > many:
        return fell(f"{_shown(limit)} {what}")
    return held(f"{limit} {what}")


def _shown(limit: int) -> str:
    return "any number of" if limit == resource.RLIM_INFINITY else str(limit)


TRIES: Mapping[str, Try] = {
    "inherited_descriptors": inherited_descriptors,
    "environment": environment,
    "preload_and_argv": preload_and_argv,
    "core_dumps": core_dumps,
    "limit_files": limit_files,
    "limit_processes": limit_processes,
    "limit_memory": limit_memory,
}
