"""Tiny children, one per way of failing: `python -m tests.support.peers <role> <folder> --pipe FD`.

What a child does wrong is read at its start from the file `<folder>/<role>` (`obeys` when there is none), so a test
may change it between two lives. Workers read `behaviour` in their workspace (tests/support/zygote.py).

The router peer keeps the real router's contract towards the supervisor. Its link to the workers is a plain unix
socket with lines. What it hears is appended to `<folder>/heard`. An operator's connection that is handed over to it is
a test that tells it what to say: `wanted main`, `silent main`, `misbehaved main`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from protocol import messages as m
from protocol.pipe import FrameReader, Pipe, PipeClosed, receive_blocking, send_blocking
from protocol.process import dump_stacks_on_signal
from protocol.slices import AgentLink
from tests.support import zygote


def main() -> None:
    role, place, _, fd = sys.argv[1:5]
    folder = Path(place)
    behaviour = (folder / role).read_text().strip() if (folder / role).exists() else "obeys"
    dump_stacks_on_signal()
    pipe = socket.socket(fileno=int(fd))
    fail_early(behaviour)
    match role:
        case "zygote":
            zygote.serve(pipe, behaviour)
        case "cliproxy":
            serve_proxy(pipe, behaviour)
        case "router":
            asyncio.run(Router(folder, behaviour).serve(pipe))


def fail_early(behaviour: str) -> None:
    """Ways of failing that all roles have in common."""
    match behaviour:
        case "exits-at-once":
            os._exit(3)
        case "exits-78":
            say("fatal", "the boot message is wrong")
            os._exit(78)
        case "port-in-use":
            say("fatal", "port 18789 is in use by pid 4711 hint: openclaw gateway stop")
            os._exit(1)
        case "never-ready":
            while True:
                signal.pause()
        case "segfaults":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "talks-nonsense":
            os.write(int(sys.argv[4]), b"\x00\x00\x00\x02\x00{}")
        case "closes-its-pipe":
            os.close(int(sys.argv[4]))
            while True:
                signal.pause()


def say(level: str, message: str) -> None:
    print(f'{{"level":"{level}","subsystem":"{sys.argv[1]}","message":"{message}"}}', file=sys.stderr, flush=True)


def serve_proxy(pipe: socket.socket, behaviour: str) -> None:
    reader = FrameReader[m.SupervisorToProxy](m.supervisor_to_proxy)
    with contextlib.suppress(PipeClosed):
        while True:
            match receive_blocking(pipe, reader)[0]:
                case m.ProxyBoot():
                    for _ in range(2 if behaviour == "ready-twice" else 1):
                        send_blocking(pipe, m.ProxyReady())
                case m.ProxyStatusQuery(request=request):
                    send_blocking(pipe, m.ProxyStatus(request=request, text='{"requests":7}'))
                case m.ProxyStop():
                    with (Path(sys.argv[2]) / "heard").open("a") as heard:
                        heard.write("ProxyStop\n")
                    return


class Router:
    """Says of workers what they say of themselves."""

    def __init__(self, folder: Path, behaviour: str) -> None:
        self._folder = folder
        self._behaviour = behaviour
        self._workers: dict[tuple[str, int], asyncio.StreamWriter] = {}
        self._newest: dict[str, int] = {}
        self._listening: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, sock: socket.socket) -> None:
        self._pipe = Pipe(sock, m.supervisor_to_router)
        with contextlib.suppress(PipeClosed):
            while True:
                message, fds = await self._pipe.receive()
                await self.obey(message, fds)

    async def obey(self, message: m.SupervisorToRouter, fds: list[int]) -> None:
        self._write_down(message)
        match message:
            case m.RouterBoot(generations=generations):
                self._newest |= {one.link.agent: one.generation for one in generations}
                for one in generations:
                    await self._listen_for(one.link)
                self._pipe.send(m.RouterReady(host="127.0.0.1", port=4711))
            case m.RouterUpdate(slice=slice_):
                for agent in slice_.leaving:
                    self._pipe.send(m.AgentIdle(agent=agent.id, version=slice_.version))
            case m.GenerationStarted(link=link, generation=generation):
                self._newest[link.agent] = generation
                await self._listen_for(link)
            case m.DrainWorker(agent=agent, generation=generation) if (agent, generation) in self._workers:
                self._workers[agent, generation].write(b"drain\n")
            case m.OperatorHandover():
                task = asyncio.create_task(self._hear_operator(socket.socket(fileno=fds[0])))
                self._tasks.add(task)
            case m.RouterStop():
                raise PipeClosed("told to stop")

    def _write_down(self, message: m.SupervisorToRouter) -> None:
        agent = message.link.agent if isinstance(message, m.GenerationStarted) else getattr(message, "agent", "")
        words = [type(message).__name__, agent, str(getattr(message, "generation", ""))]
        if isinstance(message, m.RouterBoot):
            words.append(",".join(f"{one.link.agent}:{one.generation}" for one in message.generations))
        if isinstance(message, m.GenerationEnded):
            words.append("crashed" if message.crashed else "as asked")
        if isinstance(message, m.AgentTrouble):
            words.append(message.reason)
        with (self._folder / "heard").open("a") as heard:
            heard.write(" ".join(word for word in words if word) + "\n")

    async def _listen_for(self, link: AgentLink) -> None:
        if link.agent in self._listening:
            return
        self._listening.add(link.agent)

        def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
            return self._hear_worker(link.agent, reader, writer)

        with contextlib.suppress(FileNotFoundError):
            os.unlink(link.socket)
        await asyncio.start_unix_server(arrived, link.socket)

    async def _hear_worker(self, agent: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).split():
            generation = int(line[1])
            if line[0] == b"hello":
                self._workers[agent, generation] = writer
                self._pipe.send(m.WorkerReady(agent=agent, generation=generation))
            else:
                self._pipe.send(m.WorkerDrained(agent=agent, generation=generation))
        writer.close()

    async def _hear_operator(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(b"attached\n")
        while line := (await reader.readline()).decode().split():
            what, agent = line
            generation = self._newest.get(agent, 0)
            match what:
                case "wanted":
                    self._pipe.send(m.WorkerWanted(agent=agent))
                case "silent":
                    self._pipe.send(m.WorkerSilent(agent=agent, generation=generation))
                case "misbehaved":
                    self._pipe.send(m.WorkerMisbehaved(agent=agent, generation=generation, reason="said nonsense"))
        writer.close()


def connect_to_router(path: str) -> socket.socket:
    """For worker peers: as the real link does, try until the router is there."""
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            time.sleep(0.01)
        else:
            return sock


if __name__ == "__main__":
    main()
