"""The router put together: spool, links, accounts, page, and the pipe to the supervisor.

Here is only wiring and the order of things: what is opened first, who hears what, what is closed last. Decisions are
in `routing`, `access`, `mentions`, `dispatch`; the path of a message is `reception` → `turns` → `outbound`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

from protocol import messages as m
from protocol.envelope import Address, Outbound
from protocol.link import RouterLinks
from protocol.pipe import Pipe, PipeClosed
from protocol.sandbox import Seat
from protocol.slices import RouterSlice
from protocol.tasks import Tasks
from router.accounts import Accounts
from router.approvals.desk import Approvals
from router.approvals.rights import Rights
from router.calls.call import Call
from router.calls.service import Calls
from router.channels import registry
from router.desk import Desk, WebchatChannel
from router.elevation import Elevation
from router.leaving import Leaving
from router.operators import Operators
from router.outbound import Outbox
from router.pairing_store import PairingStore
from router.reception import Reception
from router.spool.store import SqliteSpool
from router.turns import Turns
from router.web.feed import Feed
from router.web.server import WebServer
from router.workers import Workers

log = logging.getLogger(__name__)

#: Finished messages are kept so long to recognise repeats: Telegram repeats for a day, the rest is for the operator.
KEEP_FINISHED = 3 * 24 * 3600.0
PURGE_EVERY = 3600.0


class Router:
    """One life of the router. `run` returns the exit code."""

    def __init__(self, pipe: Pipe[m.SupervisorToRouter], boot: m.RouterBoot) -> None:
        slice = boot.slice
        self._pipe = pipe
        self._boot = boot
        self._slice = slice
        self._crashed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks(self._crash)
        self._spool = SqliteSpool(Path(slice.spool))
        self._feed = Feed()
        self._pairing = PairingStore(Path(slice.credentials))
        self._accounts = Accounts(
            registry.create,
            lambda account, messages, cursor: self._reception.receive(account, messages, cursor),
            self._spool.cursor,
            self._tasks,
        )
        self._turns = Turns(self._spool, self._accounts, self._feed, self._tasks, self._report)
        self._leaving = Leaving(self._unfinished, self._report, self._tasks)
        self._links = RouterLinks()
        self._turns.workers = Workers(self._links, self._turns, self._report, uuid.uuid4().hex)
        self._rights = Rights(self._pairing.approved)
        self._approvals = Approvals(self._rights, self._turns.outbox, self._accounts, self._tasks, self._report)
        self._elevation = Elevation(self._rights, self._approvals, self._tasks, self._report, self._turns.is_out)
        self._calls = Calls(self._spool, self._turns, self._accounts, self._feed, self._tasks)
        self._calls.approve, self._calls.elevate = self._approve, self._elevate
        self._calls.elevated = self._elevation.level
        self._turns.calls, self._turns.grant = self._calls, self._calls.grant
        self._reception = Reception(self._spool, self._pairing, self._turns, self._approvals, self._elevation)
        self._desk = Desk(self._spool, self._turns, self._accounts, self._feed, self._reception.main_key)
        self._operators = Operators(self._desk, self._accounts, self._pairing, self._spool, self, self._tasks)
        self._operators.approvals = self._approvals
        self._web = WebServer(slice.host, slice.port, slice.token, self._desk)

    @property
    def outbox(self) -> Outbox:
        return self._turns.outbox

    async def run(self) -> int:
        """Start, serve until the supervisor says stop, close. Raises UserError for a port or a spool we cannot have."""
        host, port = await self._web.start()
        try:
            await self._spool.open()
            await self._start(host, port)
            return await self._serve()
        finally:
            await self._close()

    async def notify(self, channel: str, account: str, target: str, text: str) -> None:
        """Send a text that answers no message (operators.Notifier)."""
        message = Outbound(key=f"n.{uuid.uuid4().hex}", address=Address(channel, account, target), text=text)
        await self.outbox.post([message])

    async def _start(self, host: str, port: int) -> None:
        self._accounts.add(WebchatChannel())
        served = (*self._slice.agents, *self._slice.leaving)
        self._decide_by(self._slice)
        await self._calls.start()
        self._desk.update(self._slice.agents, self._slice.default_agent)
        for started in self._boot.generations:
            self._turns.workers.expect(started.link, started.generation)
        await self._turns.load(served)
        self._calls.loaded()
        # From here on the platforms are asked for messages, so everything behind them must stand.
        await self._accounts.update(self._reception.accounts())
        self._tasks.start(self._heartbeat(), "heartbeat")
        self._tasks.start(self._purge(), "purge")
        self._desk.failing = []
        self._report(m.RouterReady(host=host, port=port))
        self._leaving.update((agent.id for agent in self._slice.leaving), self._slice.version)

    async def _serve(self) -> int:
        """Do what the supervisor says until it says stop, goes away, or we fail."""
        listener = self._tasks.start(self._listen(), "supervisor's pipe")
        ends: list[asyncio.Future[Any]] = [listener, self._crashed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._crashed.done():
            log.critical("the router ends by its own fault: %s; the supervisor starts it again", self._crashed.result())
            return 2
        return int(listener.result())

    async def _listen(self) -> int:
        try:
            while True:
                message, fds = await self._pipe.receive()
                if isinstance(message, m.RouterStop):
                    await self._stop(message.grace)
                    return 0
                await self._obey(message, fds)
        except PipeClosed:
            return 0

    async def _obey(self, message: m.SupervisorToRouter, fds: list[int]) -> None:
        match message:
            case m.GenerationStarted():
                self._turns.workers.expect(message.link, message.generation)
            case m.GenerationEnded():
                self._calls.ended(Seat(message.agent, message.place), message.generation)
                self._turns.ended(
                    Seat(message.agent, message.place), message.generation, message.crashed, message.reason
                )
            case m.DrainWorker():
                self._turns.retire(Seat(message.agent, message.place), message.generation)
            case m.AgentTrouble():
                self._desk.trouble(message.agent, message.reason)
                self._turns.give_way(Seat(message.agent, message.place))
            case m.ElevatedResult():
                self._elevation.finished(message)
            case m.OperatorHandover():
                for fd in fds:
                    self._operators.take(fd)
            case m.RouterUpdate():
                await self._update(message.slice)
            case _:
                log.error("the supervisor said %s, which has no place here", type(message).__name__)

    async def _update(self, slice: RouterSlice) -> None:
        """A new configuration: one consistent table from the next batch on.

        Whoever may be routed to must be served first, and whoever leaves is served as long as an earlier table may
        still send him something.
        """
        served = (*slice.agents, *slice.leaving)
        self._slice = slice
        self._turns.workers.keep({agent.id for agent in served})
        self._turns.update(served)
        self._decide_by(slice)
        self._desk.update(slice.agents, slice.default_agent)
        await self._reception.settle()
        self._leaving.update((agent.id for agent in slice.leaving), slice.version)
        # A login that takes its time to end does not keep us from hearing of workers.
        self._tasks.start(self._accounts.update(self._reception.accounts()), "accounts")
        log.info("configuration applied: %d agents, %d bindings", len(slice.agents), len(slice.bindings))

    def _decide_by(self, slice: RouterSlice) -> None:
        self._reception.update(slice)
        self._rights.update(slice)
        self._calls.update(self._reception.rules)

    async def _approve(self, call: Call) -> m.ApprovalDecided:
        question = call.question
        assert isinstance(question, m.ApprovalWanted)
        decision = await self._approvals.ask(call.row, question.command, question.workdir)
        return m.ApprovalDecided(request=question.request, decision=decision)

    async def _elevate(self, call: Call) -> m.Response:
        assert isinstance(call.question, m.Elevate)
        return await self._elevation.run(call.row, call.question)

    def _unfinished(self, agent: str) -> int:
        return sum(queue.waiting + queue.out for queue in self._turns.queues(agent))

    async def _stop(self, grace: float) -> None:
        """Take nothing new, let what is ready leave."""
        log.info("stopping: no new messages are taken")
        self._accounts.pause()
        await self.outbox.settle(grace)

    async def _close(self) -> None:
        self._feed.close()
        await self._web.stop()
        await self._accounts.close()
        await self._tasks.cancel()
        self._turns.workers.close()
        self._links.close()
        await self._spool.close()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._slice.heartbeat_seconds)
            self._turns.workers.heartbeat()
            for seat in self._turns.unused(time.monotonic()):
                self._report(m.WorkerUnused(agent=seat.agent, place=seat.place))

    async def _purge(self) -> None:
        while True:
            if gone := await self._spool.purge(time.time() - KEEP_FINISHED):
                log.info("forgot %d finished messages", gone)
            await asyncio.sleep(PURGE_EVERY)

    def _report(self, message: m.RouterToSupervisor) -> None:
        if isinstance(message, m.WorkerReady):
            self._desk.recovered(message.agent)
        with contextlib.suppress(PipeClosed):
            self._pipe.send(message)

    def _crash(self, name: str, error: BaseException) -> None:
        """A task died of an error nobody foresaw: better a fresh router than one that lost a part."""
        log.error("%s failed", name, exc_info=error)
        if not self._crashed.done():
            self._crashed.set_result(f"{name}: {type(error).__name__}: {error}")


def raise_descriptor_limit() -> None:
    """A thousand agents need several thousand descriptors; the soft limit is often 1024."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def parent_of(fd: int) -> int:
    """The pid that made the socketpair of this descriptor (SO_PEERCRED, unix(7))."""
    import socket
    import struct

    with socket.socket(fileno=os.dup(fd)) as sock:
        return int(struct.unpack("iii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
