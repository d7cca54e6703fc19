"""What this machine lets us build walls with, found out by trying, once."""

from __future__ import annotations

import ctypes
import functools
import os
import site
import sys
from pathlib import Path
from typing import Literal

from supervisor.config.walls import Ground
from supervisor.uids import can_have_uids

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_REC, _PRIVATE = 16384, 1 << 18
_LANDLOCK_CREATE, _LANDLOCK_VERSION = 444, 1

_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def survey() -> Ground:
    """The ground we stand on."""
    return Ground(
        user=os.getuid(),
        uids=can_have_uids(),
        mounts=_mounts(),
        landlock=_landlock(),
        runtime=_runtime(),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpus=os.cpu_count() or 1,
    )


def _mounts() -> Literal["", "root", "user"]:
    if os.getuid() == 0:
        return "root" if _tried(_CLONE_NEWNS) else ""
    return "user" if _tried(_CLONE_NEWNS | _CLONE_NEWUSER) else ""


def _tried(flags: int) -> bool:
    """Whether a child of ours can make a mount namespace and mount in it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _mount_something(flags) else 1)
    return os.waitpid(pid, 0)[1] == 0


def _mount_something(flags: int) -> bool:
    if _libc.unshare(flags) != 0 or _libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None) != 0:
        return False
    return bool(_libc.mount(b"none", b"/", b"tmpfs", ctypes.c_ulong(0), b"size=4k") == 0)


def _landlock() -> int:
    found = _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION))
    return max(int(found), 0)


def _runtime() -> tuple[str, ...]:
    """Where the interpreter, what is installed for it and our own packages lie, as few folders as hold them.

    Not the whole import path: whoever starts us may have his home on it.
    """
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(__file__).parents[1]), *site.getsitepackages()}
    real = sorted({os.path.realpath(place) for place in places if os.path.exists(place)})
    return tuple(one for one in real if one != "/" and not any(one.startswith(f"{other}/") for other in real))
