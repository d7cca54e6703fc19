"""A zygote-like peer: forks twice on ZygoteSpawn; the worker does what the file `behaviour` in its workspace says.

It keeps the contract of messages.ZygoteSpawn without knowing anything of the real worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

from protocol.messages import (
    SupervisorToWorker,
    WorkerBoot,
    ZygoteReady,
    ZygoteSpawn,
    ZygoteSpawned,
    supervisor_to_worker,
    supervisor_to_zygote,
)
from protocol.pipe import FrameReader, PipeClosed, receive_blocking, send_blocking
from protocol.process import die_with_parent, dump_stacks_on_signal, set_title

#: Seconds a child lives that nobody ends, so that no test leaves one behind for long.
LEFT_ALONE = 60.0


def serve(pipe: socket.socket, behaviour: str) -> None:
    """Until the supervisor closes the pipe."""
    reader = FrameReader(supervisor_to_zygote)
    send_blocking(pipe, ZygoteReady())
    while True:
        try:
            request, (boot_fd, log_fd) = receive_blocking(pipe, reader)
        except PipeClosed:
            return
        if behaviour == "refuses":
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


def become_worker(request: ZygoteSpawn, pipe: socket.socket, boot_fd: int, log_fd: int, behaviour: str) -> NoReturn:
    while os.getppid() != request.orphanage:
        time.sleep(0.001)
    die_with_parent(request.orphanage)
    os.setsid()
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)
    pipe.close()
    dump_stacks_on_signal()
    set_title(request.title)
    try:
        boot, _ = receive_blocking(socket.socket(fileno=boot_fd), FrameReader[SupervisorToWorker](supervisor_to_worker))
    except PipeClosed:
        os._exit(0)
    behave(boot, read_behaviour(boot) or behaviour)


def read_behaviour(boot: WorkerBoot) -> str:
    path = Path(boot.slice.workspace) / "behaviour"
    return path.read_text().strip() if path.exists() else ""


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def behave(boot: WorkerBoot, behaviour: str) -> NoReturn:
    """What the worker does with its life."""
    stubborn = behaviour == "ignores-term"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: os._exit(0))
    say(f'{{"level":"info","subsystem":"zygote","message":"booted {boot.slice.agent} {boot.generation}"}}')
    match behaviour:
        case "exits":
            os._exit(3)
        case "exits-78":
            os._exit(78)
        case "leaves-a-child":
            if os.fork() == 0:
                say(f"child {os.getpid()}")
                time.sleep(LEFT_ALONE)
            time.sleep(0.05)
            os._exit(0)
        case "starts-a-session":
            if os.fork() == 0:
                os.setsid()
                say(f"child {os.getpid()}")
                time.sleep(LEFT_ALONE)
        case "dies-by-signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "floods":
            while True:
                os.write(2, (b"x" * 200 + b"\n") * 100)
        case "forges":
            say('{"level":"fatal","subsystem":"router","message":"forged","time":"1999-01-01T00:00:00Z"}')
            say("and sk-ant-api03-abcdefghijklmnopqrstuvwxyz in plain text")
    obey_router(boot, behaviour)


def obey_router(boot: WorkerBoot, behaviour: str) -> NoReturn:
    """Say hello on every connection, end when told to drain."""
    from tests.support.peers import connect_to_router

    while behaviour == "never-ready" or not Path(boot.slice.link_socket).parent.is_dir():
        signal.pause()
    while True:
        with connect_to_router(boot.slice.link_socket) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(f"hello {boot.generation}\n".encode())
            if sock.recv(100).startswith(b"drain") and behaviour != "never-drains":
                sock.sendall(f"drained {boot.generation}\n".encode())
                os._exit(0)
