"""One child at run time: feeds `policy.step` with what happens and does what it says.

`Child` knows nothing of what the child is; that is its `Body`: a program with a pipe, or a worker made by a spawner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Protocol

from protocol.control import ProcessStatus
from protocol.process import STACK_DUMP_SIGNAL
from protocol.tasks import Tasks
from supervisor import life, policy
from supervisor.children import Kind
from supervisor.life import ChildState, Exit, State
from supervisor.log_lines import ours, workers
from supervisor.log_pipe import ChildLog
from supervisor.logs import Journal, timestamp
from supervisor.records import CrashReport, Records
from supervisor.spawners.base import Handle, SpawnError

#: Log lines and bytes a second: a worker is held short, the others are ours.
_WORKER_RATE = (200.0, 1024.0 * 1024)
_OUR_RATE = (5000.0, 8.0 * 1024 * 1024)
_SIGTERM = 15


class Office:
    """What all children share."""

    def __init__(self, journal: Journal, records: Records, tasks: Tasks, jitter: Callable[[], float]) -> None:
        self.journal = journal
        self.records = records
        self.tasks = tasks
        self.jitter = jitter
        self.config_digest = ""


class Body(Protocol):
    """What a child consists of."""

    @property
    def generation(self) -> int:
        """Number of the life it is in, 0 where lives have no number."""

    async def spawn(self, log_fd: int) -> Handle:
        """Make the process. Raises SpawnError."""

    def drain(self) -> bool:
        """Tell it to finish and exit; False when nobody could be told."""

    def ended(self, crashed: bool, reason: str) -> None:
        """The process is gone."""


class Child:
    """One supervised child. `on_change` is called after every change of state."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        body: Body,
        settings: life.Settings,
        office: Office,
        on_change: Callable[[Child], None],
        agent: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.agent = agent
        self.body = body
        self.policy = ChildState(settings=settings)
        self.handle: Handle | None = None
        self.log: ChildLog | None = None
        self.last_exit: Exit | None = None
        self._office = office
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[frozenset[State], asyncio.Future[State]]] = []

    def __repr__(self) -> str:
        pid = self.handle.pid_text if self.handle else "-"
        return f"Child({self.name}, {self.policy.state.value}, pid {pid}, restarts {self.policy.restarts})"

    @property
    def state(self) -> State:
        return self.policy.state

    @property
    def serving(self) -> bool:
        return self.policy.state in life.SERVING

    def post(self, event: life.Event) -> None:
        """Something happened: decide, do, and tell who waits."""
        before = self.policy.state
        self.policy, actions = policy.step(self.policy, event, self._loop.time())
        for action in actions:
            self._perform(action)
        self._set_timer()
        if self.policy.state is not before:
            self._changed()

    async def until(self, *states: State) -> State:
        """Wait until it is in one of these states."""
        if self.policy.state in states:
            return self.policy.state
        future: asyncio.Future[State] = self._loop.create_future()
        self._waiting.append((frozenset(states), future))
        return await future

    def status(self) -> ProcessStatus:
        """What an operator may know."""
        state = self.policy
        known = self.handle.pid_text if self.handle else ""
        pid, where = (int(known), "") if known.isdigit() else (0, known)
        return ProcessStatus(
            name=self.name,
            kind=self.kind,
            state=state.state.value,
            pid=pid,
            where=where,
            generation=self.body.generation,
            agent=self.agent,
            started_at=self._wall(state.started_at) if self.handle else 0.0,
            ready_at=self._wall(state.ready_at) if self.handle else 0.0,
            restarts=state.restarts,
            reason=state.reason,
            retry_at=self.retry_at,
        )

    @property
    def retry_at(self) -> float:
        """When a start is tried again, seconds since the epoch; 0 for not at all, or no need."""
        waits = self.policy.state in {State.BACKOFF, State.QUARANTINED}
        return self._wall(self.policy.wake_at) if waits else 0.0

    def _wall(self, at: float) -> float:
        return 0.0 if abs(at) == inf else round(time.time() + at - self._loop.time(), 3)

    def _perform(self, action: life.Action) -> None:
        match action:
            case life.Report(level=level, text=text):
                self._office.journal.log(level, "supervisor", f"{self.name}: {text}")
            case life.Spawn():
                self._office.tasks.start(self._live(), f"life of {self.name}")
            case life.AskDrain():
                if not self.body.drain():
                    self._signal(_SIGTERM)
            case life.SendTerm():
                self._signal(_SIGTERM)
            case life.DumpStacks():
                self._signal(STACK_DUMP_SIGNAL)
            case life.Kill():
                if self.handle is not None:
                    self.handle.kill()

    def _signal(self, number: int) -> None:
        if self.handle is not None:
            self.handle.signal(number)

    async def _live(self) -> None:
        """One life: made, running, ended."""
        log = self.log = self._open_log()
        try:
            handle = await self.body.spawn(log.write_fd)
        except SpawnError as error:
            log.finish()
            self.body.ended(True, error.reason)
            self.post(life.SpawnFailed(error.reason, self._office.jitter()))
            return
        log.close_writer()
        self.handle = handle
        self.post(life.Started())
        end = await handle.wait()
        log.finish()
        self._ended(end, log)

    def _ended(self, end: Exit, log: ChildLog) -> None:
        handle, self.handle, before = self.handle, None, self.policy
        self.last_exit = end
        self.post(life.Exited(end, self._office.jitter()))
        crashed = self.policy.state in {State.BACKOFF, State.QUARANTINED}
        self.body.ended(crashed, self.policy.reason if crashed else str(end))
        if crashed and handle is not None:
            self._report_crash(end, handle.pid_text, self._loop.time() - before.started_at, log)

    def _report_crash(self, end: Exit, pid: str, lived: float, log: ChildLog) -> None:
        report = CrashReport(
            name=self.name,
            pid=pid,
            time=timestamp(),
            ended=str(end),
            reason=self.policy.reason,
            code=end.code,
            signal=end.signal,
            out_of_memory=end.oom,
            max_rss=end.max_rss,
            lived=round(lived, 3),
            config=self._office.config_digest,
            last_lines=tuple(log.tail),
        )
        self._office.records.crash(report)

    def _open_log(self) -> ChildLog:
        if self.kind == "worker":
            lines, size = _WORKER_RATE
            return ChildLog(
                self._office.journal, lambda line, now: workers(self.agent, line, now), lines=lines, size=size
            )
        lines, size = _OUR_RATE
        return ChildLog(self._office.journal, lambda line, now: ours(self.kind, line, now), lines=lines, size=size)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wake_at = self.policy.wake_at
        self._timer = None if wake_at == inf else self._loop.call_at(wake_at, self.post, life.Tick())

    def _changed(self) -> None:
        self._office.records.keep(self.status())
        state, waiting = self.policy.state, self._waiting
        self._waiting = [(states, future) for states, future in waiting if state not in states and not future.done()]
        for states, future in waiting:
            if state in states and not future.done():
                future.set_result(state)
        self._on_change(self)
