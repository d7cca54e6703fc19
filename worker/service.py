"""One worker on its link: takes deliveries, runs turns, says answers until they are acknowledged.

Nothing is answered Accepted before it is in the transcript on disk, nothing is said before that, and nothing is
forgotten before the router has it. A delivery that is known by its id is answered from the transcript: a finished turn
says the same again, an unfinished one goes on where its lines end.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from protocol import messages as m
from protocol.envelope import Inbound
from protocol.errors import ProtocolViolation
from protocol.link import WorkerLink
from protocol.slices import WorkerSlice
from protocol.tasks import Tasks
from worker import probe, prompt
from worker.agent import Agent, Job
from worker.calls import Calls
from worker.lanes import Lanes
from worker.outbox import Outbox
from worker.sessions.entries import Ended, Mark, UserLine
from worker.sessions.record import Record
from worker.sessions.store import NotATranscript, Sessions

log = logging.getLogger(__name__)

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED = 0, 1, 78

#: Seconds until Hello is said again when no Welcome comes: first, and longest. The router may learn of a new
#: generation a moment after that generation's first Hello.
HELLO_FIRST, HELLO_LONGEST = 0.1, 2.0
#: Hellos on one connection before a new connection is tried.
HELLOS = 6
#: Seconds until what the link did not take is offered again.
RESEND = 0.5
#: Seconds a stopping worker waits for the router's last acknowledgements, and for its own last bytes to leave.
ACK_GRACE = 5.0
LINGER = 1.0
#: Seconds after the last change until `sessions.json` is written.
INDEX_PAUSE = 1.0
#: Characters of one history answer; the link refuses messages over a mebibyte.
HISTORY_CHARS = 150_000


class Link(Protocol):
    """What is used of `protocol.link.WorkerLink`."""

    def send(self, message: m.WorkerToRouter) -> bool: ...

    def reconnect(self) -> None: ...

    def close(self, linger: float = 0.0) -> None: ...


#: Makes the link once the service can hear it: (on_message, on_up, on_down) -> link.
Connect = Callable[[Callable[[bytes], None], Callable[[], None], Callable[[], None]], Link]


def connect_with(settings: WorkerSlice, generation: int) -> Connect:
    """How a real worker reaches its router."""

    def connect(
        on_message: Callable[[bytes], None], on_up: Callable[[], None], on_down: Callable[[], None]
    ) -> WorkerLink:
        return WorkerLink(
            settings.link_socket,
            generation=generation,
            router_public=settings.router_public,
            worker_public=settings.worker_public,
            worker_secret=settings.worker_secret,
            on_message=on_message,
            on_up=on_up,
            on_down=on_down,
        )

    return connect


class Service:
    """Call `run` inside the event loop; it returns the exit code."""

    def __init__(
        self,
        settings: WorkerSlice,
        generation: int,
        agent: Agent,
        sessions: Sessions,
        calls: Calls | None = None,
    ) -> None:
        self._calls = calls or Calls()
        self._probing = False
        self._settings = settings
        self._generation = generation
        self._agent = agent
        self._sessions = sessions
        self._lanes = Lanes(settings.max_concurrent)
        self._outbox = Outbox()
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks(self._crashed)
        self._welcome = False
        self._draining = False
        self._hellos = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stop = asyncio.Event()
        self._quiet = asyncio.Event()
        self._code = EXIT_DONE

    def __repr__(self) -> str:
        state = "draining" if self._draining else "welcome" if self._welcome else "waiting for Welcome"
        return f"Service({self._settings.agent} generation {self._generation}, {state}, {self._lanes!r})"

    async def run(self, connect: Connect) -> int:
        """Until drained or refused."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        self._link = connect(self._receive, self._up, self._down)
        self._calls.attach(self._ask, lambda: self._later("asking", RESEND, self._calls.offer))
        try:
            await self._stop.wait()
            if self._code == EXIT_DONE:
                await self._finish()
        finally:
            await self._close()
        return self._code

    def drain(self) -> None:
        """Finish the turns that run, take nothing new, then stop."""
        self._draining = True
        self._stop.set()

    # --- the end -------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        log.info("draining: %d turns still run", len(self._running))
        while self._running:
            await asyncio.wait(list(self._running.values()))
        self._check_quiet()
        try:
            async with asyncio.timeout(ACK_GRACE):
                await self._quiet.wait()
        except TimeoutError:
            log.warning("the router did not take over %s; the next worker says it again", self._outbox)
        if self._welcome:
            self._link.send(m.Drained())

    async def _close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        await self._tasks.cancel()
        self._link.close(LINGER if self._code == EXIT_DONE and self._welcome else 0.0)
        try:
            self._sessions.close()
        except OSError as error:
            log.error("sessions.json is not written: %s; it is made again from the transcripts", error.strerror)

    def _fail(self, code: int, reason: str) -> None:
        log.critical("%s; this worker ends with exit code %d", reason, code)
        self._code = code
        self._stop.set()

    def _crashed(self, name: str, error: BaseException) -> None:
        log.error("task %s crashed", name, exc_info=error)
        self._fail(EXIT_FAILED, f"task {name} crashed: {error!r}")

    # --- the link ------------------------------------------------------------------------------------------------

    def _up(self) -> None:
        self._hellos = 0
        self._greet()

    def _down(self) -> None:
        self._welcome = False
        self._cancel_timer("hello")

    def _greet(self) -> None:
        if self._hellos >= HELLOS:
            self._hellos = 0
            self._link.reconnect()
            return
        self._hellos += 1
        running = (*self._lanes.running, *self._lanes.waiting, *self._outbox.unclosed)
        hello = m.Hello(
            version=m.PROTOCOL_VERSION, generation=self._generation, running=running, done=self._outbox.closing
        )
        self._link.send(hello)
        self._later("hello", min(HELLO_FIRST * 2 ** (self._hellos - 1), HELLO_LONGEST), self._greet)

    def _receive(self, data: bytes) -> None:
        try:
            self._handle(m.router_to_worker.decode(data))
        except ProtocolViolation as error:
            self._fail(EXIT_FAILED, f"the router broke the protocol: {error}")
        except Exception as error:
            # Nobody above us but the event loop, which would only log it.
            self._crashed("receive", error)

    def _handle(self, message: m.RouterToWorker) -> None:
        match message:
            case m.Ping(n=n):
                self._link.send(m.Pong(n=n))
            case m.Welcome():
                self._welcomed(message)
            case m.Deliver():
                self._deliver(message)
            case m.SayAck(id=id, seq=seq):
                self._send(*self._outbox.say_acked(id, seq))
            case m.DoneAck(id=id):
                self._outbox.done_acked(id)
                self._check_quiet()
            case m.Cancel(id=id):
                self._cancel(id)
            case m.Drain():
                self.drain()
            case m.GetHistory():
                self._link.send(self._history(message))
            case m.Response() | m.ApprovalDecided():
                self._calls.answered(message)
            case m.Probe():
                self._probe(message)

    def _welcomed(self, welcome: m.Welcome) -> None:
        if welcome.version != m.PROTOCOL_VERSION:
            self._fail(EXIT_REFUSED, f"the router speaks protocol {welcome.version}, this worker {m.PROTOCOL_VERSION}")
            return
        self._cancel_timer("hello")
        if not self._welcome:
            self._welcome = True
            self._send(*self._outbox.due())
            self._calls.welcomed(welcome.router)

    def _send(self, *messages: m.Say | m.Done) -> None:
        """What must arrive: kept in the outbox, offered again after a reconnection or when the link was full."""
        if self._welcome and not all([self._link.send(message) for message in messages]):
            self._later("resend", RESEND, lambda: self._send(*self._outbox.due()))

    # --- deliveries ----------------------------------------------------------------------------------------------

    def _deliver(self, order: m.Deliver) -> None:
        if self._lanes.knows(order.id):
            self._link.send(m.Accepted(id=order.id))
            return
        if self._outbox.finished(order.id):
            self._link.send(m.Accepted(id=order.id))
            self._send(*self._outbox.due(order.id))
            return
        if self._draining:
            return
        try:
            job = self._job(order)
        except (OSError, NotATranscript) as error:
            self._refuse(order.id, f"the transcript of {order.session_key} cannot be used: {error}")
            return
        self._link.send(m.Accepted(id=order.id))
        if job.record.done is not None:
            self._repeat(job.record, job.record.done)
            return
        self._jobs[order.id] = job
        self._lanes.add(order.session_key, order.id)
        self._start()

    def _job(self, order: m.Deliver) -> Job:
        """The turn of this message, new or as far as it got. A new one is on disk when this returns."""
        now = time.time()
        transcript = self._sessions.open(order.session_key, now)
        record = transcript.find(order.id)
        if record is None:
            if order.message.command:
                transcript = self._sessions.renew(order.session_key, now)
            record = transcript.begin(_user_line(order.id, order.message, now))
            self._sessions.touch(order.session_key, now, _session_fields(order.message))
            self._later("index", INDEX_PAUSE, self._write_index)
        return Job(transcript, record, order.message, order.grant)

    def _repeat(self, record: Record, done: Ended) -> None:
        for seq, text in record.says:
            self._send(*self._outbox.say(record.inbound, seq, text))
        self._done(record.inbound, done)

    def _refuse(self, id: str, reason: str) -> None:
        log.error("message %s cannot be worked on: %s", id, reason)
        self._done(id, Ended("failed", reason[:500]))

    def _done(self, id: str, ended: Ended) -> None:
        done = m.Done(id=id, outcome=ended.outcome, error=ended.error[:1000])  # type: ignore[arg-type]
        self._send(*self._outbox.finish(done))

    def _start(self) -> None:
        for id in () if self._draining else self._lanes.start():
            self._running[id] = self._tasks.start(self._work(self._jobs[id]), f"turn {id}")

    async def _work(self, job: Job) -> None:
        id = job.record.inbound
        try:
            ended = await self._agent.run(job, self)
        finally:
            self._lanes.finish(id)
            del self._jobs[id], self._running[id]
        self._done(id, ended)
        self._sessions.release({one.transcript.heading.key for one in self._jobs.values()})
        self._start()

    def _cancel(self, id: str) -> None:
        job, task = self._jobs.get(id), self._running.get(id)
        if job is None:
            return
        job.cancelled = True
        if task is not None:
            # One round later: a task that never began could not write down that it was cancelled.
            asyncio.get_running_loop().call_soon(task.cancel)

    # --- what turns say (agent.Voice) ----------------------------------------------------------------------------

    def say(self, inbound: str, seq: int, text: str) -> None:
        self._send(*self._outbox.say(inbound, seq, text))

    def partial(self, inbound: str, seq: int, offset: int, text: str) -> None:
        if self._welcome:
            self._link.send(m.Partial(id=inbound, seq=seq, offset=offset, text=text))

    def activity(self, inbound: str, doing: Literal["model", "tool"], label: str) -> None:
        if self._welcome:
            self._link.send(m.Activity(id=inbound, doing=doing, label=label))

    # --- what turns ask of the router (calls.Calls), and what it tries out ----------------------------------------

    def _ask(self, question: m.Request | m.ApprovalWanted | m.Elevate) -> bool:
        return self._welcome and self._link.send(question)

    def _probe(self, order: m.Probe) -> None:
        """One at a time: the attacks are slow, and whoever wants more than one at once wants to hold us up."""
        if self._probing:
            self._link.send(m.Probed(request=order.request, findings=()))
            return
        self._probing = True
        self._tasks.start(self._try_out(order), "probe")

    async def _try_out(self, order: m.Probe) -> None:
        try:
            findings = await asyncio.to_thread(probe.run, order.targets, self._settings)
        finally:
            self._probing = False
        self._link.send(m.Probed(request=order.request, findings=findings))

    # --- the rest ------------------------------------------------------------------------------------------------

    def _history(self, query: m.GetHistory) -> m.History:
        try:
            transcript = self._sessions.find(query.session_key)
        except (OSError, NotATranscript) as error:
            log.error("no history of %s: %s", query.session_key, error)
            transcript = None
        entries = transcript.history(query.limit) if transcript is not None else []
        return m.History(request=query.request, entries=_fitting(entries))

    def _write_index(self) -> None:
        try:
            self._sessions.flush()
        except OSError as error:
            log.error("sessions.json is not written: %s; tried again with the next message", error.strerror)

    def _check_quiet(self) -> None:
        if self._outbox.empty and not self._running:
            self._quiet.set()
        else:
            self._quiet.clear()

    def _later(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """One timer per name; a new one replaces the old."""
        self._cancel_timer(name)
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, action)

    def _cancel_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()


