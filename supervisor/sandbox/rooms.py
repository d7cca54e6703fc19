"""The folders a container is given, made before it: 0700, and the worker's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from supervisor.sandbox.seedfiles import copy_bootstrap
from supervisor.sandbox.spec import Folder
from supervisor.spawners.base import SpawnError


def prepare(folders: Iterable[Folder], uid: int, gid: int) -> None:
    """Raises SpawnError."""
    try:
        for folder in folders:
            path = Path(folder.path)
            _make(path)
            if os.geteuid() == 0:
                (_lend if folder.is_link else _give)(path, uid, gid)
            if folder.seeded_from:
                copy_bootstrap(Path(folder.seeded_from), path, uid, gid)
    except OSError as error:
        raise SpawnError(f"cannot make {error.filename}: {error.strerror}") from None


def _make(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _give(folder: Path, uid: int, gid: int) -> None:
    """Only what is ours to give: a folder of somebody else stays his."""
    if folder.lstat().st_uid == 0 and uid:
        os.chown(folder, uid, gid, follow_symlinks=False)


def _lend(folder: Path, uid: int, gid: int) -> None:
    """The router makes the socket, and the worker's group may use it: the folder hands its group on (setgid)."""
    os.chown(folder, 0, gid)
    folder.chmod(0o2710)
