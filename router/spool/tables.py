"""The spool's tables and every statement on them; synchronous, inside the transaction of the writer thread.

A method either raises before its first write or writes everything: other jobs share its transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from protocol.codec import encode
from protocol.control import QueueRow
from protocol.envelope import Inbound, Outbound
from router.spool.base import (
    INTERRUPTED,
    Admission,
    Cursor,
    InboxRow,
    OutboxRow,
    Pending,
    check_parts,
    id_number,
    id_text,
    next_number,
)
from router.spool.states import InState, OutState, move, settle

VERSION = 1

#: Rows removed in one transaction of `purge`.
PURGE_STEP = 1000

# The number behind an id is the rowid, so arrival order and lookup need no index of their own. The open_ indexes
# hold only what is unfinished or dead: they stay small however much history is kept.
SCHEMA = """
CREATE TABLE inbox (
  n INTEGER PRIMARY KEY, agent TEXT NOT NULL, session_key TEXT NOT NULL, origin TEXT NOT NULL,
  channel TEXT NOT NULL, account TEXT NOT NULL, message_id TEXT NOT NULL, message BLOB NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued', crashes INTEGER NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', created_at REAL NOT NULL, ended_at REAL,
  UNIQUE (channel, account, message_id, agent));
CREATE INDEX inbox_open ON inbox (state) WHERE state <> 'done';
CREATE TABLE outbox (
  n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, inbound INTEGER NOT NULL, agent TEXT NOT NULL,
  channel TEXT NOT NULL, account TEXT NOT NULL, message BLOB NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL, note TEXT NOT NULL DEFAULT '',
  receipt TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
  created_at REAL NOT NULL, left_at REAL, ended_at REAL);
CREATE INDEX outbox_open ON outbox (state) WHERE state <> 'sent';
CREATE TABLE cursors (
  channel TEXT NOT NULL, account TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (channel, account)) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

_OUT = "key, inbound, agent, message, state, attempts, not_before, note, created_at, reason"
_VIEW = "agent, channel, account, state, created_at"

_inbound: msgspec.json.Decoder[Inbound] = msgspec.json.Decoder(Inbound)
_outbound: msgspec.json.Decoder[Outbound] = msgspec.json.Decoder(Outbound)

S = TypeVar("S", InState, OutState)


