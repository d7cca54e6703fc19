"""A session keeps its transcript, whatever happens to the index."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from worker.sessions.entries import Mark, UserLine
from worker.sessions.store import MAX_OPEN, Sessions

KEY = "agent:main:main"


def open_store(folder: Path) -> Sessions:
    return Sessions(folder, "/ws", 10_000)


def test_a_session_is_found_again_without_its_index(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s")
    store.open(KEY, 1.0).begin(UserLine("hi", 1.0, Mark("m1")))
    again = open_store(tmp_path / "s")
    found = again.find(KEY)
    assert found is not None and found.find("m1") is not None
    assert again.find("agent:main:other") is None
    store.close()
    again.close()


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"a": 1}', b""])
def test_a_damaged_index_is_made_again(tmp_path: Path, damage: bytes) -> None:
    store = open_store(tmp_path)
    path = store.open(KEY, 1.0).path
    store.close()
    (tmp_path / "sessions.json").write_bytes(damage)
    again = open_store(tmp_path)
    found = again.find(KEY)
    assert found is not None and found.path == path
    again.close()
    assert msgspec.json.decode((tmp_path / "sessions.json").read_bytes())[KEY]["sessionId"] == path.stem


def test_the_index_is_private_and_holds_what_others_read(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s")
    path = store.open(KEY, 1.5).path
    store.touch(KEY, 2.5, {"channel": "irc"})
    assert store.dirty
    store.flush()
    index = tmp_path / "s" / "sessions.json"
    assert index.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert msgspec.json.decode(index.read_bytes()) == {
        KEY: {
            "sessionId": path.stem,
            "sessionFile": str(path),
            "sessionStartedAt": 1500,
            "channel": "irc",
            "updatedAt": 2500,
            "lastInteractionAt": 2500,
        }
    }
    assert sorted(os.listdir(tmp_path / "s")) == sorted([path.name, "sessions.json"])
    store.close()


def test_what_another_writer_put_into_the_index_stays(tmp_path: Path) -> None:
    first, second = open_store(tmp_path), open_store(tmp_path)
    first.open("a", 1.0)
    second.open("b", 1.0)
    first.flush()
    second.flush()
    assert set(msgspec.json.decode((tmp_path / "sessions.json").read_bytes())) == {"a", "b"}
    first.close()
    second.close()


def test_an_index_entry_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.jsonl").write_text('{"type":"session","id":"x","openclaw":{"key":"k"}}\n')
    folder = tmp_path / "s"
    folder.mkdir()
    entry = {KEY: {"sessionId": "../outside", "sessionFile": "../outside.jsonl"}}
    (folder / "sessions.json").write_bytes(msgspec.json.encode(entry))
    store = open_store(folder)
    assert store.open(KEY, 1.0).path.parent == folder
    store.close()


def test_idle_transcripts_are_closed_and_busy_ones_are_not(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(MAX_OPEN + 5):
        store.open(f"k{number}", 1.0)
    store.release({"k0"})
    assert repr(store) == f"Sessions({MAX_OPEN + 5} known, {MAX_OPEN} open, {MAX_OPEN + 5} to be written)"
    assert store.find("k0") is store.open("k0", 2.0)
    store.close()


def test_a_removed_transcript_is_begun_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = store.open(KEY, 1.0).path
    first.unlink()
    second = store.open(KEY, 2.0).path
    assert second != first and second.exists()
    store.close()


def test_a_new_session_begins_empty_and_the_old_one_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    old = store.open(KEY, 1.0)
    old.begin(UserLine("hi", 1.0, Mark("m1")))
    store.touch(KEY, 1.0, {"channel": "irc"})
    new = store.renew(KEY, 60.0)
    assert new.path != old.path and new.find("m1") is None
    kept = tmp_path / f"{old.path.name}.reset.1970-01-01T00-01-00.000Z"
    assert b'"hi"' in kept.read_bytes()
    store.close()
    entry = msgspec.json.decode((tmp_path / "sessions.json").read_bytes())[KEY]
    assert entry["sessionId"] == new.path.stem and entry["channel"] == "irc"
    again = open_store(tmp_path)
    assert (found := again.find(KEY)) is not None and found.path == new.path
    again.close()


def test_a_reset_cut_short_leaves_no_session_behind(tmp_path: Path) -> None:
    """The power goes between the renaming of the old file and the making of the new one."""
    store = open_store(tmp_path)
    path = store.open(KEY, 1.0).path
    store.close()
    path.rename(tmp_path / f"{path.name}.reset.x")
    again = open_store(tmp_path)
    assert again.find(KEY) is None
    assert again.renew(KEY, 2.0).path != path
    again.close()
