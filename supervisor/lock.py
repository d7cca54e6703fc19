"""One gateway per state folder: a lock that ends with its process, and says who holds it.

flock(2) is the lock; the text in the file is only for people and for the command line.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec

from protocol.errors import UserError


class Owner(msgspec.Struct, frozen=True):
    """Who holds the lock. `started_at` in seconds since the epoch."""

    pid: int
    started_at: float


class Lock:
    """Held from construction until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Raises UserError when another gateway holds it, naming its pid."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(f"cannot open the lock file: {error.strerror}", where=str(path)) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise _taken(path) from None
        os.truncate(self._fd, 0)
        os.pwrite(self._fd, msgspec.json.encode(Owner(os.getpid(), time.time())), 0)

    def release(self) -> None:
        """Give it up; the file stays, so that nobody locks a name that another one is about to remove."""
        os.truncate(self._fd, 0)
        os.close(self._fd)


def read_owner(path: Path) -> Owner | None:
    """Who wrote itself into the lock file; None when nobody did. It may have died since."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None


def _taken(path: Path) -> UserError:
    owner = read_owner(path)
    who = f" (pid {owner.pid})" if owner else ""
    return UserError(
        f"another gateway is already running on this state folder{who}",
        where=str(path),
        hint="openclaw gateway stop",
    )
