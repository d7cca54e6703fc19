"""Whole files in and out for the tools that change them: never half of one, never more than the limits."""

from __future__ import annotations

import asyncio
import os
import stat

from worker.tools.access import FileAccess
from worker.tools.base import ToolError, os_error

#: Files from this size on are handled outside the event loop, in bytes.
LARGE = 1024 * 1024
#: The largest file that can be edited, and the largest text one call may write, in bytes.
MAX_EDIT = 16 * 1024 * 1024
MAX_WRITE = 16 * 1024 * 1024


def load(access: FileAccess, path: str) -> str:
    """The whole text of a file that is to be changed. Raises ToolError."""
    with os.fdopen(access.open_read(path), "rb") as file:
        data = file.read(MAX_EDIT + 1)
    if len(data) > MAX_EDIT:
        raise ToolError(f"the file is over {MAX_EDIT} bytes; use exec with sed")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ToolError(f"{path} is not UTF-8 text") from None


async def store(access: FileAccess, path: str, data: bytes) -> None:
    """Make this the file's content, as a whole or not at all. Raises ToolError."""
    if len(data) > MAX_WRITE:
        raise ToolError(f"{len(data)} bytes are more than one call may write ({MAX_WRITE}), open '{path}'")
    if len(data) > LARGE:
        await asyncio.to_thread(_write, access, path, data)
    else:
        _write(access, path, data)


def _write(access: FileAccess, path: str, data: bytes) -> None:
    """The whole new file or the whole old one; an existing file keeps its mode."""
    folder, name = access.open_folder(path)
    temporary = f".{name[:60]}.{os.urandom(4).hex()}.tmp"
    try:
        mode = _mode(folder, name, path)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)
                file.write(data)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(temporary, dir_fd=folder)
            raise
    except OSError as error:
        raise os_error(error, "open", path) from None
    finally:
        os.close(folder)


def remove(access: FileAccess, path: str) -> None:
    """Delete a regular file. Raises ToolError."""
    folder, name = access.open_folder(path)
    try:
        _mode(folder, name, path)
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        raise os_error(error, "unlink", path) from None
    finally:
        os.close(folder)


def _mode(folder: int, name: str, path: str) -> int:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return 0o600
    if not stat.S_ISREG(found.st_mode):
        raise ToolError(f"EINVAL: not a regular file, open '{path}'")
    return stat.S_IMODE(found.st_mode) & 0o777
