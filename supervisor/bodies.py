"""What children consist of: a program of ours with a pipe, or a worker made by a spawner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from protocol import messages as m
from protocol.codec import Decoder
from protocol.errors import ProtocolViolation
from protocol.pipe import Pipe, PipeClosed, make_pair
from protocol.sandbox import Seat
from protocol.tasks import Tasks
from supervisor.sandbox import rooms
from supervisor.spawners.base import Handle, Spawner, SpawnError, SpawnSpec
from supervisor.spawners.local import launch
from supervisor.workerplan import WorkerPlan

T = TypeVar("T")

#: Seconds between the end of a program's pipe and the point where that alone is a reason to kill it.
_CLOSED_FOR = 2.0


class ProgramBody(Generic[T]):
    """A program of ours. `T` is what it may say.

    `first` and `last` make what it is told after its start and when it is to finish (None: its pipe is closed).
    """

    generation = 0

    def __init__(
        self,
        name: str,
        command: Callable[[int], tuple[str, ...]],
        environ: dict[str, str],
        decoder: Decoder[T],
        tasks: Tasks,
        *,
        first: Callable[[], Any] | None = None,
        last: Callable[[], Any] | None = None,
        hear: Callable[[T], None],
        trouble: Callable[[str], None],
        on_pipe: Callable[[Pipe[T] | None], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._command = command
        self._environ = environ
        self._decoder = decoder
        self._tasks = tasks
        self._first = first
        self._last = last
        self._hear = hear
        self._trouble = trouble
        self._on_pipe = on_pipe
        self.pipe: Pipe[T] | None = None

    def tell(self, message: Any, fds: tuple[int, ...] = ()) -> bool:
        """Send it something; False when it is not there."""
        if self.pipe is None:
            return False
        self.pipe.send(message, fds)
        return True

    async def spawn(self, log_fd: int) -> Handle:
        ours, theirs = make_pair()
        with theirs:
            try:
                process = launch(self._command(theirs.fileno()), self._environ, [theirs.fileno()], log_fd)
            except SpawnError:
                ours.close()
                raise
        self.pipe = Pipe(ours, self._decoder)
        self._on_pipe(self.pipe)
        if self._first is not None:
            self.pipe.send(self._first())
        self._tasks.start(self._listen(self.pipe), f"listening to {self._name}")
        return process

    def drain(self) -> bool:
        if self.pipe is None:
            return False
        if self._last is None:
            self._close()
            return True
        return self.tell(self._last())

    def ended(self, crashed: bool, reason: str) -> None:
        self._close()

    def _close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
            self._on_pipe(None)

    async def _listen(self, pipe: Pipe[T]) -> None:
        try:
            while True:
                message, _ = await pipe.receive()
                self._hear(message)
        except ProtocolViolation as error:
            self._trouble(f"broke the protocol: {error}")
        except PipeClosed:
            await asyncio.sleep(_CLOSED_FOR)
            if self.pipe is pipe:
                self._trouble("closed its pipe")


class WorkerBody:
    """The worker of one seat. The router hears of each generation before it exists and after it is gone.

    `booted` is what the worker was made from that lives now, or that lived last.
    """

    def __init__(
        self,
        seat: Seat,
        plan: Callable[[], WorkerPlan],
        spawner: Spawner,
        new_generation: Callable[[], int],
        tell_router: Callable[[Any], bool],
    ) -> None:
        self.seat = seat
        self.generation = 0
        self.living = False
        self.booted: WorkerPlan | None = None
        self._plan = plan
        self._spawner = spawner
        self._new_generation = new_generation
        self._tell_router = tell_router

    async def spawn(self, log_fd: int) -> Handle:
        self.generation = self._new_generation()
        self.living = True
        plan = self.booted = self._plan()
        # The router binds at once, and the socket takes its group from the folder.
        rooms.prepare((folder for folder in plan.folders if folder.is_link), plan.uid, plan.gid)
        self._tell_router(self.started())
        boot = m.WorkerBoot(version=m.PROTOCOL_VERSION, generation=self.generation, slice=plan.slice, walls=plan.walls)
        return await self._spawner.spawn(
            SpawnSpec(
                title=f"openclaw: worker {self.seat.agent}",
                boot=boot,
                log_fd=log_fd,
                container=plan.container,
                folders=plan.folders,
                uid=plan.uid,
                gid=plan.gid,
                limits=plan.limits,
            )
        )

    def started(self) -> m.GenerationStarted:
        """What the router is told of this generation."""
        assert self.booted is not None
        return m.GenerationStarted(link=self.booted.link, generation=self.generation)

    def drain(self) -> bool:
        agent, place = self.seat
        return self._tell_router(m.DrainWorker(agent=agent, place=place, generation=self.generation))

    def ended(self, crashed: bool, reason: str) -> None:
        self.living = False
        agent, place = self.seat
        self._tell_router(
            m.GenerationEnded(agent=agent, place=place, generation=self.generation, crashed=crashed, reason=reason)
        )
