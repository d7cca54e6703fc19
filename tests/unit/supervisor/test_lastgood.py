"""A ruined file gives way, a mistaken one never."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import pytest

from protocol.paths import Paths
from supervisor.lastgood import keep, recover

NOW = datetime(2026, 8, 1, 12, 30, 5)
GOOD = '{ agents: { list: [{ id: "main" }] } } // mine'


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path, tmp_path / "openclaw.json")


@pytest.mark.parametrize("ruin", [b"", b"{ agents: ", b"\xff\xfe\x00", b"\x00" * 100, b"[]", b"7"])
def test_a_ruined_file_is_kept_and_the_last_good_one_put_back(paths: Paths, ruin: bytes) -> None:
    keep(paths.config, GOOD)
    paths.config.write_bytes(ruin)
    said = recover(paths, {}, NOW)
    kept = paths.config.with_name("openclaw.json.clobbered.20260801T123005")
    assert paths.config.read_text() == GOOD and kept.read_bytes() == ruin and str(kept) in said
    assert {stat.S_IMODE(file.stat().st_mode) for file in (kept, paths.config)} == {0o600}


@pytest.mark.parametrize("text", [GOOD, "{ agents: 7 }", "{ agnts: {} }", "{}"])
def test_what_can_be_read_is_left_alone(paths: Paths, text: str) -> None:
    keep(paths.config, "{}")
    paths.config.write_text(text)
    assert recover(paths, {}, NOW) == "" and paths.config.read_text() == text


def test_nothing_is_put_back_that_is_not_there_or_not_good(paths: Paths) -> None:
    paths.config.write_text("{")
    assert recover(paths, {}, NOW) == ""
    keep(paths.config, "{ agents: 7 }")
    assert recover(paths, {}, NOW) == "" and paths.config.read_text() == "{"


def test_a_missing_file_is_not_ruined(paths: Paths) -> None:
    keep(paths.config, GOOD)
    assert recover(paths, {}, NOW) == "" and not paths.config.exists()


@pytest.mark.parametrize("text", ['{ a: "***" }', "{ a: '__OPENCLAW_REDACTED__' }", None])
def test_a_text_with_hidden_secrets_is_no_copy(paths: Paths, text: str | None) -> None:
    keep(paths.config, GOOD)
    keep(paths.config, text)
    assert paths.config.with_name("openclaw.json.last-good").read_text() == GOOD
