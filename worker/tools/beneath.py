"""Finding files beneath an opened folder, whatever links lie in the way and whoever swaps them meanwhile.

The kernel does it (openat2(2), Linux 5.6). Where it cannot, or a filter of system calls keeps it from us, a walk that
holds a descriptor of every folder on the way does the same: a name is only ever looked up in a folder that is held,
never followed by the kernel, so there is no moment at which a swapped link could matter.

What is found is an O_PATH descriptor: nothing has been opened yet, no pipe is waited for and no device is touched. What
it is can be asked (`fstat`, `place`) before `reopen` opens that very file.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable
from contextlib import suppress

#: Looks `path` up from an opened folder; returns an O_PATH descriptor. Raises OSError, EXDEV for a way out.
Finder = Callable[[int, str], int]

_OPENAT2 = 437
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
_FIND = os.O_PATH | os.O_CLOEXEC
#: The kernel gives up with EAGAIN when something was renamed during a lookup with `..`; somebody who keeps renaming
#: gets an error and not an endless loop.
_TRIES = 20
#: Links followed in one lookup (path_resolution(7)), and components of one path: each is a descriptor for the walk.
_MAX_LINKS = 40
_MAX_PARTS = 256

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def beneath(root: int, path: str) -> int:
    """What `path` leads to, which lies beneath `root`; links out of it and absolute ones are EXDEV. Raises OSError."""
    return by_kernel(root, path) if has_openat2() else by_walk(root, path)


def anywhere(root: int, path: str) -> int:
    """What `path` leads to, wherever it is, but never through the links of /proc that are no paths. Raises OSError."""
    if has_openat2():
        return _openat2(root, path, _NO_MAGICLINKS)
    return os.open(path, _FIND, dir_fd=root)


@functools.cache
def has_openat2() -> bool:
    """Whether the kernel has it and no filter refuses it: those answer ENOSYS or EPERM to the most harmless call."""
    root = os.open("/", _FIND | os.O_DIRECTORY)
    try:
        os.close(_openat2(root, ".", _BENEATH))
    except OSError:
        return False
    finally:
        os.close(root)
    return True


def by_kernel(root: int, path: str) -> int:
    """`beneath` by openat2(2)."""
    return _openat2(root, path, _BENEATH | _NO_MAGICLINKS)


def _openat2(root: int, path: str, resolve: int) -> int:
    how = _OpenHow(_FIND, 0, resolve)
    name = os.fsencode(path)
    for _ in range(_TRIES):
        fd = _libc.syscall(_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def by_walk(root: int, path: str) -> int:
    """`beneath` without the kernel's help."""
    held = [os.dup(root)]
    try:
        _walk(held, path)
        return os.dup(held[-1])
    finally:
        for fd in held:
            os.close(fd)


def _walk(held: list[int], path: str) -> None:
    """Go down; `held` are the folders from the root to where we are, and at the end what was looked for."""
    todo, links = _parts(path, path), 0
    while todo:
        name = todo.pop()
        if name == "..":
            if len(held) == 1:
                raise _problem(errno.EXDEV, path)
            if not stat.S_ISDIR(os.fstat(held[-1]).st_mode):
                raise _problem(errno.ENOTDIR, path)
            os.close(held.pop())
            continue
        found = os.open(name, _FIND | os.O_NOFOLLOW, dir_fd=held[-1])
        if not stat.S_ISLNK(os.fstat(found).st_mode):
            held.append(found)
            continue
        try:
            target = os.readlink("", dir_fd=found)
        finally:
            os.close(found)
        links += 1
        if links > _MAX_LINKS:
            raise _problem(errno.ELOOP, path)
        todo += _parts(target, path)


def _parts(text: str, path: str) -> list[str]:
    """The components, last one first. One that ends in a slash must be a folder, which `.` asks for."""
    if text.startswith("/"):
        raise _problem(errno.EXDEV, path)
    parts = text.split("/")
    if len(parts) > _MAX_PARTS:
        raise _problem(errno.ENAMETOOLONG, path)
    last = ["."] if text.endswith(("/", "/.")) else []
    return [*last, *(part for part in reversed(parts) if part not in ("", "."))]


def _problem(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def make_folder(folder: int, name: str) -> int:
    """The folder of this name in an opened one, made (0700) if need be; never through a link. Raises OSError."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    return os.open(name, _FIND | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)


def reopen(fd: int, flags: int) -> int:
    """Open what was found. Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)


def place(fd: int) -> str:
    """Where the kernel says that it is now."""
    return os.readlink(f"/proc/self/fd/{fd}")
