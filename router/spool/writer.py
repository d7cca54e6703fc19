"""One thread that owns the SQLite connection, and group commit: what is waiting is committed together.

No delay timer: while one commit is on its way to the disk the next jobs gather, so a lone writer waits for one sync
and fifty share one. A job's result is handed out after the commit that holds it. The queue is bounded by the callers,
which wait for each job before they accept more from outside.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from router.spool.base import SpoolFailed

#: Most jobs in one commit, so that nobody waits for an endless transaction.
MAX_BATCH = 500

_EXPLANATIONS = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "another process holds the file",
    "SQLITE_LOCKED": "another process holds the file",
    "SQLITE_READONLY": "the file may not be written",
    "SQLITE_CANTOPEN": "the file cannot be opened",
    "SQLITE_CORRUPT": "the file is damaged",
    "SQLITE_NOTADB": "the file is not a spool",
    "SQLITE_IOERR": "the disk reports an error",
}


class Holder(Protocol):
    """What the thread works on: something that owns one connection."""

    @property
    def connection(self) -> sqlite3.Connection: ...


H = TypeVar("H", bound=Holder)
T = TypeVar("T")
Job = tuple[Callable[[H], Any], "asyncio.Future[Any]"]
Result = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer(Generic[H]):
    """Runs jobs on what `connect` returns, in its thread, in order."""

    def __init__(self, connect: Callable[[], H], name: str) -> None:
        self._connect = connect
        self._name = name
        self._queue: SimpleQueue[Job[H] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def running(self) -> bool:
        return self._loop is not None

    async def start(self) -> None:
        """Start the thread and open the file. Raises what `connect` raises, SQLite's errors as SpoolFailed."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        # A start that failed leaves its own end mark behind, which must not end the next thread.
        self._queue = SimpleQueue()
        opened: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._run, args=(opened,), name=self._name, daemon=True).start()
        try:
            await opened
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Commit what is queued, close the file, end the thread."""
        if self._loop is None or self._ended is None:
            return
        self._loop = None
        self._queue.put(None)
        await asyncio.shield(self._ended)

    async def run(self, work: Callable[[H], T]) -> T:
        """The result of `work`, once it is on disk. Raises SpoolFailed, and what `work` raised before it wrote."""
        if self._loop is None:
            raise SpoolFailed(f"{self._name} is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((work, future))
        return await future

    def _run(self, opened: asyncio.Future[None]) -> None:
        loop = opened.get_loop()
        assert self._ended is not None
        try:
            holder = self._connect()
        except Exception as error:
            self._tell(loop, [(opened, None, self._translate(error)), (self._ended, None, None)])
            return
        self._tell(loop, [(opened, None, None)])
        while batch := self._gather():
            self._tell(loop, self._commit(holder, batch))
        with suppress(sqlite3.Error):
            holder.connection.close()
        self._tell(loop, [(self._ended, None, None)])

    def _gather(self) -> list[Job[H]]:
        """The next jobs, waiting for the first; empty once `stop` was asked and everything before it is done."""
        batch: list[Job[H]] = []
        while not batch or (len(batch) < MAX_BATCH and not self._queue.empty()):
            job = self._queue.get()
            if job is None:
                if batch:
                    self._queue.put(None)
                break
            batch.append(job)
        return batch

    def _commit(self, holder: H, batch: Sequence[Job[H]]) -> list[Result]:
        connection = holder.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [self._perform(holder, *job) for job in batch]
            connection.execute("COMMIT")
            return results
        except Exception as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            failure = self._translate(error)
            return [(future, None, failure) for _, future in batch]

    @staticmethod
    def _perform(holder: H, work: Callable[[H], Any], future: asyncio.Future[Any]) -> Result:
        """A job that raises before it wrote anything fails alone; any other failure takes the batch with it."""
        before = holder.connection.total_changes
        try:
            return future, work(holder), None
        except Exception as error:
            if isinstance(error, sqlite3.Error) or holder.connection.total_changes != before:
                raise
            return future, None, error

    def _translate(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        code = getattr(error, "sqlite_errorname", "") or "SQLITE_ERROR"
        family = "_".join(code.split("_")[:2])
        reason = _EXPLANATIONS.get(family, str(error))
        return SpoolFailed(f"{self._name}: {reason} ({code})")

    @staticmethod
    def _tell(loop: asyncio.AbstractEventLoop, results: list[Result]) -> None:
        # A closed loop has nobody left to be told: the process is ending without close().
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, results)


def _settle(results: list[Result]) -> None:
    for future, value, error in results:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
