"""Hands the folders of an agent over to its user. We are root here and the folders are the agent's: a trap is expected.

No symbolic link is followed and no mount crossed (openat2(2)), a file with a second name is left alone, since that
other name may be anywhere, and what belongs to a user of this machine stays his.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Set
from pathlib import Path

from supervisor.config.walls import Owner
from supervisor.uids import is_ours

_OPENAT2 = 437
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 1, 2, 4, 8
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)

#: What a folder is known by, whatever it is called.
Inode = tuple[int, int]


def inode(path: Path) -> Inode | None:
    """None for what is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def hand_over(folder: Path, owner: Owner, keep: Set[Inode] = frozenset(), former: Set[int] = frozenset()) -> None:
    """Give `folder` and all in it to `owner`, where it belongs to root, to an agent or to one of `former`; a folder
    that is an agent's is closed to everybody else.

    Folders of others inside of it (`keep`) stay as they are. Raises OSError when the folder itself cannot be given.
    """
    _check_way(folder)
    root = os.open(os.path.realpath(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _may_take(os.fstat(root), owner, former):
            os.fchown(root, owner.uid, owner.gid)
        if owner.own:
            os.fchmod(root, 0o700)
        waiting = ["."]
        while waiting:
            with contextlib.suppress(OSError):  # gone meanwhile, or a name longer than the kernel takes
                name = waiting.pop()
                fd = _open_beneath(root, name)
                try:
                    waiting += _take_all(fd, name, owner, keep, former)
                finally:
                    os.close(fd)
    finally:
        os.close(root)


def _check_way(folder: Path) -> None:
    """A symbolic link made by an agent must not decide what another one is given."""
    for step in (folder, *folder.parents):
        if step.is_symlink() and is_ours(step.lstat().st_uid):
            raise OSError(errno.ELOOP, "a symbolic link of an agent is on the way", str(step))


def _take_all(fd: int, name: str, owner: Owner, keep: Set[Inode], former: Set[int]) -> list[str]:
    """Everything in one folder; returns the folders in it."""
    folders = []
    with os.scandir(fd) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_symlink() or not _take(fd, entry.name, owner, keep, former):
                    continue
                folders.append(f"{name}/{entry.name}")
    return folders


def _take(parent: int, name: str, owner: Owner, keep: Set[Inode], former: Set[int]) -> bool:
    """Whether it is a folder to go on with. What was opened is what is given: a swap in between changes nothing."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        found = os.fstat(fd)
        is_folder = stat.S_ISDIR(found.st_mode)
        if stat.S_ISLNK(found.st_mode) or (found.st_dev, found.st_ino) in keep:
            return False
        if found.st_dev == os.fstat(parent).st_dev and (is_folder or found.st_nlink == 1):
            if _may_take(found, owner, former):
                os.chown(f"/proc/self/fd/{fd}", owner.uid, owner.gid)
            return is_folder
        return False
    finally:
        os.close(fd)


def _may_take(found: os.stat_result, owner: Owner, former: Set[int]) -> bool:
    ours = found.st_uid == 0 or is_ours(found.st_uid) or found.st_uid in former
    return ours and (found.st_uid, found.st_gid) != (owner.uid, owner.gid)


def _open_beneath(root: int, name: str) -> int:
    how = struct.pack("=QQQ", _FOLDER, 0, _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH)
    fd = int(_libc.syscall(_OPENAT2, root, os.fsencode(name), how, ctypes.c_size_t(len(how))))
    if fd < 0:
        raise OSError(ctypes.get_errno(), name)
    return fd
