"""`python -m worker.zygote --pipe FD`: a process that has loaded everything a worker needs and forks on request.

A fork costs milliseconds and a few megabytes where a new interpreter costs 170 ms and 22 MB. So that the pages stay
shared, all loaded objects are frozen out of the garbage collector before the first fork. So that forks are sound, there
is no thread, no event loop, no zmq context and no open session here. Agents' secrets never pass through: each worker
reads its own boot pipe.

A worker is forked twice: the process between them ends at once, and the worker becomes the child of the supervisor,
which watches and reaps it. The zygote ends when the supervisor's pipe closes.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # A worker speaks through unix sockets only, and asyncio and aiohttp do without TLS where there is none: otherwise
    # every start reads the machine's certificates, which takes about as long as all the rest of it, and 2.6 MB.
    sys.modules["ssl"] = None  # type: ignore[assignment]

import argparse
import gc
import importlib
import os
import signal
import socket
import traceback
from typing import NoReturn

from protocol.errors import ProtocolViolation
from protocol.messages import ZygoteReady, ZygoteSpawn, ZygoteSpawned, supervisor_to_zygote
from protocol.pipe import FrameReader, PipeClosed, receive_blocking, send_blocking
from protocol.process import die_with_parent, set_title

#: Loaded before the first fork.
PRELOADED = ("asyncio", "msgspec", "zmq", "aiohttp", "encodings.idna", "worker.boot")


def main() -> int:
    """Serve one supervisor."""
    parser = argparse.ArgumentParser(prog="python -m worker.zygote", description=__doc__)
    parser.add_argument("--pipe", type=int, required=True, metavar="FD", help="inherited socket of the supervisor")
    pipe = socket.socket(fileno=parser.parse_args().pipe)
    parent = os.getppid()
    set_title("openclaw: zygote")
    preload()
    die_with_parent(parent)
    # A Ctrl-C at the terminal is for the supervisor, which lets everybody finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(pipe)
    except PipeClosed:
        return 0
    except ProtocolViolation as error:
        print(f"zygote: the supervisor broke the protocol: {error}", file=sys.stderr)  # noqa: T201
        return 1


def preload() -> None:
    """Load all code and freeze it. Collecting in a worker would otherwise write to, and so copy, every page."""
    gc.disable()
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.enable()


def serve(pipe: socket.socket) -> NoReturn:
    """Fork a worker for each request. Raises PipeClosed at the end, ProtocolViolation on nonsense."""
    reader = FrameReader(supervisor_to_zygote)
    send_blocking(pipe, ZygoteReady())
    while True:
        order, fds = receive_blocking(pipe, reader)
        if not isinstance(order, ZygoteSpawn) or len(fds) != 2:
            raise ProtocolViolation(f"{type(order).__name__} with {len(fds)} descriptors")
        answer = spawn(order, fds[0], fds[1])
        for fd in fds:
            os.close(fd)
        send_blocking(pipe, answer)


def spawn(order: ZygoteSpawn, boot_fd: int, log_fd: int) -> ZygoteSpawned:
    """Fork one worker through a process in between, which tells its pid."""
    reading, writing = os.pipe()
    try:
        middle = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        return ZygoteSpawned(request=order.request, pid=0, error=f"fork: {error.strerror}")
    if middle == 0:
        _fork_worker(order, boot_fd, log_fd, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        pid, _, error_text = told.read().decode().partition(" ")
    os.waitpid(middle, 0)
    return ZygoteSpawned(request=order.request, pid=int(pid or 0), error=error_text or ("" if pid else "fork died"))


def _fork_worker(order: ZygoteSpawn, boot_fd: int, log_fd: int, writing: int) -> NoReturn:
    """The process in between: fork, tell, end."""
    intermediate = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        os.write(writing, f"0 fork: {error.strerror}".encode())
        os._exit(1)
    if pid == 0:
        os.close(writing)
        _become_worker(order, boot_fd, log_fd, intermediate)
    os.write(writing, str(pid).encode())
    os._exit(0)


def _become_worker(order: ZygoteSpawn, boot_fd: int, log_fd: int, intermediate: int) -> NoReturn:
    """Never returns into the zygote's code, whatever happens."""
    code = 1
    try:
        from worker import boot

        boot_fd = boot.settle(boot_fd, log_fd)
        boot.await_parent(intermediate, order.orphanage)
        set_title(order.title)
        boot.lock_down()
        code = boot.work(boot_fd)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
