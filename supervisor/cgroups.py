"""A control group for each agent on the host: its memory, processes and share of the processors, whatever it starts.

One group per agent holds the limits; in it one for each of its workers, so that at a worker's end everything it started
can be found and killed, also what left its session and stripped its environment. A gateway holds a lock on its groups
as long as it lives (flock(2)), so the next one can tell which were left by a killed one. Version 2 is used where it was
delegated to us (cgroups(7); systemd: `Delegate=yes`) or we are root, version 1 by hand where we may write to it.
Without either, rlimits and the process group are what there is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from protocol.slices import Limits

_CONTROLLERS = ("memory", "pids", "cpu")
_PREFIX = "openclaw-"
#: One period of the processor limit, in microseconds.
_PERIOD = 100_000
#: Rounds of killing what is in a group; nothing can be started in it meanwhile.
_ROUNDS = 50

#: Controller -> the folder of our groups; in version 2 it is the same one for all.
Roots = Mapping[str, Path]


class Cgroups:
    """The groups of one gateway. Nothing here raises: a limit that cannot be set is a limit less, told by `problem`."""

    def __init__(self, roots: Roots, version: int) -> None:
        self.version = version
        self.problem = ""
        self._roots = roots
        self._locks = [lock for root in self.folders() if (lock := _lock(root, fcntl.LOCK_SH)) is not None]

    def __repr__(self) -> str:
        return f"Cgroups(version {self.version}, {sorted(self._roots)})"

    def enter(self, agent: str, pid: int, limits: Limits) -> Group | None:
        """Put a process that has done nothing yet into a group of its own, under the limits of its agent."""
        try:
            for controller, root in self._roots.items():
                folder = root / agent
                folder.mkdir(parents=True, exist_ok=True)
                self._limit(controller, folder, limits)
            group = Group([root / agent / str(pid) for root in self.folders()])
            group.take(pid)
        except OSError as error:
            self.problem = f"no control group for agent {agent}: {error.strerror} ({error.filename})"
            return None
        return group

    def sweep(self) -> int:
        """Kill what is left of an earlier gateway of this state folder; returns how many processes that were."""
        gone = 0
        for root in self.folders():
            for folder in sorted(root.glob("*/*/")):
                group = Group([folder])
                gone += group.kill()
                group.remove()
            for folder in root.glob("*/"):
                _remove(folder)
        return gone

    def tidy(self) -> int:
        """Remove the groups of killed gateways whose state folders nobody starts again; returns how many those were.

        Only those that nobody holds and in which nobody runs.
        """
        abandoned = {folder for root in self.folders() for folder in root.parent.glob(f"{_PREFIX}*/")}
        return sum(_abandon(folder) for folder in abandoned.difference(self.folders()))

    def close(self) -> None:
        """All agents have ended: leave nothing behind."""
        self.sweep()
        for root in self.folders():
            _remove(root)
        self.release()

    def release(self) -> None:
        """They are nobody's any more."""
        while self._locks:
            os.close(self._locks.pop())

    def folders(self) -> Iterable[Path]:
        """Where they are, once per hierarchy."""
        return dict.fromkeys(self._roots.values())

    def _limit(self, controller: str, folder: Path, limits: Limits) -> None:
        if self.version == 2:
            for above in (folder.parent, folder):
                _write(above / "cgroup.subtree_control", " ".join(f"+{name}" for name in self._roots))
            values = _values_2(controller, limits)
        else:
            if controller == "memory":
                _write(folder / "memory.use_hierarchy", "1")
            values = _values_1(controller, limits)
        for name, value in values.items():
            _write(folder / name, value)


class Group:
    """The group of one worker, once per hierarchy."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def __repr__(self) -> str:
        return f"Group({self._folders[0]})"

    def take(self, pid: int) -> None:
        """Put a process in. Raises OSError."""
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.procs").write_text(str(pid))

    def pids(self) -> set[int]:
        """Who is in it."""
        found: set[int] = set()
        for folder in self._folders:
            with contextlib.suppress(OSError, ValueError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return found

    def kill(self) -> int:
        """SIGKILL to everybody in it, until nobody is left; returns how many there were."""
        killed: set[int] = set()
        for folder in self._folders:
            _write(folder / "pids.max", "0")  # a fork bomb would outrun us
        for _ in range(_ROUNDS):
            if not (found := self.pids() - {os.getpid()}):
                break
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            killed |= found
            time.sleep(0.001)
        return len(killed)

    def oom_kills(self) -> int:
        """How often the kernel killed in it because the agent's memory was used up."""
        for folder in self._folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (folder / name).read_text().splitlines():
                        if line.startswith("oom_kill "):
                            return int(line.split()[1])
        return 0

    def remove(self) -> bool:
        """Whether it is gone; it is not while somebody in it is still dying."""
        return all([_remove(folder) for folder in self._folders])


