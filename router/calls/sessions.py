"""sessions_list, sessions_history, session_status and agents_list: what a session may see of others (SPEC 5.5, 6.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from protocol import messages as m
from protocol.errors import Temporary
from protocol.sandbox import HOST
from protocol.session_key import main_session_key, parse_key
from protocol.slices import RouterAgent
from router.calls import arguments, reach
from router.calls.book import Book, Known
from router.calls.call import Call, Refused, done, pretty, result, text_of
from router.calls.limits import Answer
from router.calls.reach import Session
from router.rules import Rules
from router.turns import Turns

#: Seconds that the worker of another session has to come up and answer.
PATIENCE = 20.0
#: Characters of one answer with a transcript, and of one of its messages.
MAX_HISTORY, MAX_ENTRY = 60_000, 8_000
#: Newest sessions of one agent that a list looks at.
MAX_OF_AGENT = 100


class Sessions:
    """What there is, and who may look."""

    def __init__(self, turns: Turns, book: Book) -> None:
        self._turns = turns
        self._book = book
        self.rules: Rules

    def update(self, rules: Rules) -> None:
        self.rules = rules

    # --- for all tools -------------------------------------------------------------------------------------------

    def reachable(self, call: Call, asked: str, action: reach.Action) -> Session:
        """The session that was named. Raises Refused when it may not be reached or is not there.

        Who may not is told so whether or not it exists, and other tenants' sessions do not exist at all.
        """
        agent, key = reach.resolve(asked, call.seat.agent, call.row.session_key, self._main_key)
        asks, target = self._own(call), self._session(agent, key)
        if why := reach.refusal(self.rules.slice.reach, action, asks, target):
            raise Refused(why)
        if not reach.same_tenant(asks, target) or not self._exists(call, target):
            raise Refused(f"No session found: {asked.strip()[:200]}", "error")
        return target

    def main_of(self, agent: str) -> str:
        """The main session of an agent."""
        return main_session_key(agent, self._main_key)

    @property
    def _main_key(self) -> str | None:
        return self.rules.slice.session.main_key

    def _own(self, call: Call) -> Session:
        return self._session(call.seat.agent, call.row.session_key, sandboxed=call.seat.place != HOST)

    def _session(self, agent: str, key: str, *, sandboxed: bool = False) -> Session:
        known = self.rules.agents.get(agent)
        tenant = known.placement.tenant if known else ""
        return Session(agent, key, tenant, reach.is_main(agent, key, self._main_key), sandboxed)

    def _exists(self, call: Call, target: Session) -> bool:
        """A main session is always there, others once a message came for them; of deleted agents there are none."""
        if target.key == call.row.session_key:
            return True
        there = target.is_main or self._book.find(target.agent, target.key) is not None
        return target.agent in self.rules.agents and there

    def _visible(self, call: Call, agent: str) -> Iterator[Known]:
        """Those of an agent's newest sessions that may be listed. Of another agent they are all, its main one, or none,
        so that is asked once and not for each."""
        asks, main = self._own(call), self._session(agent, self.main_of(agent))
        if not reach.same_tenant(asks, main):
            return
        listed = self._book.of(agent)[:MAX_OF_AGENT]
        if not self._why_not(asks, main._replace(key="", is_main=False)):
            yield from listed
        elif agent == asks.agent:
            yield from (one for one in listed if not self._why_not(asks, self._session(agent, one.key)))
        elif not self._why_not(asks, main) and (known := self._book.find(agent, main.key)):
            yield known

    def _why_not(self, asks: Session, target: Session) -> str:
        return reach.refusal(self.rules.slice.reach, "list", asks, target)

    # --- the tools -----------------------------------------------------------------------------------------------

    async def list(self, call: Call) -> Answer:
        """sessions_list: newest first."""
        asked = arguments.read(arguments.ListSessions, text_of(call))
        agents = [asked.agent_id.strip().lower()] if asked.agent_id else list(self.rules.agents)
        found = [one for agent in agents for one in self._visible(call, agent) if self._fits(one, asked)]
        found.sort(key=lambda one: one.at, reverse=True)
        shown = [self._entry(one) for one in found[: asked.limit]]
        return done(call, pretty({"count": len(shown), "sessions": shown}))

    def _fits(self, one: Known, asked: arguments.ListSessions) -> bool:
        if asked.kinds and self._kind(one) not in asked.kinds:
            return False
        if asked.active_minutes is not None and one.at < time.time() - asked.active_minutes * 60:
            return False
        return asked.search.lower() in f"{one.key} {one.subject}".lower()

    def _kind(self, one: Known) -> str:
        if reach.is_main(one.agent, one.key, self._main_key):
            return "main"
        parts = (parsed.rest if (parsed := parse_key(one.key)) else "").split(":")
        return "group" if {"group", "channel"} & set(parts) else "other"

    def _entry(self, one: Known) -> dict[str, Any]:
        fields = {
            "key": one.key,
            "agentId": one.agent,
            "kind": self._kind(one),
            "channel": one.channel,
            "displayName": one.subject,
            "updatedAt": int(one.at * 1000),
            "lastChannel": one.channel,
        }
        return {name: value for name, value in fields.items() if value != ""}

    async def history(self, call: Call) -> Answer:
        """sessions_history: the visible end of a transcript."""
        asked = arguments.read(arguments.SessionHistory, text_of(call))
        target = self.reachable(call, asked.session_key, "history")
        entries = [entry for entry in await self._ask(target, asked.limit) if _is_shown(entry, asked)]
        messages = [_line(entry) for entry in entries]
        shown, dropped = _newest(messages, MAX_HISTORY)
        cut = any(len(entry.text) > MAX_ENTRY for entry in entries)
        return done(
            call,
            result(
                sessionKey=target.key,
                messages=shown,
                truncated=bool(dropped) or cut,
                droppedMessages=dropped,
                contentTruncated=cut,
            ),
        )

    async def _ask(self, target: Session, limit: int) -> tuple[m.HistoryEntry, ...]:
        """Its own worker reads it, and may have to be started for that. Raises Temporary."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._turns.history(target.agent, target.key, limit)
            except Temporary as error:
                pause = error.retry_after or 1.0
                if time.monotonic() + pause > until:
                    raise
                await asyncio.sleep(pause)

    async def status(self, call: Call) -> Answer:
        """session_status: what the session is doing, and the time."""
        asked = arguments.read(arguments.SessionStatus, text_of(call))
        target = self.reachable(call, asked.session_key or call.row.session_key, "status")
        queue = self._turns.queue(target.agent, target.key)
        rows = queue.of(target.key) if queue else []
        out = sum(queue is not None and queue.owner(row.id) is not None for row in rows)
        now = datetime.now().astimezone()
        lines = (
            f"🤖 Agent: {target.agent}",
            f"🧵 Session: {target.key}",
            f"⚙️ Worker: {'ready' if queue and queue.current is not None else 'starts with the next message'}",
            f"🪢 Queue: {out} running, {len(rows) - out} waiting",
            f"🕒 Time: {now:%A %Y-%m-%d %H:%M:%S %Z}",
        )
        return done(call, "\n".join(lines))

    async def agents(self, call: Call) -> Answer:
        """agents_list: itself, and those whose main session it may write to."""
        arguments.read(arguments.ListAgents, text_of(call))
        asks = self._own(call)
        found = [one for one in self.rules.agents.values() if self._may_write(asks, one)]
        shown = [{"id": one.id, "name": one.name, "configured": True} for one in found]
        return done(call, pretty({"requester": asks.agent, "allowAny": False, "agents": shown}))

    def _may_write(self, asks: Session, agent: RouterAgent) -> bool:
        target = self._session(agent.id, self.main_of(agent.id))
        if agent.id == asks.agent:
            return True
        return reach.same_tenant(asks, target) and not reach.refusal(self.rules.slice.reach, "send", asks, target)


def _is_shown(entry: m.HistoryEntry, asked: arguments.SessionHistory) -> bool:
    return asked.include_tools or entry.role != "tool"


def _line(entry: m.HistoryEntry) -> dict[str, Any]:
    fields = {
        "role": entry.role,
        "text": entry.text[:MAX_ENTRY],
        "timestamp": int(entry.at * 1000),
        "sender": entry.sender,
        "channel": entry.channel,
    }
    return {name: value for name, value in fields.items() if value != ""}


def _newest(messages: list[dict[str, Any]], limit: int) -> tuple[list[dict[str, Any]], int]:
    """The newest messages that fit, and how many do not."""
    first = len(messages)
    while first > 0 and (limit := limit - len(messages[first - 1].get("text", "")) - 100) >= 0:
        first -= 1
    return messages[first:], first
