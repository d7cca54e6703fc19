"""The spool without a disk: the same behaviour, lost with the process. For tests and for trying things out.

It survives `close` and `open` of the same object, so that a restart of the router can be played.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocol.control import QueueRow
from protocol.envelope import Inbound, Outbound
from router.spool.base import (
    INTERRUPTED,
    Admission,
    Cursor,
    InboxRow,
    OutboxRow,
    Pending,
    SpoolFailed,
    check_parts,
    id_text,
    next_number,
)
from router.spool.states import InState, OutState, move, settle


class _In(msgspec.Struct):
    row: InboxRow
    state: InState = InState.QUEUED
    reason: str = ""


class MemorySpool:
    """`Spool` in dictionaries, in order of arrival."""

    def __init__(self) -> None:
        self._inbox: dict[str, _In] = {}
        self._outbox: dict[str, OutboxRow] = {}
        self._known: set[tuple[str, str, str, str]] = set()
        self._said: set[tuple[str, int]] = set()
        self._cursors: dict[tuple[str, str], str] = {}
        self._last = 0
        self._open = False

    def __repr__(self) -> str:
        return f"<MemorySpool {'open' if self._open else 'closed'} in={len(self._inbox)} out={len(self._outbox)}>"

    async def open(self) -> None:
        self._open = True
        for key, row in self._outbox.items():
            if row.state is OutState.SENDING:
                self._outbox[key] = msgspec.structs.replace(row, state=OutState.UNCERTAIN, reason=INTERRUPTED)

    async def close(self) -> None:
        self._open = False

    async def admit(self, items: Sequence[Admission], cursor: Cursor | None, now: float) -> list[InboxRow]:
        self._check_open()
        if cursor is not None:
            self._cursors[cursor.channel, cursor.account] = cursor.value
        return [self._take(item, now) for item in items if self._is_new(item)]

    def _is_new(self, item: Admission) -> bool:
        name = _name(item.message, item.agent)
        new = name not in self._known
        self._known.add(name)
        return new

    def _take(self, item: Admission, now: float) -> InboxRow:
        self._last = next_number(self._last, now)
        row = InboxRow(id_text(self._last), item.agent, item.session_key, item.message, 0, now, item.origin)
        self._inbox[row.id] = _In(row)
        return row

    async def finish(self, id: str, outcome: str, error: str, now: float) -> None:
        entry = self._entry(id, InState.DONE)
        if entry.state is InState.QUEUED:
            entry.state, entry.reason = InState.DONE, error

    async def blame(self, ids: Sequence[str]) -> dict[str, int]:
        self._check_open()
        counts = {}
        for id in ids:
            entry = self._inbox.get(id)
            if entry is not None and entry.state is InState.QUEUED:
                entry.row = msgspec.structs.replace(entry.row, crashes=entry.row.crashes + 1)
                counts[id] = entry.row.crashes
        return counts

    async def bury(self, id: str, reason: str, farewell: Sequence[Outbound], now: float) -> list[OutboxRow]:
        entry = self._entry(id, InState.DEAD)
        if entry.state is InState.DEAD:
            return []
        entry.state, entry.reason = InState.DEAD, reason
        return self._queue(farewell, id, entry.row.agent, now)

    def _entry(self, id: str, new: InState) -> _In:
        self._check_open()
        entry = self._inbox.get(id)
        settle(id, entry.state if entry else None, new)
        assert entry is not None
        return entry

    async def say(
        self, inbound_id: str, seq: int, parts: Sequence[Outbound], now: float, sending_note: str | None = None
    ) -> list[OutboxRow]:
        self._check_open()
        check_parts(inbound_id, seq, parts)
        entry = self._inbox.get(inbound_id)
        if entry is None or entry.state is not InState.QUEUED or (inbound_id, seq) in self._said:
            return []
        if parts:
            self._said.add((inbound_id, seq))
        rows = self._queue(parts, inbound_id, entry.row.agent, now)
        if rows and sending_note is not None:
            rows[0] = msgspec.structs.replace(rows[0], state=OutState.SENDING, note=sending_note)
            self._outbox[rows[0].key] = rows[0]
        return rows

    async def post(self, messages: Sequence[Outbound], now: float) -> list[OutboxRow]:
        self._check_open()
        return self._queue(messages, "", "", now)

    def _queue(self, messages: Sequence[Outbound], inbound: str, agent: str, now: float) -> list[OutboxRow]:
        rows = []
        for message in messages:
            if message.key not in self._outbox:
                row = OutboxRow(message.key, inbound, agent, message, OutState.QUEUED, 0, now, "", now, "")
                self._outbox[row.key] = row
                rows.append(row)
        return rows

    async def sending(self, key: str, note: str, now: float) -> None:
        self._move(key, OutState.SENDING, note=note)

    async def sent(self, key: str, receipt_id: str, now: float) -> None:
        self._move(key, OutState.SENT, reason="")

    async def delay(self, key: str, not_before: float, reason: str) -> None:
        row = self._move(key, OutState.QUEUED, not_before=not_before, reason=reason)
        self._outbox[key] = msgspec.structs.replace(row, attempts=row.attempts + 1)

    async def uncertain(self, key: str, reason: str) -> None:
        self._move(key, OutState.UNCERTAIN, reason=reason)

    async def refuse(self, key: str, reason: str) -> None:
        self._move(key, OutState.DEAD, reason=reason)

    def _move(self, key: str, new: OutState, **changes: object) -> OutboxRow:
        self._check_open()
        row = self._outbox.get(key)
        state = move(key, row.state if row else None, new)
        assert row is not None
        self._outbox[key] = row = msgspec.structs.replace(row, state=state, **changes)
        return row

    async def known(self, channel: str, account: str, message_id: str, agent: str) -> str:
        self._check_open()
        rows = (entry.row for entry in self._inbox.values())
        wanted = (channel, account, message_id, agent)
        return next((row.id for row in rows if _name(row.message, row.agent) == wanted), "")

    async def sessions(self, limit: int) -> list[InboxRow]:
        self._check_open()
        newest = {(entry.row.agent, entry.row.session_key): entry.row for entry in self._inbox.values()}
        return sorted(newest.values(), key=lambda row: row.id, reverse=True)[:limit]

    async def cursor(self, channel: str, account: str) -> str | None:
        self._check_open()
        return self._cursors.get((channel, account))

    async def pending(self) -> Pending:
        self._check_open()
        ended = (OutState.SENT, OutState.DEAD)
        return (
            [entry.row for entry in self._inbox.values() if entry.state is InState.QUEUED],
            [row for row in self._outbox.values() if row.state not in ended],
        )

    async def counts(self) -> dict[str, int]:
        self._check_open()
        counts = {f"in.{state.value}": 0 for state in InState} | {f"out.{state.value}": 0 for state in OutState}
        for entry in self._inbox.values():
            counts[f"in.{entry.state.value}"] += 1
        for row in self._outbox.values():
            counts[f"out.{row.state.value}"] += 1
        return counts

    async def unfinished(self, limit: int) -> list[QueueRow]:
        self._check_open()
        rows = [_inbox_view(entry) for entry in self._inbox.values() if entry.state is not InState.DONE]
        rows += [_outbox_view(row) for row in self._outbox.values() if row.state is not OutState.SENT]
        return sorted(rows, key=lambda row: row.created_at, reverse=True)[:limit]

    async def purge(self, before: float) -> int:
        self._check_open()
        size = len(self._inbox) + len(self._outbox)
        for id, entry in list(self._inbox.items()):
            if entry.state is not InState.QUEUED and entry.row.created_at < before:
                self._forget(id, entry.row)
        for key, row in list(self._outbox.items()):
            ended = row.state in (OutState.SENT, OutState.DEAD) and row.created_at < before
            # The rows of a running turn are how a repeated Say is recognised.
            if ended and (row.inbound not in self._inbox or self._inbox[row.inbound].state is not InState.QUEUED):
                del self._outbox[key]
        return size - len(self._inbox) - len(self._outbox)

    def _forget(self, id: str, row: InboxRow) -> None:
        del self._inbox[id]
        self._known.discard(_name(row.message, row.agent))
        self._said = {said for said in self._said if said[0] != id}

    def _check_open(self) -> None:
        if not self._open:
            raise SpoolFailed("the spool is closed")


def _name(message: Inbound, agent: str) -> tuple[str, str, str, str]:
    """What makes two messages the same."""
    return message.channel, message.account, message.message_id, agent


def _inbox_view(entry: _In) -> QueueRow:
    row = entry.row
    return QueueRow(
        box="in",
        id=row.id,
        agent=row.agent,
        channel=row.message.channel,
        account=row.message.account,
        state=entry.state.value,
        created_at=row.created_at,
        attempts=row.crashes,
        reason=entry.reason,
    )


def _outbox_view(row: OutboxRow) -> QueueRow:
    return QueueRow(
        box="out",
        id=row.key,
        agent=row.agent,
        channel=row.message.address.channel,
        account=row.message.address.account,
        state=row.state.value,
        created_at=row.created_at,
        attempts=row.attempts,
        reason=row.reason,
    )
