"""One thread, group commit: order, failures, the end."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from protocol.errors import OpenClawError
from router.spool.base import SpoolFailed
from router.spool.writer import Writer


class Numbers:
    """A connection with one table."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("CREATE TABLE numbers (n INTEGER UNIQUE)")

    def add(self, number: int) -> int:
        self.connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number

    def all(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT n FROM numbers ORDER BY rowid")]

    def refuse(self) -> None:
        raise OpenClawError("not this one")

    def add_and_fail(self, number: int) -> None:
        self.add(number)
        raise ValueError("half way")


async def started() -> Writer[Numbers]:
    writer = Writer(Numbers, "numbers")
    await writer.start()
    return writer


async def test_jobs_are_done_in_order_and_each_gets_its_own_result() -> None:
    """A thousand at once, in more than one commit."""
    writer = await started()
    results = await asyncio.gather(*(writer.run(lambda held, n=n: held.add(n)) for n in range(1000)))
    assert results == await writer.run(lambda held: held.all()) == list(range(1000))
    await writer.stop()


async def test_a_job_that_refuses_before_it_wrote_fails_alone() -> None:
    """Those that share its commit do not notice."""
    writer = await started()
    outcome = await asyncio.gather(
        writer.run(lambda held: held.add(1)),
        writer.run(lambda held: held.refuse()),
        writer.run(lambda held: held.add(2)),
        return_exceptions=True,
    )
    assert outcome[0] == 1 and outcome[2] == 2 and isinstance(outcome[1], OpenClawError)
    assert await writer.run(lambda held: held.all()) == [1, 2]
    await writer.stop()


@pytest.mark.parametrize("failing", ["database", "bug"])
async def test_a_failure_after_a_write_undoes_the_commit_and_everybody_hears_of_it(failing: str) -> None:
    """Nobody is told that something is on disk which is not."""
    writer = await started()
    await writer.run(lambda held: held.add(1))
    bad = (lambda held: held.add(1)) if failing == "database" else (lambda held: held.add_and_fail(7))
    outcome = await asyncio.gather(
        writer.run(lambda held: held.add(5)), writer.run(bad), writer.run(lambda held: held.add(6)),
        return_exceptions=True,
    )  # fmt: skip
    stored = await writer.run(lambda held: held.all())
    accepted = [result for result in outcome if not isinstance(result, BaseException)]
    assert stored == [1, *accepted]
    assert isinstance(outcome[1], SpoolFailed if failing == "database" else ValueError)
    await writer.stop()


async def test_a_caller_that_gave_up_does_not_disturb_the_others() -> None:
    """Its job is done all the same; who asks again finds it."""
    writer = await started()
    impatient = asyncio.ensure_future(writer.run(lambda held: held.add(1)))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await writer.run(lambda held: held.add(2)) == 2
    assert await writer.run(lambda held: held.all()) == [1, 2]
    await writer.stop()


async def test_what_was_asked_before_stop_is_done_and_nothing_after() -> None:
    """Stopping loses nothing that was accepted."""
    writer = await started()
    asked = [asyncio.ensure_future(writer.run(lambda held, n=n: held.add(n))) for n in range(5)]
    await asyncio.sleep(0)
    await writer.stop()
    assert await asyncio.gather(*asked) == list(range(5))
    with pytest.raises(SpoolFailed, match="numbers is closed"):
        await writer.run(lambda held: held.all())


async def test_a_connection_that_fails_is_told_to_the_one_who_started() -> None:
    """And the writer can be started again."""

    def broken() -> Numbers:
        raise sqlite3.OperationalError("no such place")

    writer: Writer[Numbers] = Writer(broken, "numbers")
    with pytest.raises(SpoolFailed, match="no such place"):
        await writer.start()
    assert not writer.running
