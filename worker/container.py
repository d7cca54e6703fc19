"""`python3 -P -m worker.container`: the first process in a container. It forks the workers and keeps them.

It connects to the supervisor's socket in the boot folder, says what it speaks, and forks a worker for each request, as
the zygote of the host does. Other than there the workers stay its children: it reaps them and whatever they leave
behind, tells how each has ended and passes signals on. When the socket closes it ends, and the container with it.

Workers are hostile. They cannot trace this process or read its memory and descriptors (it is not dumpable, and neither
are they), and all they can do by killing it is to end their own container. In a container that several agents share it
is root with three capabilities, and each worker loses them all with its user before any code of an agent runs.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # A worker speaks through unix sockets only, and asyncio and aiohttp do without TLS where there is none: otherwise
    # every start reads the machine's certificates, which takes about as long as all the rest of it, and 2.6 MB.
    sys.modules["ssl"] = None  # type: ignore[assignment]

import contextlib
import ctypes
import os
import select
import signal
import socket
import traceback
from typing import NoReturn

from protocol.errors import ProtocolViolation
from protocol.messages import ZygoteEnded, ZygoteReady, ZygoteSignal, ZygoteSpawn, ZygoteSpawned, supervisor_to_zygote
from protocol.pipe import FrameReader, PipeClosed, send_blocking
from protocol.process import adopt_orphans, die_with_parent, set_title
from worker.zygote import preload

#: The supervisor's socket, as the container sees it.
SOCKET = "/openclaw/boot/boot"
#: Rounds of killing what an ended worker left, while another one of the same user lives.
_ROUNDS = 50
_PR_SET_DUMPABLE = 4

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Serve the one supervisor there is."""
    set_title("openclaw: container")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        protect()
        preload()
        pipe = connect()
    except (OSError, ImportError) as error:
        print(f"openclaw: this container cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        Launcher(pipe).serve()
    except PipeClosed:
        return 0
    except ProtocolViolation as error:
        print(f"openclaw: the supervisor broke the protocol: {error}", file=sys.stderr)  # noqa: T201
        return 1


def connect() -> socket.socket:
    """Raises OSError."""
    pipe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        pipe.connect(SOCKET)
    except OSError as error:
        # The supervisor knows these words (supervisor/sandbox/containers.py).
        raise OSError(error.errno, f"cannot connect to {SOCKET}: {error.strerror}") from None
    return pipe


def protect() -> None:
    """No process of the same user may trace this one; orphans of its workers become its children. Raises OSError."""
    os.umask(0o077)
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    adopt_orphans()


class Launcher:
    """The workers of this container. Single-threaded, and without an event loop, so that forks are sound."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._reader = FrameReader(supervisor_to_zygote)
        self._workers: dict[int, ZygoteSpawn] = {}
        self._ooms = oom_kills()
        self._woken, self._waking = socket.socketpair()
        self._woken.setblocking(False)
        self._waking.setblocking(False)

    def serve(self) -> NoReturn:
        """Raises PipeClosed at the end, ProtocolViolation on nonsense."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        send_blocking(self._pipe, ZygoteReady())
        while True:
            readable, _, _ = select.select([self._pipe, self._woken], [], [])
            if self._woken in readable:
                self._drain_wakeups()
            # Every time: an end that is known before the next order is told before its answer.
            self.reap()
            if self._pipe in readable:
                self._obey()

    def reap(self) -> None:
        """Bury whoever has ended; tell of workers."""
        while (found := _ended()) is not None:
            order = self._workers.get(found)
            if order is not None:
                # Not reaped yet, so the number is still its own.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(found, signal.SIGKILL)
            _, status, usage = os.wait4(found, 0)
            if order is not None:
                self._bury(found, order, status, usage.ru_maxrss * 1024)

    def _bury(self, pid: int, order: ZygoteSpawn, status: int, max_rss: int) -> None:
        del self._workers[pid]
        self._end_leftovers(order)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        ooms = oom_kills()
        oom, self._ooms = killed == signal.SIGKILL and ooms > self._ooms, ooms
        code = 0 if killed else os.waitstatus_to_exitcode(status)
        ended = ZygoteEnded(request=order.request, code=code, signal=killed, oom=oom, max_rss=max_rss)
        send_blocking(self._pipe, ended)

    def _end_leftovers(self, order: ZygoteSpawn) -> None:
        """What its commands left behind, daemons included."""
        if any(other.uid == order.uid for other in self._workers.values()):
            self._end_orphans()
        elif order.uid:
            kill_all_of(order.uid, order.gid)
        else:
            # At once and for all, whatever forks meanwhile (kill(2)): everybody here but init and us.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(-1, signal.SIGKILL)

    def _end_orphans(self) -> None:
        """Another worker of the same user lives on: only those go whose parent has become us.

        With a kernel that lets us adopt nobody (gVisor) they go with the user's last worker.
        """
        for _ in range(_ROUNDS):
            orphans = _children() - self._workers.keys()
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _obey(self) -> None:
        if not self._reader.read(self._pipe):
            raise PipeClosed("the supervisor closed the socket")
        while (found := self._reader.next()) is not None:
            order, fds = found
            self._do(order, fds)
            for fd in fds:
                os.close(fd)

    def _do(self, order: ZygoteSpawn | ZygoteSignal, fds: list[int]) -> None:
        match order:
            case ZygoteSpawn() if len(fds) == 2:
                send_blocking(self._pipe, self._spawn(order, fds[0], fds[1]))
            case ZygoteSignal(request=request, number=number) if not fds:
                self._signal(request, number)
            case _:
                raise ProtocolViolation(f"{type(order).__name__} with {len(fds)} descriptors")

    def _spawn(self, order: ZygoteSpawn, boot_fd: int, log_fd: int) -> ZygoteSpawned:
        launcher = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            return ZygoteSpawned(request=order.request, pid=0, error=f"fork: {error.strerror}")
        if pid == 0:
            become_worker(order, boot_fd, log_fd, launcher)
        self._workers[pid] = order
        return ZygoteSpawned(request=order.request, pid=pid)

    def _signal(self, request: int, number: int) -> None:
        for pid in [pid for pid, order in self._workers.items() if order.request == request]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass


def become_worker(order: ZygoteSpawn, boot_fd: int, log_fd: int, launcher: int) -> NoReturn:
    """Never returns into the launcher's code, whatever happens."""
    code = 1
    try:
        from worker import boot

        signal.set_wakeup_fd(-1)
        boot_fd = boot.settle(boot_fd, log_fd)
        set_title(order.title)
        become_user(order.uid, order.gid)
        # A change of user forgets this wish (prctl(2)), so it comes after.
        die_with_parent(launcher)
        boot.lock_down()
        code = boot.work(boot_fd)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def become_user(uid: int, gid: int) -> None:
    """For good: no capability survives the change from root (capabilities(7)). Raises OSError.

    A launcher that is root refuses to make a worker that would stay it.
    """
    if os.geteuid() != 0:
        return
    if not uid or not gid:
        raise PermissionError("a worker must not be root")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def kill_all_of(uid: int, gid: int) -> None:
    """Kill every process of a user: a child becomes that user, and can thus reach nobody else."""
    pid = os.fork()
    if pid == 0:
        try:
            become_user(uid, gid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def oom_kills() -> int:
    """How often the kernel killed in this container for lack of memory (cgroup v2, then v1); 0 when it does not say."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(name) as file:
                return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        except (OSError, StopIteration):
            continue
    return 0


def _ended() -> int | None:
    """The pid of a child that has ended, left unreaped."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _children() -> set[int]:
    """proc_tid_children(5); this process has one thread."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return {int(pid) for pid in file.read().split()}
    except OSError:
        return set()


if __name__ == "__main__":
    sys.exit(main())
