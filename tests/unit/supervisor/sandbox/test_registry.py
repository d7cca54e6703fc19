"""The file that remembers containers."""

from __future__ import annotations

from pathlib import Path

from supervisor.sandbox.registry import FILE, Entry, Registry, read

ENTRY = Entry(
    container_name="c", runtime_label="c", session_key="agent:a", created_at_ms=1, last_used_at_ms=1, image="i",
    config_hash="h",
)  # fmt: skip


def test_what_is_put_is_there_for_the_next_one_and_only_for_the_owner(tmp_path: Path) -> None:
    Registry(tmp_path / "sandbox").put(ENTRY)
    assert read(tmp_path / "sandbox" / FILE) == (ENTRY,)
    assert (tmp_path / "sandbox" / FILE).stat().st_mode & 0o777 == 0o600


def test_use_is_remembered_and_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.put(ENTRY)
    registry.touch("c", 9)
    registry.touch("unknown", 9)
    assert Registry(tmp_path).entries()["c"].last_used_at_ms == 9
    registry.forget("c")
    assert Registry(tmp_path).entries() == {}


def test_names_in_the_file_are_those_of_the_original(tmp_path: Path) -> None:
    Registry(tmp_path).put(ENTRY)
    text = (tmp_path / FILE).read_text()
    assert '"containerName"' in text and '"configLabelKind": "Image"' in text and '"lastUsedAtMs"' in text


def test_a_broken_file_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert Registry(tmp_path).entries() == {}
