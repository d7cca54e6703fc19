"""What only the spool on disk has: a file, its format, its rights, and a disk that may refuse."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from protocol.errors import UserError
from router.spool.base import SpoolFailed
from router.spool.store import SqliteSpool
from tests.contract.test_spool import NOW, admission, cursor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool.sqlite"


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    """So are the write-ahead log and the folder: they hold what people wrote."""
    spool = SqliteSpool(path)
    await spool.open()
    await spool.admit([admission("1")], None, NOW)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    await spool.close()
    assert modes == {"spool.sqlite": 0o600, "spool.sqlite-wal": 0o600, "spool.sqlite-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_rights_that_are_too_wide_are_narrowed(path: Path) -> None:
    """A file copied from elsewhere."""
    path.parent.mkdir()
    path.touch(0o644)
    spool = SqliteSpool(path)
    await spool.open()
    await spool.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_newer_format_is_refused_with_a_hint_and_left_as_it_is(path: Path) -> None:
    """An older program must not touch what it does not understand."""
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    spool = SqliteSpool(path)
    with pytest.raises(UserError, match="format 99, this one knows 1") as caught:
        await spool.open()
    assert caught.value.where == str(path) and caught.value.hint
    assert path.read_bytes() == before
    assert repr(spool) == "<SqliteSpool spool.sqlite closed>"


async def test_a_file_that_is_no_spool_is_named(path: Path) -> None:
    """The text says which file and what is wrong."""
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(SpoolFailed, match=r"spool.sqlite: the file is not a spool \(SQLITE_NOTADB\)"):
        await SqliteSpool(path).open()


async def test_a_folder_that_cannot_be_made_is_the_operators_matter(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "state").touch()
    with pytest.raises(UserError, match="the spool cannot be opened"):
        await SqliteSpool(tmp_path / "state" / "spool.sqlite").open()


async def test_another_process_that_holds_the_file_is_a_temporary_failure(
    path: Path,
) -> None:
    """Nothing is accepted while it does, and all is well afterwards."""
    spool = SqliteSpool(path, busy_seconds=0.05)
    await spool.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SpoolFailed, match="another process holds the file"):
        await spool.admit([admission("1")], cursor("5"), NOW)
    other.execute("ROLLBACK")
    other.close()
    assert len(await spool.admit([admission("1")], None, NOW)) == 1
    assert await spool.cursor("telegram", "work") is None
    await spool.close()


async def test_a_spool_that_could_not_be_opened_can_be_opened_later(path: Path) -> None:
    """The operator moved the bad file away."""
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1000)
    spool = SqliteSpool(path)
    with pytest.raises(SpoolFailed):
        await spool.open()
    path.unlink()
    await spool.open()
    assert len(await spool.admit([admission("1")], None, NOW)) == 1
    await spool.close()


async def test_pending_work_is_found_by_an_index(path: Path) -> None:
    """However much history is kept, a start reads what is open only."""
    spool = SqliteSpool(path)
    await spool.open()
    await spool.close()
    connection = sqlite3.connect(path)
    for statement in (
        "SELECT n FROM inbox WHERE state <> 'done' AND state = 'queued' ORDER BY n",
        "SELECT n FROM outbox WHERE state <> 'sent' AND state IN ('queued', 'sending', 'uncertain') ORDER BY n",
        "SELECT state, count(*) FROM outbox WHERE state <> 'sent' GROUP BY state",
    ):
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "_open" in plan, plan
    connection.close()
