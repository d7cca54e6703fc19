"""The log file: one writer, turned over by size, masked, and harmless when the disk is not."""

from __future__ import annotations

import io
import json
import logging
import stat
from pathlib import Path

import pytest

from protocol.errors import UserError
from supervisor.logs import Journal, JournalHandler, LogFile


def test_the_file_is_ours_alone_and_grows_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "openclaw.log"
    journal = Journal(LogFile(path))
    journal.log("info", "gateway", "ready", seconds=0.25)
    journal.close()
    entry = json.loads(path.read_text())
    assert entry.pop("time")[19:20] == "."
    assert entry == {"level": "info", "subsystem": "gateway", "message": "ready", "seconds": 0.25}
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_at_its_size_the_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "x.log", max_bytes=10, archives=2)
    for line in (b"1" * 9, b"2" * 9, b"3" * 9, b"4" * 9):
        file.append(line)
    file.close()
    found = {path.name: path.read_text()[0] for path in tmp_path.iterdir()}
    assert found == {"x.log": "4", "x.log.1": "3", "x.log.2": "2"}


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        file = LogFile(tmp_path / "x.log")
        file.append(text)
        file.close()
    assert (tmp_path / "x.log").read_text() == "one\ntwo\n"


def test_a_folder_that_cannot_be_had_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the log file"):
        LogFile(tmp_path / "file" / "x.log")


def test_a_full_disk_costs_lines_and_says_how_many() -> None:
    file = LogFile(Path("/dev/full"))
    file.append(b"lost")
    file.append(b"lost")
    assert file._lost == 2
    file.close()


def test_levels_below_the_chosen_one_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    journal = Journal(LogFile(path), level="warn")
    journal.log("info", "gateway", "no")
    journal.set_level("debug")
    journal.log("debug", "gateway", "yes")
    journal.close()
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["yes"]


def test_what_was_learnt_is_masked_in_file_and_console_and_control_characters_stay_out(tmp_path: Path) -> None:
    path, console = tmp_path / "x.log", io.StringIO()
    journal = Journal(LogFile(path), console=console)
    journal.learn(["my-own-gateway-password"])
    masked = journal.write(
        {"time": "2026-01-02T03:04:05+00:00", "level": "info", "subsystem": "worker/a",
         "message": "\x1b[31mmy-own-gateway-password", "error": "my-own-gateway-password"}
    )  # fmt: skip
    journal.close()
    assert "my-own-gateway-password" not in path.read_text() + console.getvalue() + str(masked)
    assert console.getvalue() == "03:04:05 [worker/a] ?[31mmy-own…word\n"


def test_a_console_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    console = io.StringIO()
    journal = Journal(LogFile(tmp_path / "x.log"), console=console)
    console.close()
    journal.log("info", "gateway", "one")
    journal.log("info", "gateway", "two")
    journal.close()
    assert len((tmp_path / "x.log").read_text().splitlines()) == 2


def test_the_supervisors_own_logging_ends_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    journal = Journal(LogFile(path))
    JournalHandler(journal).handle(logging.makeLogRecord({"name": "asyncio", "levelno": 40, "msg": "odd"}))
    journal.close()
    entry = json.loads(path.read_text())
    assert (entry["subsystem"], entry["level"], entry["message"]) == ("supervisor/asyncio", "error", "odd")
