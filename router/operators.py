"""Operators at the command line: connections that the supervisor hands over from its control socket.

One connection, one request, its replies, the end. What is asked here never passes the supervisor, so it reads no chat
text.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any, Protocol

from protocol import control as c
from protocol.errors import OpenClawError, ProtocolViolation, UserError
from protocol.pipe import Pipe, PipeClosed
from protocol.tasks import Tasks
from router import pairing_desk, probing
from router.accounts import Accounts
from router.approvals.desk import Approvals
from router.desk import Desk
from router.pairing_store import PairingStore
from router.spool.base import Spool
from router.web.events import AgentState, Ended, Growing, Said

log = logging.getLogger(__name__)

#: Operators served at once, and seconds one has to say what it wants.
MAX_OPERATORS, PATIENCE = 32, 30.0


class Notifier(Protocol):
    """Sends a text to a sender of a channel."""

    async def notify(self, channel: str, account: str, target: str, text: str) -> None:
        """Queue the text durably."""


class Operators:
    """Serves handed-over connections."""

    def __init__(
        self, desk: Desk, accounts: Accounts, pairing: PairingStore, spool: Spool, notifier: Notifier, tasks: Tasks
    ) -> None:
        self._desk = desk
        self._accounts = accounts
        self._pairing = pairing
        self._spool = spool
        self._notifier = notifier
        self._tasks = tasks
        self._serving = 0
        #: Commands that wait for somebody to allow them.
        self.approvals: Approvals | None = None

    def take(self, fd: int) -> None:
        """Serve this connected socket; it is ours now."""
        connection = socket.socket(fileno=fd)
        if self._serving >= MAX_OPERATORS:
            log.warning("more than %d operators at once; this one is turned away", MAX_OPERATORS)
            connection.close()
            return
        self._tasks.start(self._serve(Pipe(connection, c.to_router)), "operator")

    async def _serve(self, pipe: Pipe[c.ToRouter]) -> None:
        self._serving += 1
        try:
            pipe.send(c.Attached())
            async with asyncio.timeout(PATIENCE):
                request, _ = await pipe.receive()
            await self._handle(pipe, request)
            await pipe.flush()
        except (PipeClosed, TimeoutError, ProtocolViolation) as error:
            log.info("an operator's connection ended: %s", error)
        finally:
            self._serving -= 1
            pipe.close()

    async def _handle(self, pipe: Pipe[c.ToRouter], request: c.ToRouter) -> None:
        try:
            reply = await self._answer(pipe, request)
        except UserError as error:
            reply = c.Failure(message=error.message, where=error.where or "", hint=error.hint or "")
        except OpenClawError as error:
            reply = c.Failure(message=str(error))
        pipe.send(reply)

    async def _answer(self, pipe: Pipe[c.ToRouter], request: c.ToRouter) -> Any:
        match request:
            case c.GetChannels():
                probed = await self._accounts.probe(request.timeout) if request.probe else self._accounts.statuses()
                return c.Channels(accounts=probed)
            case c.Ask():
                return await self._ask(pipe, request)
            case c.ListPairing() | c.ApprovePairing() | c.RejectPairing() | c.RevokePairing():
                return await self._pair(request)
            case c.ProbeWorkers():
                await probing.probe(self._desk, request, pipe.send)
                return c.ProbesDone()
            case c.ListApprovals():
                return c.Approvals(pending=self.approvals.pending() if self.approvals else ())
            case c.DecideApproval():
                return self._decide(request)
            case c.GetQueue():
                return c.Queue(
                    counts=await self._spool.counts(), rows=tuple(await self._spool.unfinished(request.limit))
                )

    async def _ask(self, pipe: Pipe[c.ToRouter], ask: c.Ask) -> c.Answered:
        """Put the message in, show what grows, and come back with the whole answer."""
        started = time.monotonic()
        watch = self._desk.watch(ask.agent, self._desk.session_key(ask.agent, ask.session_key))
        try:
            id = await self._desk.submit(ask.agent, ask.text, session_key=ask.session_key)
            said: dict[int, str] = {}
            if why := self._desk.why(ask.agent):
                pipe.send(c.Waiting(text=why))
            async with asyncio.timeout(ask.timeout):
                async for event in watch:
                    match event:
                        case Growing() if event.id == id:
                            pipe.send(c.Heard(text=event.text))
                        case AgentState(agent=agent) if agent.id == ask.agent and agent.state == "trouble":
                            pipe.send(c.Waiting(text=agent.detail))
                        case Said() if event.id == id:
                            said[event.seq] = event.text
                        case Ended() if event.id == id:
                            return c.Answered(
                                texts=tuple(said[seq] for seq in sorted(said)),
                                outcome=event.outcome,
                                error=event.error,
                                session_key=self._desk.session_key(ask.agent, ask.session_key),
                                duration=time.monotonic() - started,
                            )
        except TimeoutError:
            raise self._late(ask) from None
        finally:
            watch.close()
        raise UserError("the answer could not be followed, it is in the session", hint="openclaw logs --lines 50")

    def _late(self, ask: c.Ask) -> UserError:
        """With the reason where the agent cannot be started, and what to do about that."""
        why, _, hint = self._desk.why(ask.agent).partition("; hint: ")
        because = f": {why}" if why else ""
        return UserError(
            f"agent {ask.agent} did not answer within {ask.timeout:g} s{because}; the message stays in its queue",
            hint=hint or "openclaw logs --follow",
        )

    def _decide(self, request: c.DecideApproval) -> c.Decided:
        text = self.approvals.resolve(request.id, request.decision, "the operator") if self.approvals else None
        if text is None:
            raise UserError(f'no approval "{request.id}" waits', hint="openclaw approvals pending")
        return c.Decided(text=text)

    async def _pair(self, request: c.PairingAsk) -> c.PairingReply:
        done = pairing_desk.answer(self._pairing, request, time.time())
        if isinstance(done, c.Approved) and isinstance(request, c.ApprovePairing) and request.notify:
            text = "✅ OpenClaw access approved. Send a message to start chatting."
            await self._notifier.notify(done.channel, done.account, done.id, text)
        return done