def find(
    state: Path, cgroups: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mounts")
) -> Cgroups | None:
    """The control groups we may use for this state folder; None for none."""
    name = f"{_PREFIX}{hashlib.sha256(str(state).encode()).hexdigest()[:12]}"
    try:
        own = _own_groups(cgroups.read_text())
        mounted = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return None
    return _find_1(name, own, mounted) or _find_2(name, own, mounted)


def _find_1(name: str, own: Mapping[str, str], mounted: list[list[str]]) -> Cgroups | None:
    roots: dict[str, Path] = {}
    for _, target, kind, options, *_ in mounted:
        for controller in _CONTROLLERS if kind == "cgroup" else ():
            if controller in options.split(",") and controller not in roots:
                root = _make(Path(target), own.get(controller, "/"), name)
                roots |= {controller: root} if root else {}
    return Cgroups(roots, 1) if roots else None


def _find_2(name: str, own: Mapping[str, str], mounted: list[list[str]]) -> Cgroups | None:
    target = next((Path(one[1]) for one in mounted if one[2] == "cgroup2"), None)
    if target is None:
        return None
    for base in dict.fromkeys((target / own.get("", "/").lstrip("/"), target)):
        names = [one for one in _CONTROLLERS if one in _read(base / "cgroup.controllers").split()]
        if names and _delegates(base, names) and (root := _make(base, "/", name)):
            return Cgroups(dict.fromkeys(names, root), 2)
    return None


def _delegates(base: Path, names: list[str]) -> bool:
    """Hand the controllers down. A group with processes of its own cannot (but for the topmost): we step aside."""
    wanted = " ".join(f"+{name}" for name in names)
    if set(names) <= set(_read(base / "cgroup.subtree_control").split()) or _write(
        base / "cgroup.subtree_control", wanted
    ):
        return os.access(base, os.W_OK)
    if _read(base / "cgroup.procs").split() != [str(os.getpid())]:
        return False  # others live here: it is not ours to arrange
    try:
        (base / "supervisor").mkdir(exist_ok=True)
    except OSError:
        return False
    return _write(base / "supervisor/cgroup.procs", str(os.getpid())) and _write(
        base / "cgroup.subtree_control", wanted
    )


def _make(mount: Path, own: str, name: str) -> Path | None:
    """Our folder in one hierarchy: below the group we are in, else (in a container without a namespace) at its top."""
    for base in dict.fromkeys((mount / own.lstrip("/"), mount)):
        with contextlib.suppress(OSError):
            (base / name).mkdir(exist_ok=True)
            return base / name
    return None


def _lock(folder: Path, how: int) -> int | None:
    """The descriptor that holds a lock on this folder, None when it is not to be had."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _abandon(root: Path) -> bool:
    """Whether this folder of groups was nobody's and is gone."""
    if (lock := _lock(root, fcntl.LOCK_EX)) is None:
        return False
    try:
        for folder in (*root.glob("*/*/"), *root.glob("*/")):
            _remove(folder)
        return _remove(root)
    finally:
        os.close(lock)


def _own_groups(text: str) -> dict[str, str]:
    """Controller -> our group; under the empty name that of version 2."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        found |= dict.fromkeys(names.split(","), path)
    return found


def _values_1(controller: str, limits: Limits) -> dict[str, str]:
    match controller:
        case "memory" if limits.memory:
            return {"memory.limit_in_bytes": str(limits.memory)}
        case "pids" if limits.pids:
            return {"pids.max": str(limits.pids)}
        case "cpu":
            quota = {"cpu.cfs_quota_us": str(int(limits.cpus * _PERIOD)) if limits.cpus else "-1"}
            return quota | ({"cpu.shares": str(limits.shares)} if limits.shares else {})
    return {}


def _values_2(controller: str, limits: Limits) -> dict[str, str]:
    match controller:
        case "memory":
            return {"memory.max": str(limits.memory or "max")}
        case "pids":
            return {"pids.max": str(limits.pids or "max")}
        case "cpu":
            quota = f"{int(limits.cpus * _PERIOD)} {_PERIOD}" if limits.cpus else f"max {_PERIOD}"
            # From 2..262144 to 1..10000, as systemd and runc do it.
            weight = {"cpu.weight": str(1 + (limits.shares - 2) * 9999 // 262142)} if limits.shares else {}
            return {"cpu.max": quota} | weight
    return {}


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
