"""The agent's folder: its first files, and reading them again when they change. Texts of the files: `templates`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from worker.prompt import PROJECT_FILES, ProjectFile
from worker.tools.access import FileAccess
from worker.tools.base import ToolError
from worker.tools.beneath import make_folder

log = logging.getLogger(__name__)

TEMPLATES = ("AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md")
#: Only for a brand-new workspace: the agent deletes it when it knows who it is.
FIRST_RUN = "BOOTSTRAP.md"
_TEXTS = Path(__file__).parent / "templates"
_STATE_FOLDER, _STATE = ".openclaw", "workspace-state.json"

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
        """The file is opened first and then looked at, so its stamp is that of the very text."""
        try:
            fd = self._access.open_read(name)
        except ToolError:
            return None
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._seen.get(name)
            if known is None or known[0] != stamp:
                text = file.read(4 * self._limit).decode("utf-8", "replace")
                known = self._seen[name] = (stamp, text)
        return known[1]


def prepare(folder: Path, *, skip_bootstrap: bool, now: float) -> None:
    """Make the folder and its first files; existing files are never touched. Raises OSError for the folder only.

    Everything is made in the opened folder and never through a link in it: the agent's commands may have left some.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if skip_bootstrap:
        return
    try:
        with _opened(folder) as opened:
            _seed(opened, now)
    except OSError as error:
        # A workspace may be mounted read-only; the agent works with what is in it.
        log.warning("workspace %s: first files not written: %s", folder, error.strerror)


def _seed(folder: int, now: float) -> None:
    brand_new = not os.listdir(folder)
    for name in (*TEMPLATES, FIRST_RUN) if brand_new else TEMPLATES:
        _write_new(folder, name, (_TEXTS / name).read_bytes())
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    inner = make_folder(folder, _STATE_FOLDER)
    try:
        _write_new(inner, _STATE, msgspec.json.encode({"version": 1, "bootstrapSeededAt": at}))
    finally:
        os.close(inner)


def _write_new(folder: int, name: str, data: bytes) -> None:
    """A new file, whole or not at all. Raises OSError."""
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    except FileExistsError:
        return
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
