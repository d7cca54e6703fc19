"""sessions_send: one session writes to another and may wait for the answer (SPEC 6.2).

The message goes through the spool like one from a platform, under a key made of the request, so it is durable and is
there once however often it is asked for. It says who wrote it and how many sessions it came through; after `max_hops`
nobody is written to any more. Whoever waits for a session that waits for him is told so instead.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from protocol.config import ToolList
from protocol.envelope import Address, Inbound, Peer, Relayed, Sender
from router.calls import arguments
from router.calls.arguments import BadArguments
from router.calls.call import Call, Refused, done, refusal, result, text_of
from router.calls.channel import ACCOUNT, CHANNEL
from router.calls.limits import Answer
from router.calls.reach import Session
from router.calls.sessions import Sessions
from router.spool.base import Admission, Spool
from router.turns import Turns
from router.web.events import Ended, Said
from router.web.feed import Feed, Subscription

#: Longest answer handed back, in characters.
MAX_REPLY = 32_000


class _Heard(NamedTuple):
    """How a turn ended; `outcome` is empty when nobody knows yet."""

    outcome: str
    reply: str
    error: str = ""


class Sending:
    """Carries messages between sessions."""

    def __init__(self, spool: Spool, turns: Turns, feed: Feed, sessions: Sessions) -> None:
        self._spool = spool
        self._turns = turns
        self._feed = feed
        self._sessions = sessions
        #: Who waits for whom, by session key.
        self._waiting: dict[str, str] = {}

    async def send(self, call: Call) -> Answer:
        """sessions_send."""
        asked = arguments.read(arguments.SendToSession, text_of(call))
        target = self._target(call, asked)
        relayed = self._relayed(call)
        listener = self._feed.attend(target.key)
        try:
            id = await self._admit(call, asked, target, relayed)
            if not asked.timeout_seconds or self._waits_for_us(call, target):
                return done(call, result(runId=id, status="accepted", sessionKey=target.key))
            heard = await self._wait(call, target, id, listener, asked.timeout_seconds)
        finally:
            listener.close()
        return _answer(call, target, id, heard)

    def _target(self, call: Call, asked: arguments.SendToSession) -> Session:
        if (asked.session_key is None) == (asked.agent_id is None):
            raise BadArguments("give sessionKey, or agentId for the main session of an agent")
        key = asked.session_key or self._sessions.main_of(asked.agent_id or "")
        target = self._sessions.reachable(call, key, "send")
        if target.key == call.row.session_key:
            raise Refused("This is your own session; just answer.", "error")
        return target

    def _relayed(self, call: Call) -> Relayed:
        """The words of a person keep the rights of that person, whoever passes them on."""
        before, limit = call.row.message.relayed, self._sessions.rules.slice.reach.max_hops
        hops = before.hops + 1 if before else 1
        if hops > limit:
            raise Refused(f"This message came through {hops - 1} sessions already; it goes no further.", "error")
        layers: tuple[ToolList, ...] = call.granted.layers
        return Relayed(agent=call.seat.agent, session_key=call.row.session_key, hops=hops, layers=layers)

    async def _admit(self, call: Call, asked: arguments.SendToSession, target: Session, relayed: Relayed) -> str:
        """On disk when this returns; the id under which it is. Raises SpoolFailed."""
        now, name = time.time(), self._sessions.rules.agents[call.seat.agent].name
        message = Inbound(
            channel=CHANNEL,
            account=ACCOUNT,
            message_id=call.key,
            peer=Peer("direct", relayed.session_key),
            sender=Sender(relayed.agent, name),
            text=asked.message,
            at=now,
            reply=Address(CHANNEL, ACCOUNT, relayed.session_key),
            relayed=relayed,
        )
        rows = await self._spool.admit([Admission(target.agent, target.key, message)], None, now)
        self._turns.add(rows)
        return rows[0].id if rows else await self._spool.known(CHANNEL, ACCOUNT, call.key, target.agent)

    def _waits_for_us(self, call: Call, target: Session) -> bool:
        """Whether the target's turn, or one it waits for, waits for ours: then neither would ever end."""
        key: str | None = target.key
        while key is not None and key != call.row.session_key:
            key = self._waiting.get(key)
        return key is not None

    async def _wait(self, call: Call, target: Session, id: str, listener: Subscription, timeout: float) -> _Heard:
        own = call.row.session_key
        self._waiting[own] = target.key
        try:
            async with asyncio.timeout(timeout):
                return await _listen(listener, id)
        except TimeoutError:
            return _Heard("", "")
        finally:
            self._waiting.pop(own, None)


async def _listen(listener: Subscription, id: str) -> _Heard:
    """What is said in answer to message `id`, until its turn ends."""
    said: list[str] = []
    async for event in listener:
        if isinstance(event, Said) and event.id == id:
            said.append(event.text)
        elif isinstance(event, Ended) and event.id == id:
            return _Heard(event.outcome, "\n\n".join(said)[:MAX_REPLY], event.error)
    return _Heard("", "")


def _answer(call: Call, target: Session, id: str, heard: _Heard) -> Answer:
    if heard.outcome in ("answered", "silent"):
        return done(call, result(runId=id, status="ok", reply=heard.reply, sessionKey=target.key))
    if heard.outcome:
        what = "was stopped" if heard.outcome == "cancelled" else "failed"
        return refusal(call.question, f"the turn in {target.key} {what}")
    return done(call, result(runId=id, status="timeout", sessionKey=target.key))
