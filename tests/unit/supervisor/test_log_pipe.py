"""Reading what a child writes: to the end, within bounds."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from supervisor.log_lines import workers
from supervisor.log_pipe import TAIL, ChildLog
from supervisor.logs import Journal, LogFile


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(LogFile(tmp_path / "x.log"))


def open_log(journal: Journal, lines: float = 1000.0) -> ChildLog:
    return ChildLog(journal, lambda line, now: workers("main", line, now), lines=lines)


async def test_the_last_lines_are_kept_for_a_crash_report(journal: Journal) -> None:
    log = open_log(journal)
    os.write(log.write_fd, b"".join(b"line %d\n" % number for number in range(80)) + b"no newline")
    log.close_writer()
    log.finish()
    assert len(log.tail) == TAIL and list(log.tail)[-2:] == ["line 79", "no newline"]


async def test_what_stands_in_the_pipe_at_the_end_is_read_even_if_somebody_still_holds_it(journal: Journal) -> None:
    log = open_log(journal)
    held = os.dup(log.write_fd)
    os.write(held, b"last words\n")
    log.finish()
    log.finish()
    assert list(log.tail) == ["last words"]
    with pytest.raises(BrokenPipeError):
        os.write(held, b"too late\n")
    os.close(held)


async def test_the_last_fatal_line_is_remembered(journal: Journal) -> None:
    log = open_log(journal)
    os.write(log.write_fd, b'{"message":"port in use","level":"fatal"}\n{"message":"bye"}\n')
    log.finish()
    assert log.fatal is not None and log.fatal["message"] == "port in use"


async def test_a_traceback_is_part_of_the_last_lines(journal: Journal) -> None:
    log = open_log(journal)
    os.write(log.write_fd, b'{"message":"it failed","error":"Traceback\\nValueError: x"}\n')
    log.finish()
    assert list(log.tail) == ["it failed", "Traceback", "ValueError: x"]


async def test_a_flood_is_dropped_counted_and_makes_the_writer_wait(journal: Journal, tmp_path: Path) -> None:
    log = open_log(journal, lines=10)
    written = 0

    def flood() -> None:
        nonlocal written
        try:
            for _ in range(1000):
                written += os.write(log.write_fd, b"x" * 1023 + b"\n" + b"y" * 64_512)
        except OSError:
            return

    writer = threading.Thread(target=flood)
    writer.start()
    await asyncio.sleep(0.5)
    reached = written
    assert reached < 6 * 1024 * 1024
    log.finish()
    writer.join()
    assert "lines were dropped: logging too fast" in (tmp_path / "x.log").read_text()
