"""One running container: the connection to its first process, and the workers that process has made.

The connection is the truth. While it is there the container runs; when it closes the container has ended or is made to
end, and every worker in it has ended with it. Whatever is said on it that was not asked for ends it, too: the first
process is ours, so who speaks otherwise has taken its place.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence

from protocol.errors import ProtocolViolation
from protocol.messages import (
    PROTOCOL_VERSION,
    ZygoteEnded,
    ZygoteReady,
    ZygoteSignal,
    ZygoteSpawn,
    ZygoteSpawned,
    ZygoteToSupervisor,
    zygote_to_supervisor,
)
from protocol.pipe import Pipe, PipeClosed
from protocol.tasks import Tasks
from supervisor.life import Exit
from supervisor.sandbox.spec import ContainerSpec
from supervisor.spawners.base import HandleInfo, SpawnError

#: Seconds for a fork, and for the first process to obey a SIGKILL before its whole container is killed.
FORKED_WITHIN = 10.0
KILLED_WITHIN = 2.0

#: Ends the container for certain and tells how it ended.
Finish = Callable[["Box"], Awaitable[Exit]]


class BoxWorker:
    """The Handle of one worker in a container."""

    def __init__(self, box: Box, request: int) -> None:
        self._box = box
        self._request = request
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = self._exit.result() if self._exit.done() else "running"
        return f"BoxWorker({self._box.spec.name} {self._request}, {state})"

    @property
    def pid_text(self) -> str:
        return f"container {self._box.id[:12]}"

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def signal(self, number: int) -> None:
        if not self._exit.done():
            self._box.signal(self._request, number)

    def kill(self) -> None:
        if not self._exit.done() and self._timer is None:
            self._box.signal(self._request, signal.SIGKILL)
            self._timer = asyncio.get_running_loop().call_later(KILLED_WITHIN, self._box.end)

    def describe(self) -> HandleInfo:
        return {"container": self._box.spec.name, "request": self._request}

    def ended(self, how: Exit) -> None:
        """Only the first end counts."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._exit.done():
            self._exit.set_result(how)


class Box:
    """See above. `finish` is called once, when the connection has ended; `changed` after the end of every worker."""

    def __init__(
        self, spec: ContainerSpec, container_id: str, sock: socket.socket, finish: Finish,
        changed: Callable[[Box], None], tasks: Tasks,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.id = container_id
        self.problem = ""
        self._pipe: Pipe[ZygoteToSupervisor] = Pipe(sock, zygote_to_supervisor)
        self._finish = finish
        self._changed = changed
        self._tasks = tasks
        self._requests = 0
        self._forking: dict[int, asyncio.Future[None]] = {}
        self._workers: dict[int, BoxWorker] = {}
        self._open = True
        self._over = asyncio.Event()

    def __repr__(self) -> str:
        state = "open" if self._open else "over" if self._over.is_set() else "ending"
        return f"Box({self.spec.name}, {self.id[:12]}, {state}, {len(self._workers)} workers)"

    @property
    def usable(self) -> bool:
        """Whether a worker can be made in it."""
        return self._open

    @property
    def busy(self) -> bool:
        """Whether there is a worker in it, or one on the way."""
        return bool(self._workers)

    async def ready(self) -> None:
        """Wait for its first words, then listen. Raises SpawnError for another build, PipeClosed at its end."""
        try:
            said, fds = await self._pipe.receive()
        except ProtocolViolation as error:
            raise SpawnError(f"it speaks another protocol: {error}") from None
        if fds or not isinstance(said, ZygoteReady) or said.version != PROTOCOL_VERSION:
            version = said.version if isinstance(said, ZygoteReady) else "unknown"
            raise SpawnError(f"it speaks protocol {version}, this gateway speaks {PROTOCOL_VERSION}")
        self._tasks.start(self._listen(), f"container {self.spec.name}")

    async def launch(self, title: str, uid: int, gid: int, fds: Sequence[int]) -> BoxWorker:
        """Fork a worker; the caller keeps and closes its own descriptors. Raises SpawnError."""
        self._requests += 1
        request, forked = self._requests, asyncio.get_running_loop().create_future()
        worker = self._workers[request] = BoxWorker(self, request)
        self._forking[request] = forked
        try:
            self._pipe.send(ZygoteSpawn(request=request, title=title, orphanage=0, uid=uid, gid=gid), fds)
            async with asyncio.timeout(FORKED_WITHIN):
                await forked
        except (PipeClosed, SpawnError) as error:
            self._workers.pop(request, None)
            raise SpawnError(str(error) if isinstance(error, SpawnError) else "the container has ended") from None
        except (TimeoutError, asyncio.CancelledError) as error:
            # Nobody knows whether there is a worker now.
            self.end()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise SpawnError(f"container {self.spec.name} does not answer") from None
        finally:
            self._forking.pop(request, None)
        return worker

    def signal(self, request: int, number: int) -> None:
        """Nothing happens when it is over."""
        if self._open:
            self._pipe.send(ZygoteSignal(request=request, number=number))

    def end(self) -> None:
        """Close the connection: the container ends, or is ended."""
        if self._open:
            self._open = False
            self._pipe.close()

    def drop(self) -> None:
        """End a container that never became ready."""
        self.end()
        self._over.set()

    async def over(self) -> None:
        """Until the container has ended."""
        await self._over.wait()

    async def _listen(self) -> None:
        try:
            while True:
                said, fds = await self._pipe.receive()
                self._hear(said, len(fds))
        except ProtocolViolation as error:
            self.problem = f"its first process broke the protocol: {error}"
        except PipeClosed:
            pass
        self.end()
        how = await self._finish(self)
        self._bury(how)
        self._over.set()
        self._changed(self)

    def _hear(self, said: ZygoteToSupervisor, fds: int) -> None:
        match said:
            case ZygoteSpawned(request=request, pid=pid, error=error) if not fds and request in self._forking:
                waiting = self._forking.pop(request)
                if waiting.done():
                    return
                if pid > 0:
                    waiting.set_result(None)
                else:
                    waiting.set_exception(SpawnError(f"cannot fork in container {self.spec.name}: {error}"))
            case ZygoteEnded(request=request) if not fds and request in self._workers and request not in self._forking:
                how = Exit(code=said.code, signal=said.signal, oom=said.oom, max_rss=said.max_rss)
                self._workers.pop(request).ended(how)
                self._changed(self)
            case _:
                raise ProtocolViolation(f"{type(said).__name__} that nobody waits for")

    def _bury(self, how: Exit) -> None:
        for waiting in self._forking.values():
            if not waiting.done():
                waiting.set_exception(SpawnError("the container ended while it forked"))
        for worker in self._workers.values():
            worker.ended(how)
        self._workers.clear()
