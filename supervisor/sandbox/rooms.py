"""The folders a container is given, made before it: 0700, and the worker's own."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.spawners.base import SpawnError
from supervisor.workerplan import WorkerPlan


def prepare(plan: WorkerPlan) -> None:
    """Raises SpawnError."""
    try:
        for folder in plan.folders:
            _own(Path(folder.path), plan.uid, plan.gid)
        link = Path(plan.link.socket).parent
        link.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # The router makes the socket, the worker's group may use it (the folder hands its group on).
            os.chown(link, 0, plan.gid)
            link.chmod(0o2710)
    except OSError as error:
        raise SpawnError(f"cannot make {error.filename}: {error.strerror}") from None


def _own(folder: Path, uid: int, gid: int) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if os.geteuid() == 0 and found.st_uid == 0 and uid:
        os.chown(folder, uid, gid, follow_symlinks=False)
