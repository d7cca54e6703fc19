"""What a process of ours asks of the kernel about itself: its name, when it must die, whose orphans it takes.

Linux only (prctl(2)). Nothing here raises for a kernel that lacks a feature except `die_with_parent` and
`become_subreaper`, without which supervision would be a promise we cannot keep.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: The supervisor sends this to a child that does not answer; the child writes the stacks of all threads to stderr.
STACK_DUMP_SIGNAL = signal.SIGUSR2

#: Variable of every command that an agent runs: the agent's link socket. By it the next supervisor of the same state
#: folder recognises what was left running when everything was killed at once.
LINK_MARK = "OPENCLAW_LINK"

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def die_with_parent(expected_ppid: int) -> None:
    """Ask for SIGKILL at the moment the parent ends, and exit at once when it has ended already.

    The kernel resets this at fork and keeps it over exec. A process that was re-parented to a subreaper is killed with
    the subreaper (PR_SET_PDEATHSIG(2const)), so a double-forked worker calls this once the supervisor is its parent.
    Raises OSError.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != expected_ppid:
        os._exit(1)


def become_subreaper() -> None:
    """Orphaned descendants become our children instead of init's (PR_SET_CHILD_SUBREAPER). Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def adopt_orphans() -> None:
    """The same, except where no process can: the kernel of an older gVisor answers EINVAL, and orphans are its init's.

    Only for whoever lives in a container, whose end is their end at the latest. Raises OSError for anything else.
    """
    try:
        become_subreaper()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def set_title(title: str) -> None:
    """The name shown by ps and top, such as `openclaw: worker main`."""
    from setproctitle import setproctitle

    setproctitle(title)


def dump_stacks_on_signal() -> None:
    """Make STACK_DUMP_SIGNAL write the stacks of all threads to stderr, even when the event loop is stuck."""
    faulthandler.register(STACK_DUMP_SIGNAL, file=2, all_threads=True)
