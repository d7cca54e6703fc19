"""Workers as forks of the preloaded zygote: 4 ms and 4 MB each instead of 174 ms and 22 MB (ARCHITECTURE 5).

The zygote forks twice, so the worker's parent becomes the supervisor (a child subreaper): it is watched and reaped
here, and the end of the zygote touches no living worker. A zygote that dies is replaced by the supervisor; spawns that
waited for an answer from it fail, later ones wait for the next one.
"""

from __future__ import annotations

import asyncio
import os
import socket

from protocol.messages import (
    SupervisorToZygote,
    WorkerBoot,
    ZygoteReady,
    ZygoteSpawn,
    ZygoteSpawned,
    ZygoteToSupervisor,
)
from protocol.pipe import Pipe, PipeClosed, frame, make_pair
from supervisor.cgroups import Cgroups, Group
from supervisor.spawners.base import Handle, HandleInfo, SpawnError, SpawnSpec
from supervisor.spawners.local import LocalProcess

#: Seconds to wait for a zygote, for its answer, and for a new worker to take its boot message.
ZYGOTE_WITHIN = 15.0
FORKED_WITHIN = 10.0
BOOTED_WITHIN = 10.0


class ProcessSpawner:
    """Local workers. The service gives it each zygote's pipe with `attach` and takes it away with `detach`.

    With `cgroups` each worker is put into its agent's group before it is told anything.
    """

    def __init__(self, cgroups: Cgroups | None = None) -> None:
        self._cgroups = cgroups
        self._pipe: Pipe[ZygoteToSupervisor] | None = None
        self._ready = asyncio.Event()
        self._requests = self._spawning = 0
        self._pending: dict[int, asyncio.Future[int]] = {}

    @property
    def busy(self) -> bool:
        """Whether a worker is being made: a child of ours that nobody knows yet may be it."""
        return self._spawning > 0

    def attach(self, pipe: Pipe[ZygoteToSupervisor]) -> None:
        """A zygote was started; it may be used once it says ZygoteReady."""
        self._pipe = pipe

    def detach(self) -> None:
        """The zygote is gone."""
        self._pipe = None
        self._ready.clear()
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(SpawnError("the zygote ended while it forked"))

    def hear(self, message: ZygoteToSupervisor) -> None:
        """What the zygote says."""
        match message:
            case ZygoteReady():
                self._ready.set()
            case ZygoteSpawned(request=request, pid=pid, error=error):
                waiting = self._pending.get(request)
                if waiting is None or waiting.done():
                    return
                if pid > 0:
                    waiting.set_result(pid)
                else:
                    waiting.set_exception(SpawnError(f"cannot fork: {error}"))

    async def spawn(self, spec: SpawnSpec) -> Handle:
        self._spawning += 1
        try:
            return await self._spawn(spec)
        finally:
            self._spawning -= 1

    async def restore(self, info: HandleInfo) -> Handle | None:
        """Always None: a local worker dies with its supervisor (PR_SET_PDEATHSIG)."""
        return None

    async def _spawn(self, spec: SpawnSpec) -> Handle:
        ours, theirs = make_pair()
        with ours:
            with theirs:
                pid = await self._fork(spec, theirs.fileno())
            try:
                worker = LocalProcess(pid, self._group(spec, pid))
            except ProcessLookupError:
                raise SpawnError("the worker ended at once") from None
            ours.setblocking(False)
            await _boot(ours, spec.boot, worker)
        return worker

    def _group(self, spec: SpawnSpec, pid: int) -> Group | None:
        return self._cgroups.enter(spec.boot.slice.agent, pid, spec.limits) if self._cgroups is not None else None

    async def _fork(self, spec: SpawnSpec, boot_fd: int) -> int:
        log_fd = os.dup(spec.log_fd)
        try:
            async with asyncio.timeout(ZYGOTE_WITHIN):
                await self._ready.wait()
            return await self._ask(spec.title, [boot_fd, log_fd])
        except TimeoutError:
            raise SpawnError("the zygote is not ready") from None
        finally:
            os.close(log_fd)

    async def _ask(self, title: str, fds: list[int]) -> int:
        if self._pipe is None:
            raise SpawnError("the zygote is gone")
        self._requests += 1
        request, answer = self._requests, asyncio.get_running_loop().create_future()
        self._pending[request] = answer
        message: SupervisorToZygote = ZygoteSpawn(request=request, title=title, orphanage=os.getpid())
        try:
            self._pipe.send(message, fds)
            async with asyncio.timeout(FORKED_WITHIN):
                pid: int = await answer
            return pid
        except TimeoutError:
            raise SpawnError("the zygote does not answer") from None
        except PipeClosed:
            raise SpawnError("the zygote is gone") from None
        finally:
            del self._pending[request]


async def _boot(sock: socket.socket, boot: WorkerBoot, worker: LocalProcess) -> None:
    """Write the boot message; a worker that does not take it is no worker."""
    try:
        async with asyncio.timeout(BOOTED_WITHIN):
            await asyncio.get_running_loop().sock_sendall(sock, frame(boot))
    except (OSError, TimeoutError):
        # It has ended or hangs: either way its end is reported like any other.
        worker.kill()
