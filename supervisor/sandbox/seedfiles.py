"""The first files of a sandbox's own workspace: copies of those in the agent's workspace (SPEC 5.8).

The supervisor does this, often as root, between two folders that an agent may have prepared for it: links, pipes,
hard links to the files of others, files without an end. So both folders are opened once, every name is looked up in
an opened folder and never followed, only regular files with one name that the agent could have read itself are taken,
sizes and counts are bounded, and everything is created new. What does not fit is left out and logged, never an error.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

#: The files a prompt is made of; BOOTSTRAP.md is for the first run on the host only.
FILES = ("AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md")
SKILLS = "skills"
#: Bytes of one file and of all together, files, and folders below each other.
MAX_FILE = 1024 * 1024
MAX_TOTAL = 32 * 1024 * 1024
MAX_FILES = 2000
MAX_DEPTH = 8
#: Names looked at, and lines in the log.
MAX_ENTRIES = 10_000
MAX_WARNINGS = 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Neither waits for a pipe nor takes a terminal.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _EnoughError(Exception):
    """The workspace holds more than is ever copied."""


class _Budget:
    """What may still be copied, looked at and complained about."""

    def __init__(self) -> None:
        self._files, self._bytes, self._entries, self._words = MAX_FILES, MAX_TOTAL, MAX_ENTRIES, MAX_WARNINGS

    def file(self, size: int) -> None:
        """Raises _EnoughError."""
        self._files, self._bytes = self._files - 1, self._bytes - size
        if self._files < 0 or self._bytes < 0:
            raise _EnoughError

    def entry(self) -> None:
        """Raises _EnoughError."""
        self._entries -= 1
        if self._entries < 0:
            raise _EnoughError

    def word(self) -> bool:
        self._words -= 1
        return self._words >= 0


def copy_bootstrap(agent_workspace: Path, sandbox_folder: Path, uid: int, gid: int) -> int:
    """Copy what is missing in `sandbox_folder`; returns how many files were. What is there is never touched.

    New files and folders belong to `uid` and `gid` and are for nobody else; without an agent's workspace there are
    none. Blocks. Raises OSError when the sandbox's folder cannot be opened (a link is not) or the disk is full.
    """
    copier = _Copier(uid, gid)
    with _opened(str(sandbox_folder)) as target:
        try:
            with _opened(str(agent_workspace)) as source:
                copier.copy_all(source, target)
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            log.warning("sandbox: nothing is copied from %s: it is no folder or a link to one", agent_workspace)
        except _EnoughError:
            log.warning("sandbox: %s holds too much, only %d files are copied", agent_workspace, copier.copied)
    return copier.copied


class _Copier:
    def __init__(self, uid: int, gid: int) -> None:
        self._owner = (uid, gid)
        self._budget = _Budget()
        self.copied = 0

    def copy_all(self, source: int, target: int) -> None:
        for name in FILES:
            self.copy_file(source, target, name)
        self.copy_folder(source, target, SKILLS, MAX_DEPTH)

    def copy_folder(self, source: int, target: int, name: str, depth: int) -> None:
        """One level after the other; folders that are links are left out."""
        with self._leaving_out(name), _opened(name, source) as inner:
            if depth == 0:
                raise OSError(errno.ELOOP, "too many folders below each other")
            if not _may_be_read(os.fstat(inner), os.fstat(source)):
                raise OSError(errno.EPERM, "it belongs to somebody else")
            made = self._folder(target, name)
            try:
                for entry, is_folder in self._entries(inner):
                    if is_folder:
                        self.copy_folder(inner, made, entry, depth - 1)
                    else:
                        self.copy_file(inner, made, entry)
            finally:
                os.close(made)

    def copy_file(self, source: int, target: int, name: str) -> None:
        with self._leaving_out(name):
            if _is_there(target, name):
                return
            data = _read(source, name)
            self._budget.file(len(data))
            self._create(target, name, data)

    def _create(self, target: int, name: str, data: bytes) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=target)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchown(fd, *self._owner)
                file.write(data)
        except OSError:
            os.unlink(name, dir_fd=target)
            raise
        self.copied += 1

    def _folder(self, target: int, name: str) -> int:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=target)
        fd = os.open(name, _FOLDER, dir_fd=target)
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchown(fd, *self._owner)
        return fd

    def _entries(self, folder: int) -> Iterator[tuple[str, bool]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                self._budget.entry()
                yield entry.name, entry.is_dir(follow_symlinks=False)

    @contextmanager
    def _leaving_out(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, FileNotFoundError):
            pass
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            if self._budget.word():
                log.warning("sandbox: %r of the agent's workspace is not copied: %s", name, error.strerror)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _read(folder: int, name: str) -> bytes:
    fd = os.open(name, _READ, dir_fd=folder)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        # A hard link may have been made by somebody who cannot read the file; we can.
        if found.st_nlink != 1 or not _may_be_read(found, os.fstat(folder)):
            raise OSError(errno.EPERM, "it has other names or belongs to somebody else")
        # It may grow while we look.
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise OSError(errno.EFBIG, f"over {MAX_FILE} bytes")
    return data


def _may_be_read(found: os.stat_result, folder: os.stat_result) -> bool:
    """Whether the folder's owner could read it himself."""
    return found.st_uid == folder.st_uid or bool(found.st_mode & stat.S_IROTH)


@contextmanager
def _opened(path: str, folder: int | None = None) -> Iterator[int]:
    fd = os.open(path, _FOLDER, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)