class Tables:
    """The statements, on one connection in autocommit mode whose transactions somebody else begins and ends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._run = connection.execute
        self._last: int = self._run(
            "SELECT max(coalesce((SELECT max(n) FROM inbox), 0),"
            " coalesce((SELECT value FROM facts WHERE name = 'last'), 0))"
        ).fetchone()[0]

    def recover(self) -> None:
        """What was being sent when the last process died may have been taken."""
        self._run(
            "UPDATE outbox SET state = 'uncertain', reason = ? WHERE state <> 'sent' AND state = 'sending'",
            (INTERRUPTED,),
        )

    def admit(self, items: Sequence[Admission], cursor: Cursor | None, now: float) -> list[InboxRow]:
        if cursor is not None:
            self._run("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (cursor.channel, cursor.account, cursor.value))
        rows = (self._take(item, now) for item in items)
        return [row for row in rows if row is not None]

    def _take(self, item: Admission, now: float) -> InboxRow | None:
        message, number = item.message, next_number(self._last, now)
        done = self._run(
            "INSERT INTO inbox (n, agent, session_key, origin, channel, account, message_id, message, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (channel, account, message_id, agent) DO NOTHING",
            (number, item.agent, item.session_key, item.origin, message.channel, message.account, message.message_id,
             encode(message), now),
        )  # fmt: skip
        if done.rowcount == 0:
            return None
        self._last = number
        return InboxRow(id_text(number), item.agent, item.session_key, message, 0, now, item.origin)

    def finish(self, id: str, outcome: str, error: str, now: float) -> None:
        if self._ends(id, InState.DONE):
            self._run(
                "UPDATE inbox SET state = 'done', outcome = ?, reason = ?, ended_at = ? WHERE n = ?",
                (outcome, error, now, id_number(id)),
            )

    def blame(self, ids: Sequence[str]) -> dict[str, int]:
        counts = {}
        for id in ids:
            found = self._run(
                "UPDATE inbox SET crashes = crashes + 1 WHERE n = ? AND state = 'queued' RETURNING crashes",
                (id_number(id),),
            ).fetchall()
            if found:
                counts[id] = found[0][0]
        return counts

    def bury(self, id: str, reason: str, farewell: Sequence[Outbound], now: float) -> list[OutboxRow]:
        if not self._ends(id, InState.DEAD):
            return []
        number = id_number(id)
        self._run("UPDATE inbox SET state = 'dead', reason = ?, ended_at = ? WHERE n = ?", (reason, now, number))
        agent = self._run("SELECT agent FROM inbox WHERE n = ?", (number,)).fetchone()[0]
        return self._queue(farewell, id, agent, now)

    def _ends(self, id: str, new: InState) -> bool:
        """Whether the step changes the row. Raises IllegalStep."""
        old = _state(InState, self._run("SELECT state FROM inbox WHERE n = ?", (id_number(id),)).fetchone())
        return settle(id, old, new) is not old

    def say(
        self, inbound_id: str, seq: int, parts: Sequence[Outbound], now: float, sending_note: str | None
    ) -> list[OutboxRow]:
        check_parts(inbound_id, seq, parts)
        found = self._run(
            "SELECT agent FROM inbox WHERE n = ? AND state = 'queued'", (id_number(inbound_id),)
        ).fetchone()
        if found is None or not parts or self._known(parts[0].key):
            return []
        return self._queue(parts, inbound_id, found[0], now, sending_note)

    def _known(self, key: str) -> bool:
        return self._run("SELECT 1 FROM outbox WHERE key = ?", (key,)).fetchone() is not None

    def post(self, messages: Sequence[Outbound], now: float) -> list[OutboxRow]:
        return self._queue(messages, "", "", now)

    def _queue(
        self, messages: Sequence[Outbound], inbound: str, agent: str, now: float, sending_note: str | None = None
    ) -> list[OutboxRow]:
        rows: list[OutboxRow] = []
        for message in messages:
            state, note = (OutState.QUEUED, "") if sending_note is None or rows else (OutState.SENDING, sending_note)
            row = OutboxRow(message.key, inbound, agent, message, state, 0, now, note, now, "")
            if self._insert(row):
                rows.append(row)
        return rows

    def _insert(self, row: OutboxRow) -> bool:
        address = row.message.address
        number = id_number(row.inbound) if row.inbound else 0
        left_at = row.created_at if row.state is OutState.SENDING else None
        done = self._run(
            "INSERT INTO outbox"
            " (key, inbound, agent, channel, account, message, state, not_before, note, created_at, left_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            (row.key, number, row.agent, address.channel, address.account, encode(row.message), row.state.value,
             row.not_before, row.note, row.created_at, left_at),
        )  # fmt: skip
        return done.rowcount == 1

    def sending(self, key: str, note: str, now: float) -> None:
        self._move(key, OutState.SENDING, "note = ?, left_at = ?", note, now)

    def sent(self, key: str, receipt_id: str, now: float) -> None:
        self._move(key, OutState.SENT, "receipt = ?, reason = '', ended_at = ?", receipt_id, now)

    def delay(self, key: str, not_before: float, reason: str) -> None:
        self._move(key, OutState.QUEUED, "attempts = attempts + 1, not_before = ?, reason = ?", not_before, reason)

    def uncertain(self, key: str, reason: str) -> None:
        self._move(key, OutState.UNCERTAIN, "reason = ?", reason)

    def refuse(self, key: str, reason: str) -> None:
        self._move(key, OutState.DEAD, "reason = ?", reason)

    def _move(self, key: str, new: OutState, columns: str, *values: object) -> None:
        old = _state(OutState, self._run("SELECT state FROM outbox WHERE key = ?", (key,)).fetchone())
        state = move(key, old, new)
        self._run(f"UPDATE outbox SET state = ?, {columns} WHERE key = ?", (state.value, *values, key))

    def known(self, channel: str, account: str, message_id: str, agent: str) -> str:
        found = self._run(
            "SELECT n FROM inbox WHERE channel = ? AND account = ? AND message_id = ? AND agent = ?",
            (channel, account, message_id, agent),
        ).fetchone()
        return id_text(found[0]) if found else ""

    def sessions(self, limit: int) -> list[InboxRow]:
        found = self._run(
            "SELECT n, agent, session_key, message, crashes, created_at, origin FROM inbox"
            " WHERE n IN (SELECT max(n) FROM inbox GROUP BY agent, session_key) ORDER BY n DESC LIMIT ?",
            (limit,),
        )
        return [_inbox_row(*row) for row in found]

    def cursor(self, channel: str, account: str) -> str | None:
        found = self._run("SELECT value FROM cursors WHERE channel = ? AND account = ?", (channel, account)).fetchone()
        return str(found[0]) if found else None

    def pending(self) -> Pending:
        inbox = self._run(
            "SELECT n, agent, session_key, message, crashes, created_at, origin FROM inbox"
            " WHERE state <> 'done' AND state = 'queued' ORDER BY n"
        )
        outbox = self._run(
            f"SELECT {_OUT} FROM outbox WHERE state <> 'sent' AND state IN ('queued', 'sending', 'uncertain')"
            " ORDER BY n"
        )
        return [_inbox_row(*row) for row in inbox], [_outbox_row(*row) for row in outbox]

    def counts(self) -> dict[str, int]:
        return self._count("inbox", "in", InState, InState.DONE) | self._count("outbox", "out", OutState, OutState.SENT)

    def _count(self, table: str, box: str, kind: type[S], ended: S) -> dict[str, int]:
        # Counting the whole table walks its smallest index, counting the open rows only theirs.
        counts = {f"{box}.{state.value}": 0 for state in kind}
        open_rows = self._run(f"SELECT state, count(*) FROM {table} WHERE state <> '{ended.value}' GROUP BY state")
        counts.update({f"{box}.{state}": number for state, number in open_rows})
        total = self._run(f"SELECT count(*) FROM {table}").fetchone()[0]
        return counts | {f"{box}.{ended.value}": total - sum(counts.values())}

    def unfinished(self, limit: int) -> list[QueueRow]:
        inbox = self._run(
            f"SELECT 'in', n, crashes, reason, {_VIEW} FROM inbox WHERE state <> 'done' ORDER BY n DESC LIMIT ?",
            (limit,),
        ).fetchall()
        outbox = self._run(
            f"SELECT 'out', key, attempts, reason, {_VIEW} FROM outbox WHERE state <> 'sent' ORDER BY n DESC LIMIT ?",
            (limit,),
        ).fetchall()
        rows = [_view(*row) for row in inbox + outbox]
        return sorted(rows, key=lambda row: row.created_at, reverse=True)[:limit]

    def purge(self, before: float) -> int:
        """Removes some of what ended before then; 0 when nothing is left to remove."""
        self._run("INSERT OR REPLACE INTO facts VALUES ('last', ?)", (self._last,))
        inbox = self._run(
            "DELETE FROM inbox WHERE n IN"
            " (SELECT n FROM inbox WHERE created_at < ? AND state <> 'queued' ORDER BY n LIMIT ?)",
            (before, PURGE_STEP),
        )
        # The rows of a running turn are how a repeated Say is recognised.
        outbox = self._run(
            "DELETE FROM outbox WHERE n IN (SELECT n FROM outbox WHERE created_at < ? AND state IN ('sent', 'dead')"
            " AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.n = outbox.inbound AND inbox.state = 'queued')"
            " ORDER BY n LIMIT ?)",
            (before, PURGE_STEP),
        )
        return inbox.rowcount + outbox.rowcount


def _state(kind: Callable[[Any], S], found: tuple[Any, ...] | None) -> S | None:
    return kind(found[0]) if found else None


def _inbox_row(
    n: int, agent: str, session_key: str, message: bytes, crashes: int, created_at: float, origin: Any
) -> InboxRow:
    return InboxRow(id_text(n), agent, session_key, _inbound.decode(message), crashes, created_at, origin)


def _outbox_row(
    key: str, inbound: int, agent: str, message: bytes, state: str, attempts: int, not_before: float, *rest: Any
) -> OutboxRow:
    note, created_at, reason = rest
    id = id_text(inbound) if inbound else ""
    decoded = _outbound.decode(message)
    return OutboxRow(key, id, agent, decoded, OutState(state), attempts, not_before, note, created_at, reason)


def _view(
    box: Any, key: str | int, attempts: int, reason: str, agent: str, channel: str, account: str, *rest: Any
) -> QueueRow:
    state, created_at = rest
    id = key if isinstance(key, str) else id_text(key)
    return QueueRow(
        box=box,
        id=id,
        agent=agent,
        channel=channel,
        account=account,
        state=state,
        created_at=created_at,
        attempts=attempts,
        reason=reason,
    )
