"""Deleted folders can be had back."""

from __future__ import annotations

from pathlib import Path

from supervisor.cli.trash import move_to_trash


def test_a_folder_goes_to_the_trash_with_its_origin(tmp_path: Path) -> None:
    """Two of the same name do not collide."""
    for number in range(2):
        folder = tmp_path / "work space"
        folder.mkdir()
        (folder / "note").write_text(str(number))
        assert move_to_trash(folder, tmp_path, {}) is not None
        assert not folder.exists()
    trash = tmp_path / ".local" / "share" / "Trash"
    assert {path.read_text() for path in trash.glob("files/*/note")} == {"0", "1"}
    infos = sorted(trash.glob("info/*.trashinfo"))
    assert len(infos) == 2 and f"Path={tmp_path}/work%20space" in infos[0].read_text()


def test_what_cannot_be_moved_stays(tmp_path: Path) -> None:
    """And nothing is left in the trash."""
    assert move_to_trash(tmp_path / "nothing", tmp_path, {}) is None
    assert list((tmp_path / ".local" / "share" / "Trash" / "info").iterdir()) == []
