"""What an attack is: it gets its argument and what the worker knows of itself, and says whether the wall stood.

An attack runs in a process of its own, forked for it, that ends afterwards. It may raise OSError: a refusal of the
kernel means that the wall stood, anything else that nobody knows, which counts as fallen.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from protocol.slices import WorkerSlice

#: What the kernel answers to somebody who may not, or for whom the thing is not there at all.
REFUSALS = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ESRCH, errno.ENOSYS, errno.EROFS, errno.ENODEV}
)

libc = ctypes.CDLL(None, use_errno=True)


class Outcome(NamedTuple):
    held: bool
    detail: str


#: (argument, the worker's own settings) -> outcome.
Try = Callable[[str, WorkerSlice | None], Outcome]


def held(detail: str) -> Outcome:
    return Outcome(True, detail)


def fell(detail: str) -> Outcome:
    return Outcome(False, detail)


def judged(error: OSError) -> Outcome:
    """What a failed system call says of the wall."""
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    words = f"{name}: {os.strerror(error.errno or 0).lower()}"
    return held(words) if error.errno in REFUSALS else fell(f"cannot tell: {words}")


def call(result: int) -> int:
    """The result of a libc call. Raises OSError."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def scratch(settings: WorkerSlice | None) -> str:
    """A folder that this worker surely may write in."""
    folder = settings.workspace if settings else ""
    return folder if folder and os.access(folder, os.W_OK) else "/tmp"


def nonce() -> str:
    """A name that nothing else has."""
    return f".openclaw-probe-{os.getpid()}-{os.urandom(6).hex()}"