def _user_line(id: str, message: Inbound, now: float) -> UserLine:
    sender = message.sender.name or message.sender.username or message.sender.id
    mark = Mark(id, context=prompt.message_context(message), sender=sender[:200], channel=message.channel)
    return UserLine(message.text, now, mark)


def _session_fields(message: Inbound) -> dict[str, object]:
    """The entry of `sessions.json` that other tools know (SPEC 5.10)."""
    fields: dict[str, object] = {
        "chatType": message.peer.kind,
        "channel": message.channel,
        "lastChannel": message.channel,
        "lastTo": message.reply.target,
        "lastAccountId": message.account,
        "lastThreadId": message.reply.thread,
        "subject": message.subject[:200],
        "groupId": message.peer.id if message.peer.kind != "direct" else "",
    }
    return {name: value for name, value in fields.items() if value}


def _fitting(entries: list[m.HistoryEntry]) -> tuple[m.HistoryEntry, ...]:
    """The newest entries that one message may hold."""
    left = HISTORY_CHARS
    first = len(entries)
    while first > 0 and (left := left - len(entries[first - 1].text) - 200) >= 0:
        first -= 1
    return tuple(entries[first:])


def sessions_of(settings: WorkerSlice, keep: int) -> Sessions:
    """The sessions folder of this agent. Raises OSError."""
    return Sessions(Path(settings.sessions), settings.workspace, keep)
