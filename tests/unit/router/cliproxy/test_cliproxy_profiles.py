"""auth-profiles.json: read again when it changed, never fatal, never quoted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router.cliproxy.profiles import NO_PROFILES, Profile, ProfileFiles, candidates, parse

FILE = b"""{"version": 1, "somethingNew": true,
 "profiles": {
  "anthropic:b": {"type": "api_key", "provider": "anthropic", "key": "sk-b", "note": 1},
  "anthropic:a": {"type": "api_key", "provider": "anthropic", "key": "sk-a"},
  "anthropic:t": {"type": "token", "provider": "anthropic", "token": "tok"},
  "openai:x": {"type": "api_key", "provider": "OpenAI", "key": "sk-x"}}}"""


def names(data: bytes, provider: str, order: tuple[str, ...] = ()) -> list[str]:
    return [name for name, _ in candidates(parse(data), provider, order)]


def test_without_an_order_tokens_come_before_keys_and_then_the_name_decides() -> None:
    assert names(FILE, "anthropic") == ["anthropic:t", "anthropic:a", "anthropic:b"]
    assert names(FILE, "openai") == ["openai:x"]
    assert names(FILE, "groq") == []


def test_the_configured_order_counts_and_the_files_own_order_counts_more() -> None:
    assert names(FILE, "anthropic", ("anthropic:b", "gone", "openai:x")) == ["anthropic:b"]
    ordered = FILE[:-1] + b', "order": {"anthropic": ["anthropic:a", "anthropic:t"]}}'
    assert names(ordered, "anthropic", ("anthropic:b",)) == ["anthropic:a", "anthropic:t"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"profiles": {"a": {"type": "api_key", "key": "sk-secret"}}}', b"[" * 9999]
)
def test_a_broken_file_is_a_problem_that_quotes_nothing(data: bytes) -> None:
    found = parse(data)
    assert found.problem and "secret" not in found.problem and not found.profiles


def test_a_profile_shows_itself_without_its_key() -> None:
    assert "sk-a" not in repr(parse(FILE)) and "tok-secret" not in repr(Profile("token", "x", token="tok-secret"))


def test_a_change_on_disk_is_seen_at_the_next_read(tmp_path: Path) -> None:
    files, path = ProfileFiles(), tmp_path / "auth-profiles.json"
    assert files.read(str(tmp_path)) is NO_PROFILES
    path.write_bytes(FILE)
    first = files.read(str(tmp_path))
    assert len(first.profiles) == 4 and files.read(str(tmp_path)) is first
    path.write_bytes(FILE.replace(b"sk-b", b"sk-c"))
    os.utime(path, ns=(1, 1))
    assert files.read(str(tmp_path)).profiles["anthropic:b"].key == "sk-c"
    path.unlink()
    assert files.read(str(tmp_path)) is NO_PROFILES


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "auth-profiles.json").mkdir()
    assert "is not a file" in ProfileFiles().read(str(tmp_path)).problem
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "auth-profiles.json").symlink_to(tmp_path / "fifo")
    assert "is not a file" in ProfileFiles().read(str(tmp_path / "a")).problem


def test_an_enormous_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "auth-profiles.json").open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    assert "larger than" in ProfileFiles().read(str(tmp_path)).problem
