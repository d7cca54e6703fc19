"""What a worker on the host locks itself into, before it runs anything of its agent.

The order matters: mounts while that is still allowed, then limits and Landlock, then another uid. Whatever cannot be
built ends the worker: it never goes on with fewer walls than it was told to have.
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from protocol.process import die_with_parent
from protocol.slices import Bind, Walls
from worker import landlock

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_PR_SET_DUMPABLE = 4
_CAPABILITIES = 0x20080522
#: Flags of a mount that a bind of it must keep (mount_namespaces(7)): what statvfs says -> what mount takes.
_KEPT = {os.ST_NOSUID: _NOSUID, os.ST_NODEV: _NODEV, os.ST_NOEXEC: _NOEXEC}

_libc = ctypes.CDLL(None, use_errno=True)


class Unreachable(OSError):
    """What the worker needs lies where it may not go: trying again will not help."""


def enforce(walls: Walls) -> None:
    """Lock this process in. Raises OSError, its text made for the operator; Unreachable when that is for good."""
    parent = os.getppid()
    os.chdir("/")
    if walls.mounts:
        _enter_namespace(walls.mounts)
        _Stage(walls).build()
    _limit(walls)
    landlock.restrict(walls.denied, walls.readable, walls.writable)
    if walls.mounts == "user":
        _drop_capabilities()
    if walls.uid:
        _become(walls.uid, walls.gid)
        die_with_parent(parent)  # forgotten by the kernel with the old uid
    # Commands of the agent have its uid: they must not read this process's memory, where its keys are.
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    _check_reachable(walls)


def _limit(walls: Walls) -> None:
    if walls.max_processes:
        _lower(resource.RLIMIT_NPROC, walls.max_processes)
    if walls.max_file_size:
        _lower(resource.RLIMIT_FSIZE, walls.max_file_size)


def _lower(which: int, wanted: int) -> None:
    _, hard = resource.getrlimit(which)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (most, most))


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _drop_capabilities() -> None:
    """Those of the own user namespace; outside of it there never were any."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _check_reachable(walls: Walls) -> None:
    for path in walls.needed:
        try:
            os.stat(path)
        except PermissionError:
            raise Unreachable(
                f"uid {os.getuid()} cannot reach {path}: a folder above it is closed to others,"
                " hint: export OPENCLAW_STATE_DIR=/var/lib/openclaw"
            ) from None


# --- a file tree of its own --------------------------------------------------------------------------------------


def _enter_namespace(kind: str) -> None:
    """Mounts made from here on are this process's own; as `user`, in a user namespace where it may make any."""
    uid, gid = os.getuid(), os.getgid()
    flags = _CLONE_NEWNS | (_CLONE_NEWUSER if kind == "user" else 0)
    _check(_libc.unshare(flags), "a mount namespace of its own")
    if kind == "user":
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _mount("none", "/", None, _REC | _PRIVATE)


class _Stage:
    """Lays empty folders over what is not for this agent, and what it may see back into them, at the same place."""

    def __init__(self, walls: Walls) -> None:
        self._uid, self._gid = walls.uid, walls.gid
        binds = [bind for bind in walls.binds if os.path.exists(bind.path)]
        self._covers = {os.path.realpath(path) for path in walls.covers if os.path.exists(path)}
        if walls.uid:
            self._covers |= set(self._closed(bind.path for bind in binds))
        self._binds = {target: bind for bind in binds for target in self._targets(bind)}
        self._laid: list[str] = []

    def build(self) -> None:
        before = os.umask(0o022)  # the agent's user passes the folders made here
        try:
            self._build()
        finally:
            os.umask(before)

    def _build(self) -> None:
        # A bind's source must be held before it is covered.
        sources = {target: os.open(bind.path, os.O_PATH | os.O_CLOEXEC) for target, bind in self._binds.items()}
        try:
            for path in sorted({*self._covers, *self._binds}, key=lambda path: path.count("/")):
                if path in self._covers:
                    self._cover(path)
                if path in self._binds:
                    self._show(path, sources[path], self._binds[path])
        finally:
            for fd in sources.values():
                os.close(fd)
        for path in self._laid:
            _remount(path, _RDONLY)

    def _cover(self, path: str) -> None:
        if os.path.isdir(path):
            _mount("none", path, "tmpfs", _NOSUID | _NODEV | _NOEXEC, "mode=755,size=1m")
            self._laid.append(path)
        elif os.path.exists(path):  # else it is behind another cover already
            _mount(os.devnull, path, None, _BIND)

    def _show(self, path: str, source: int, bind: Bind) -> None:
        if os.path.isdir(f"/proc/self/fd/{source}"):
            os.makedirs(path, mode=0o755, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            Path(path).touch()
        _mount(f"/proc/self/fd/{source}", path, None, _BIND | _REC)
        if not bind.writable:
            _remount(path, _RDONLY)

    def _targets(self, bind: Bind) -> Iterator[str]:
        """Where a bind is needed: below a cover, under the name it is known by and under its real one."""
        for path in dict.fromkeys((os.path.abspath(bind.path), os.path.realpath(bind.path))):
            if any(path == cover or path.startswith(f"{cover}/") for cover in self._covers):
                yield path

    def _closed(self, paths: Iterable[str]) -> Iterator[str]:
        """The topmost folders that this uid cannot pass on its way to these paths."""
        for path in paths:
            for name in {os.path.abspath(path), os.path.realpath(path)}:
                above = [str(folder) for folder in reversed(Path(name).parents)]
                closed = next((folder for folder in above if not _passable(folder, self._uid, self._gid)), None)
                if closed == "/":
                    raise Unreachable(f"uid {self._uid} cannot pass the root folder, hint: chmod 755 /")
                if closed:
                    yield os.path.realpath(closed)


def _passable(folder: str, uid: int, gid: int) -> bool:
    found = os.stat(folder)
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IXUSR)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH))


def _remount(path: str, flags: int) -> None:
    kept = os.statvfs(path).f_flag
    for told, taken in _KEPT.items():
        flags |= taken if kept & told else 0
    _mount("none", path, None, _BIND | _REMOUNT | flags)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount on {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
