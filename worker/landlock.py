"""Landlock (landlock(7)): what a process may open from now on, it and everything it starts, without any privilege.

Landlock can only allow. So everything beside the denied paths is allowed, found by listing the folders on the way to
them; those folders themselves cannot be listed or added to. A domain also keeps its processes from tracing others
outside of it, and from ABI 6 on from signalling them and from reaching their abstract sockets.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

#: System calls, the same number on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1
#: What a rule for a file that is no folder may grant.
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_SCOPES = 1 | 2  # abstract unix sockets, signals

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """What this kernel knows of Landlock, 0 for nothing."""
    found = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(int(found), 0)


def restrict(denied: Iterable[str], readable: Iterable[str], writable: Iterable[str]) -> bool:
    """Open nothing below `denied` any more but for what is `readable` and `writable`; False without Landlock.

    Paths that are not there are skipped. `no_new_privs` must be set. Raises OSError.
    """
    version = abi()
    if version < 1:
        return False
    handled = _rights(version)
    ruleset = _create(version, handled)
    try:
        everything = handled & ~(_MAKE_CHAR | _MAKE_BLOCK)
        closed = Closed(denied)
        for path in closed.around("/"):
            _allow(ruleset, path, everything)
        for path in _within(closed, writable):
            _allow(ruleset, path, everything)
        for path in _within(closed, readable):
            _allow(ruleset, path, handled & _READING)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


class Closed:
    """A set of denied paths, symbolic links resolved."""

    def __init__(self, denied: Iterable[str]) -> None:
        self.paths = {os.path.realpath(path) for path in denied}
        self._above = {str(folder) for path in self.paths for folder in Path(path).parents}

    def around(self, folder: str) -> Iterator[str]:
        """The fewest paths that hold everything below `folder` but what is denied."""
        if folder not in self._above:
            yield folder
            return
        try:
            inner = sorted(entry.path for entry in os.scandir(folder) if not entry.is_symlink())
        except OSError:
            return  # nothing in it can be found by us, either
        for path in inner:
            if path not in self.paths:
                yield from self.around(path)


def _within(closed: Closed, paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        yield from closed.around(os.path.realpath(path))


def _rights(version: int) -> int:
    """All rights over files that this version can take away."""
    found = _FIRST
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        found |= right if version >= since else 0
    return found


def _create(version: int, handled: int) -> int:
    """A ruleset; newer kernels take a longer description."""
    fields = [handled, *([0] if version >= 4 else []), *([_SCOPES] if version >= 6 else [])]
    described = struct.pack(f"={len(fields)}Q", *fields)
    return _call(_CREATE_RULESET, described, ctypes.c_size_t(len(described)), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        granted = rights if os.path.isdir(f"/proc/self/fd/{fd}") else rights & _FOR_FILES
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", granted, fd), 0)
    finally:
        os.close(fd)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result
