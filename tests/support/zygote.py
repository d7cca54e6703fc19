"""A zygote-like peer: forks twice on ZygoteSpawn, and the worker does what `behaviour` says (see tests/support/peers.py).

It keeps the contract of messages.ZygoteSpawn without knowing anything of the real worker.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import NoReturn

from protocol.messages import (
    SupervisorToWorker,
    ZygoteReady,
    ZygoteSpawn,
    ZygoteSpawned,
    supervisor_to_worker,
    supervisor_to_zygote,
)
from protocol.pipe import FrameReader, PipeClosed, receive_blocking, send_blocking
from protocol.process import die_with_parent, dump_stacks_on_signal


def serve(pipe: socket.socket, behaviour: str) -> None:
    """Until the supervisor closes the pipe."""
    reader = FrameReader(supervisor_to_zygote)
    send_blocking(pipe, ZygoteReady())
    while True:
        try:
            request, (boot_fd, log_fd) = receive_blocking(pipe, reader)
        except PipeClosed:
            return
        if behaviour == "zygote-refuses":
            send_blocking(pipe, ZygoteSpawned(request=request.request, pid=0, error="no more processes"))
        else:
            pid = fork_twice(request, pipe, boot_fd, log_fd, behaviour)
            send_blocking(pipe, ZygoteSpawned(request=request.request, pid=pid))
        os.close(boot_fd)
        os.close(log_fd)


def fork_twice(request: ZygoteSpawn, pipe: socket.socket, boot_fd: int, log_fd: int, behaviour: str) -> int:
    """The pid of the grandchild, whose parent is the supervisor by now."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        worker = os.fork()
        if worker == 0:
            become_worker(request, pipe, boot_fd, log_fd, behaviour)
        os.write(writing, str(worker).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int(os.read(reading, 32))
    os.close(reading)
    os.close(writing)
    return pid


def become_worker(
    request: ZygoteSpawn, pipe: socket.socket, boot_fd: int, log_fd: int, behaviour: str
) -> NoReturn:
    while os.getppid() != request.orphanage:
        time.sleep(0.001)
    die_with_parent(request.orphanage)
    os.setsid()
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)
    pipe.close()
    dump_stacks_on_signal()
    reader = FrameReader[SupervisorToWorker](supervisor_to_worker)
    try:
        boot, _ = receive_blocking(socket.socket(fileno=boot_fd), reader)
    except PipeClosed:
        os._exit(0)
    stubborn = behaviour == "ignores-term"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: os._exit(0))
    print(f'{{"level":"info","subsystem":"zygote","message":"booted {boot.slice.agent} {boot.generation}"}}', flush=True)
    behave(behaviour)


def behave(behaviour: str) -> NoReturn:
    """What the worker does with its life."""
    match behaviour:
        case "exits":
            os._exit(3)
        case "exits-78":
            os._exit(78)
        case "child-survives":
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                print(f"child {os.getpid()}", flush=True)
                time.sleep(3600)
            time.sleep(0.05)
            os._exit(0)
        case "dies-by-signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "floods":
            line = b"x" * 200 + b"\n"
            while True:
                os.write(2, line * 100)
        case "forges":
            print('{"level":"fatal","subsystem":"router","message":"forged","time":"1999"}', flush=True)
    sys.stdout.flush()
    while True:
        signal.pause()
