"""The agent's folder: its first files, and reading them again when they change. Texts of the files: `templates`."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from worker.prompt import PROJECT_FILES, ProjectFile
from worker.tools.access import FileAccess

log = logging.getLogger(__name__)

TEMPLATES = ("AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md")
#: Only for a brand-new workspace: the agent deletes it when it knows who it is.
FIRST_RUN = "BOOTSTRAP.md"
_TEXTS = Path(__file__).parent / "templates"
_STATE = Path(".openclaw") / "workspace-state.json"

_Stamp = tuple[int, int, int]


class Workspace:
    """One workspace. `limit` is how many characters of a file are ever of use."""

    def __init__(self, folder: Path, access: FileAccess, limit: int) -> None:
        self.folder = folder
        self._access = access
        self._limit = limit
        self._seen: dict[str, tuple[_Stamp, str]] = {}

    def project_files(self) -> list[ProjectFile]:
        """The bootstrap files as they are now; unchanged ones are not read again."""
        return [ProjectFile(str(self.folder / name), self._read(name)) for name in PROJECT_FILES]

    def _read(self, name: str) -> str | None:
        path = self.folder / name
        try:
            found = os.stat(path)
        except OSError:
            return None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._seen.get(name)
        if known is None or known[0] != stamp:
            text = self._access.peek(path, self._limit)
            if text is None:
                return None
            known = self._seen[name] = (stamp, text)
        return known[1]


def prepare(folder: Path, *, skip_bootstrap: bool, now: float) -> None:
    """Make the folder and its first files; existing files are never touched. Raises OSError for the folder only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if skip_bootstrap:
        return
    try:
        _seed(folder, now)
    except OSError as error:
        # A workspace may be mounted read-only; the agent works with what is in it.
        log.warning("workspace %s: first files not written: %s", folder, error.strerror)


def _seed(folder: Path, now: float) -> None:
    brand_new = not any(folder.iterdir())
    for name in (*TEMPLATES, FIRST_RUN) if brand_new else TEMPLATES:
        _write_new(folder / name, (_TEXTS / name).read_bytes())
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    (folder / _STATE).parent.mkdir(mode=0o700, exist_ok=True)
    _write_new(folder / _STATE, msgspec.json.encode({"version": 1, "bootstrapSeededAt": at}))


def _write_new(path: Path, data: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return
    with os.fdopen(fd, "wb") as file:
        file.write(data)
