"""A zygote and the router's end of one agent's link: what a real worker needs around it, and nothing more.

The router here acknowledges what it is told to and notes everything it hears, in order.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from protocol import messages as m
from protocol.envelope import Address, Inbound, Peer, Sender
from protocol.link import AgentSocket, PeerGone, RouterLinks, new_keypair
from protocol.pipe import Pipe, make_pair, send_blocking
from protocol.slices import WorkerSlice

_PR_SET_CHILD_SUBREAPER = 36


def set_subreaper(on: bool) -> None:
    """Whether orphans of our children become ours."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def inbound(text: str, *, id: str = "1", kind: Any = "direct", sender: str = "Anna") -> Inbound:
    """A message as the router delivers it."""
    return Inbound(
        channel="telegram",
        account="default",
        message_id=id,
        peer=Peer(kind, "77"),
        sender=Sender("77", sender),
        text=text,
        at=1_700_000_000.0,
        reply=Address("telegram", "default", "77"),
    )


class RouterEnd:
    """The router's side of one agent."""

    def __init__(self, folder: Path, agent: str = "main") -> None:
        self.agent = agent
        self.folder = folder
        self.heard: list[Any] = []
        self.acks = True
        self.generation = 0
        self._changed = asyncio.Event()
        self._links = RouterLinks()
        router_public, router_secret = new_keypair()
        worker_public, worker_secret = new_keypair()
        self._keys = (router_public, router_secret, worker_public, worker_secret)
        self._socket: AgentSocket | None = None
        self.bind()

    def bind(self) -> None:
        self._socket = self._links.bind(
            self.agent,
            str(self.folder / "run" / "link"),
            secret=self._keys[1],
            worker_public=self._keys[2],
            on_message=self._receive,
        )

    def unbind(self) -> None:
        """The router goes away."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def settings(self, **fields: Any) -> WorkerSlice:
        given = {
            "agent": self.agent,
            "name": "Test",
            "workspace": str(self.folder / "workspace"),
            "sessions": str(self.folder / "sessions"),
            "link_socket": str(self.folder / "run" / "link"),
            "router_public": self._keys[0],
            "worker_public": self._keys[2],
            "worker_secret": self._keys[3],
            "proxy_socket": str(self.folder / "run" / "proxy"),
            "proxy_token": "ocp_test_token_0123456789",
        }
        return WorkerSlice(**{**given, **fields})

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self._keys[3], "ocp_test_token_0123456789")

    def send(self, message: Any) -> None:
        assert self._socket is not None
        self._socket.send(self.generation, message)

    def deliver(self, id: str, text: str, *, session: str = "agent:main:main", **fields: Any) -> None:
        self.send(m.Deliver(id=id, session_key=session, message=inbound(text, id=id, **fields)))

    async def hear(self, wanted: Callable[[Any], bool], timeout: float = 20.0) -> Any:
        """The first message that fits, among those heard or to come."""
        async with asyncio.timeout(timeout):
            while True:
                for message in self.heard:
                    if wanted(message):
                        return message
                self._changed.clear()
                await self._changed.wait()

    async def hear_kind(self, kind: type[Any], id: str | None = None) -> Any:
        return await self.hear(lambda one: isinstance(one, kind) and (id is None or one.id == id))

    def close(self) -> None:
        self.unbind()
        self._links.close()

    def _receive(self, generation: int, data: bytes) -> None:
        message = m.worker_to_router.decode(data)
        self.heard.append(message)
        self.generation = max(self.generation, generation)
        with suppress(PeerGone):
            self._answer(generation, message)
        self._changed.set()

    def _answer(self, generation: int, message: Any) -> None:
        assert self._socket is not None
        match message:
            case m.Hello():
                self._socket.send(generation, m.Welcome(version=m.PROTOCOL_VERSION, router="test"))
            case m.Say(id=id, seq=seq) if self.acks:
                self._socket.send(generation, m.SayAck(id=id, seq=seq))
            case m.Done(id=id) if self.acks:
                self._socket.send(generation, m.DoneAck(id=id))


class Zygote:
    """A real zygote process; `spawn` gives a worker's pid. The caller must be a child subreaper."""

    def __init__(self) -> None:
        ours, theirs = make_pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.zygote", "--pipe", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                cwd=Path(__file__).parents[2],
            )
        self._pipe: Pipe[m.ZygoteToSupervisor] = Pipe(ours, m.zygote_to_supervisor)
        self.workers: list[int] = []

    async def ready(self) -> None:
        async with asyncio.timeout(20):
            message, _ = await self._pipe.receive()
        assert isinstance(message, m.ZygoteReady)

    async def spawn(self, boot: m.WorkerBoot | None, title: str = "openclaw: worker main", log: int = 2) -> int:
        """Fork a worker; without `boot` its boot pipe is closed at once."""
        ours, theirs = make_pair()
        with ours:
            with theirs:
                order = m.ZygoteSpawn(request=len(self.workers), title=title, orphanage=os.getpid())
                self._pipe.send(order, [theirs.fileno(), log])
                async with asyncio.timeout(20):
                    message, _ = await self._pipe.receive()
            assert isinstance(message, m.ZygoteSpawned)
            assert message.pid > 0, message.error
            self.workers.append(message.pid)
            if boot is not None:
                send_blocking(ours, boot)
        return message.pid

    def close(self) -> None:
        self._pipe.close()
        self.process.wait(10)
        for pid in self.workers:
            kill(pid)


def kill(pid: int, number: int = signal.SIGKILL) -> int | None:
    """Kill and reap one worker of ours; its wait status, None when it was reaped before."""
    try:
        os.kill(pid, number)
        return os.waitpid(pid, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        return None


async def wait_for_end(pid: int, timeout: float = 20.0) -> int:
    """Wait until a worker has ended; its exit code, negative for a signal."""
    fd = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(timeout):
            await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
