"""Which files the file tools may open, decided on the opened file itself.

A path is looked up once, opened, and only then compared (by what the kernel says the descriptor is), so no symbolic
link can be exchanged in between. `exec` is held by other means: the uid and, later, the sandbox of the worker.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from worker.tools.base import ToolError, os_error

#: Trees that describe this very process (its memory, its descriptors) or devices.
_SYSTEM = ("/proc", "/sys", "/dev")


class FileAccess:
    """The rules of one agent. `forbidden` are path prefixes: other agents' folders, credentials, the config; `allowed`
    are those inside of them that stay open. The longest one that holds a file decides."""

    def __init__(
        self,
        workspace: Path,
        *,
        workspace_only: bool = False,
        forbidden: Iterable[str] = (),
        allowed: Iterable[str] = (),
    ) -> None:
        self.workspace = Path(os.path.realpath(workspace))
        self._only = workspace_only
        self._forbidden = tuple(os.path.realpath(path) for path in forbidden)
        self._allowed = tuple(os.path.realpath(path) for path in allowed)

    def absolute(self, path: str) -> Path:
        """What a tool's path argument means. Raises ToolError for one that cannot be a path."""
        if not path or "\0" in path:
            raise ToolError("path must be a file name")
        if path == "~" or path.startswith("~/"):
            path = path[2:] or "."
        return self.workspace / path

    def resolve(self, path: str, doing: str) -> Path:
        """The real place of `path`, whether it is there or not. Raises ToolError when it is off limits."""
        real = os.path.realpath(self.absolute(path))
        self._check(real, path, doing)
        return Path(real)

    def open_read(self, path: str) -> int:
        """A descriptor of a regular file. Raises ToolError."""
        real = self.resolve(path, "access")
        try:
            fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise os_error(error, "access", path) from None
        try:
            self._check_open(fd, path, "access")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def open_folder(self, path: str) -> tuple[int, str]:
        """The opened folder of a file to be written, made if need be, and the file's name. Raises ToolError."""
        real = self.resolve(path, "open")
        if real == self.workspace or real.name in ("", ".", ".."):
            raise ToolError(f"EISDIR: illegal operation on a directory, open '{path}'")
        try:
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise os_error(error, "open", path) from None
        try:
            self._check(f"{os.readlink(f'/proc/self/fd/{fd}')}/{real.name}", path, "open")
        except BaseException:
            os.close(fd)
            raise
        return fd, real.name

    def peek(self, path: Path, limit: int) -> str | None:
        """The first `limit` characters of a text file we want for ourselves; None when it cannot be had."""
        try:
            fd = self.open_read(str(path))
        except ToolError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(4 * limit).decode("utf-8", "replace")

    def _check_open(self, fd: int, path: str, doing: str) -> None:
        self._check(os.readlink(f"/proc/self/fd/{fd}"), path, doing)
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise ToolError(f"EISDIR: illegal operation on a directory, {doing} '{path}'")
        if not stat.S_ISREG(mode):
            raise ToolError(f"EINVAL: not a regular file, {doing} '{path}'")

    def _check(self, real: str, path: str, doing: str) -> None:
        if self._only and not _inside(real, str(self.workspace)):
            raise ToolError(f"EACCES: tools.fs.workspaceOnly allows only files in the workspace, {doing} '{path}'")
        if _longest(real, self._forbidden) > _longest(real, self._allowed):
            raise ToolError(f"EACCES: this place is off limits for this agent, {doing} '{path}'")
        if any(_inside(real, place) for place in _SYSTEM):
            raise ToolError(f"EACCES: file tools do not work under {'/'.join(real.split('/')[:2])}, {doing} '{path}'")


def _longest(path: str, folders: Iterable[str]) -> int:
    """Length of the longest of these folders that holds the path, 0 for none."""
    return max((len(folder) for folder in folders if _inside(path, folder)), default=0)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
