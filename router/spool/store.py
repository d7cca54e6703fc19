"""The spool on disk: SQLite in WAL mode, every commit synced, one writer thread (ARCHITECTURE 8, LIBRARIES 5).

`synchronous=FULL` is what makes "committed" mean "survives a power cut"; group commit is what makes it cheap.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from protocol.control import QueueRow
from protocol.envelope import Outbound
from protocol.errors import UserError
from router.spool.base import Admission, Cursor, InboxRow, OutboxRow, Pending
from router.spool.tables import SCHEMA, VERSION, Tables
from router.spool.writer import Writer

#: Seconds to wait for another process that holds the file, such as an operator's sqlite3 shell.
BUSY_SECONDS = 5.0


class SqliteSpool:
    """`Spool` in one file. Also raises UserError from `open` when the file cannot be made or is of a newer format."""

    def __init__(self, path: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = Path(path)
        self._busy_seconds = busy_seconds
        self._writer: Writer[Tables] = Writer(self._connect, f"spool {self._path.name}")

    def __repr__(self) -> str:
        return f"<SqliteSpool {self._path.name} {'open' if self._writer.running else 'closed'}>"

    async def open(self) -> None:
        await self._writer.start()

    async def close(self) -> None:
        await self._writer.stop()

    def _connect(self) -> Tables:
        _create_private(self._path)
        connection = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None, cached_statements=64)
        try:
            return self._prepare(connection)
        except BaseException:
            connection.close()
            raise

    def _prepare(self, connection: sqlite3.Connection) -> Tables:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise UserError(
                f"the spool was written by a newer version (format {version}, this one knows {VERSION})",
                where=str(self._path),
                hint="install the newer version again, or move the file away: what it holds is then not answered",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        tables = Tables(connection)
        tables.recover()
        return tables

    async def admit(self, items: Sequence[Admission], cursor: Cursor | None, now: float) -> list[InboxRow]:
        # From the return of this commit on the messages are ours; only then may the platform be told.
        return await self._writer.run(lambda tables: tables.admit(items, cursor, now))

    async def finish(self, id: str, outcome: str, error: str, now: float) -> None:
        await self._writer.run(lambda tables: tables.finish(id, outcome, error, now))

    async def blame(self, ids: Sequence[str]) -> dict[str, int]:
        return await self._writer.run(lambda tables: tables.blame(ids))

    async def bury(self, id: str, reason: str, farewell: Sequence[Outbound], now: float) -> list[OutboxRow]:
        return await self._writer.run(lambda tables: tables.bury(id, reason, farewell, now))

    async def say(
        self, inbound_id: str, seq: int, parts: Sequence[Outbound], now: float, sending_note: str | None = None
    ) -> list[OutboxRow]:
        return await self._writer.run(lambda tables: tables.say(inbound_id, seq, parts, now, sending_note))

    async def post(self, messages: Sequence[Outbound], now: float) -> list[OutboxRow]:
        return await self._writer.run(lambda tables: tables.post(messages, now))

    async def sending(self, key: str, note: str, now: float) -> None:
        await self._writer.run(lambda tables: tables.sending(key, note, now))

    async def sent(self, key: str, receipt_id: str, now: float) -> None:
        await self._writer.run(lambda tables: tables.sent(key, receipt_id, now))

    async def delay(self, key: str, not_before: float, reason: str) -> None:
        await self._writer.run(lambda tables: tables.delay(key, not_before, reason))

    async def uncertain(self, key: str, reason: str) -> None:
        await self._writer.run(lambda tables: tables.uncertain(key, reason))

    async def refuse(self, key: str, reason: str) -> None:
        await self._writer.run(lambda tables: tables.refuse(key, reason))

    async def known(self, channel: str, account: str, message_id: str, agent: str) -> str:
        return await self._writer.run(lambda tables: tables.known(channel, account, message_id, agent))

    async def sessions(self, limit: int) -> list[InboxRow]:
        return await self._writer.run(lambda tables: tables.sessions(limit))

    async def cursor(self, channel: str, account: str) -> str | None:
        return await self._writer.run(lambda tables: tables.cursor(channel, account))

    async def pending(self) -> Pending:
        return await self._writer.run(lambda tables: tables.pending())

    async def counts(self) -> dict[str, int]:
        return await self._writer.run(lambda tables: tables.counts())

    async def unfinished(self, limit: int) -> list[QueueRow]:
        return await self._writer.run(lambda tables: tables.unfinished(limit))

    async def purge(self, before: float) -> int:
        total = 0
        # In steps, so that a message that arrives meanwhile does not wait for all of it.
        while removed := await self._writer.run(lambda tables: tables.purge(before)):
            total += removed
        return total


def _create_private(path: Path) -> None:
    """Make the file for its owner only before SQLite opens it; its WAL then gets the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"the spool cannot be opened: {error.strerror}", where=str(path), hint=f"ls -ld {path.parent}"
        ) from None


def _sync_folder(folder: Path) -> None:
    """The name of a new file survives a power cut only once its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
