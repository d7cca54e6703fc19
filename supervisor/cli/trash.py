"""The trash of the desktop: https://specifications.freedesktop.org/trash-spec/latest/."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

_MAX_NAMES = 1000


def move_to_trash(path: Path, home: Path, environ: Mapping[str, str]) -> Path | None:
    """Move a file or folder to the home trash; its new place, or None where that is not possible."""
    data = environ.get("XDG_DATA_HOME", "")
    root = (Path(data) if data.startswith("/") else home / ".local" / "share") / "Trash"
    try:
        for folder in (root / "files", root / "info"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = _claim(root / "info", path)
        target = root / "files" / info.stem
        try:
            path.rename(target)
        except OSError:
            info.unlink()
            raise
        return target
    except OSError:
        return None


def _claim(folder: Path, path: Path) -> Path:
    """The info file is made first and exclusively, so that two deletions never take one name."""
    deleted = datetime.now().replace(microsecond=0).isoformat()
    text = f"[Trash Info]\nPath={quote(str(path))}\nDeletionDate={deleted}\n"
    for number in range(_MAX_NAMES):
        info = folder / f"{path.name}{f'.{number}' if number else ''}.trashinfo"
        if (folder.parent / "files" / info.stem).exists():
            continue
        try:
            descriptor = os.open(info, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        with open(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        return info
    raise OSError(f"no free name for {path.name}")
