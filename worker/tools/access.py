"""Which files the file tools may open, decided on the file that was found and not on its name.

On the host a path may lead anywhere but to forbidden places: it is looked up once, and where the kernel says that this
very file lies decides. With `workspace_only` and in a container nothing is found in the first place that does not lie
beneath one of the roots (`worker.tools.beneath`). `exec` is held by other means: uid, Landlock, container.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.tools.base import ToolError, os_error
from worker.tools.beneath import Finder, anywhere, beneath, make_folder, place, reopen

#: Trees that describe this very process (its memory, its descriptors) or devices.
_SYSTEM = ("/proc", "/sys", "/dev")
#: Folders that one call may make.
MAX_NEW_FOLDERS = 32
#: Links that a file to be written may be behind.
_MAX_LINKS = 8
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class _Root:
    """A folder that is opened once; a new one in its place is noticed."""

    def __init__(self, folder: str) -> None:
        self._fd = -1
        self.names = tuple(dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))))

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def fd(self) -> int:
        """Raises OSError."""
        if self._fd >= 0 and os.fstat(self._fd).st_nlink == 0:
            self.close()
        if self._fd < 0:
            self._fd = os.open(self.names[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._fd

    def below(self, path: str) -> str | None:
        """The rest of an absolute path that begins with this folder's name."""
        name = next((name for name in self.names if _inside(path, name)), None)
        return None if name is None else path[len(name) :].lstrip("/") or "."

    def holds(self, real: str) -> bool:
        """Whether that is the place of something in this folder, which may have been moved since it was opened."""
        names = self.names if self._fd < 0 else (*self.names, place(self._fd))
        return any(_inside(real, name) for name in names)


class FileAccess:
    """The rules of one agent.

    `forbidden` are path prefixes: other agents' folders, credentials, the config; `allowed` are those inside of them
    that stay open. The longest one that holds a file decides. In a container (`sandboxed`) the roots are the workspace,
    `agent_workspace` and what is `allowed`, and nothing else is there. An `agent_workspace` means that nothing may be
    written (SPEC 5.8, workspaceAccess ro).
    """

    def __init__(
        self,
        workspace: Path,
        *,
        workspace_only: bool = False,
        sandboxed: bool = False,
        agent_workspace: str = "",
        forbidden: Iterable[str] = (),
        allowed: Iterable[str] = (),
        find: Finder = beneath,
    ) -> None:
        self.workspace = Path(os.path.realpath(workspace))
        self.read_only = bool(agent_workspace)
        self._only = workspace_only
        self._sandboxed = sandboxed
        self._forbidden = tuple(os.path.realpath(path) for path in forbidden)
        self._allowed = tuple(os.path.realpath(path) for path in allowed)
        more = (agent_workspace, *self._allowed) if sandboxed else ()
        self._roots = (_Root(str(workspace)), *(_Root(folder) for folder in more if folder))
        self._find_beneath = find

    @property
    def confined(self) -> bool:
        """Whether only what lies beneath the roots can be found."""
        return self._only or self._sandboxed

    def only_workspace(self) -> FileAccess:
        """The same rules for a tool that never leaves the workspace."""
        own = FileAccess(self.workspace, workspace_only=True, sandboxed=self._sandboxed, find=self._find_beneath)
        own.read_only, own._forbidden, own._allowed = self.read_only, self._forbidden, self._allowed
        return own

    def close(self) -> None:
        """Let go of the opened folders; the next access opens them again."""
        for root in self._roots:
            root.close()

    def resolve(self, path: str, doing: str) -> Path:
        """The real place of `path`, whether it is there or not, for those who hand a name on and are held by other
        means. Raises ToolError when it is off limits."""
        real = os.path.realpath(self.workspace / _relative_to_home(path))
        self._check(real, path, doing)
        return Path(real)

    def open_read(self, path: str) -> int:
        """A descriptor of a regular file. Raises ToolError."""
        try:
            found = self._find(path, "access")
            try:
                self._check_file(found, path, "access")
                return reopen(found, _READ)
            finally:
                os.close(found)
        except OSError as error:
            raise self._refusal(error, path, "access") from None

    def exists(self, path: str) -> bool:
        """Whether there is anything of that name. Raises ToolError, also when it is off limits."""
        try:
            os.close(self._find(path, "access"))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._refusal(error, path, "access") from None
        return True

    def open_folder(self, path: str) -> tuple[int, str]:
        """The opened folder of a file to be written, made if need be, and the file's name. Raises ToolError.

        The descriptor is for the *at() calls (O_PATH). The name is no link, or one that was swapped in since: whoever
        renames onto it or unlinks it does so in that folder.
        """
        self.check_writable(path)
        try:
            return self._open_folder(path, path)
        except OSError as error:
            raise self._refusal(error, path, "open") from None

    def check_writable(self, path: str) -> None:
        """Raises ToolError where nothing may be written at all."""
        if self.read_only:
            raise ToolError(f"EROFS: read-only file system (sandbox.workspaceAccess is ro), open '{path}'")

    # --- finding -------------------------------------------------------------------------------------------------

    def _find(self, path: str, doing: str) -> int:
        """An O_PATH descriptor of what the path leads to, which the rules allow. Raises OSError, ToolError."""
        root, rest = self._start(path, doing)
        fd = self._look_up(root, rest)
        try:
            self._check(place(fd), path, doing)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _start(self, path: str, doing: str) -> tuple[_Root, str]:
        """From which root a path is looked up, and what is looked up there. Raises ToolError."""
        path = _relative_to_home(path)
        home = self._roots[0]
        if not self.confined or not path.startswith("/"):
            self._check_system(os.path.normpath(self.workspace / path), path, doing)
            return home, path
        named = ((root, root.below(path)) for root in self._roots)
        found = max(((root, rest) for root, rest in named if rest is not None), key=_shortest_rest, default=None)
        if found is None:
            raise self._outside(path, doing)
        return found

    def _look_up(self, root: _Root, rest: str) -> int:
        return self._find_beneath(root.fd, rest) if self.confined else anywhere(root.fd, rest)

    def _open_folder(self, path: str, told: str, links: int = 0) -> tuple[int, str]:
        """`path` is what is looked up, `told` what the model called it: they differ behind a link."""
        root, rest = self._start(path, "open")
        name = rest.rpartition("/")[2]
        above = rest[: len(rest) - len(name)]
        if name in ("", ".", ".."):
            raise ToolError(f"EISDIR: illegal operation on a directory, open '{told}'")
        folder = self._folder(root, above or ".", name, told)
        try:
            link = _link(folder, name)
        except BaseException:
            os.close(folder)
            raise
        if link is None:
            return folder, name
        os.close(folder)
        if links == _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return self._open_folder(self._behind(root, above, link), told, links + 1)

    def _behind(self, root: _Root, above: str, link: str) -> str:
        """The path that a link in the folder `above` stands for. Raises OSError."""
        if not self.confined:
            return link if link.startswith("/") else above + link
        if link.startswith("/"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return f"{root.names[0]}/{above}{link}"

    def _folder(self, root: _Root, above: str, name: str, told: str) -> int:
        """The opened folder `above`, made if need be; the rules allow `name` in it. Raises OSError, ToolError."""
        folder, missing = self._deepest(root, above)
        try:
            self._check("/".join((place(folder), *missing, name)), told, "open")
            if len(missing) > MAX_NEW_FOLDERS:
                raise ToolError(f"more than {MAX_NEW_FOLDERS} new folders at once, open '{told}'")
            for part in missing:
                inner = make_folder(folder, part)
                os.close(folder)
                folder = inner
            self._check(f"{place(folder)}/{name}", told, "open")
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _deepest(self, root: _Root, path: str) -> tuple[int, Sequence[str]]:
        """The deepest folder of a path that is there, and the names of those that are not. Raises OSError."""
        parts = path.split("/")
        for count in range(len(parts), -1, -1):
            missing = [part for part in parts[count:] if part not in ("", ".")]
            if ".." in missing:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            try:
                fd = self._look_up(root, "/".join(parts[:count]) or ("/" if path.startswith("/") else "."))
            except FileNotFoundError:
                if count == 0:
                    raise
                continue
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                return fd, missing
            os.close(fd)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        raise AssertionError("the root is always there or an error")

    # --- deciding ------------------------------------------------------------------------------------------------

    def _check_file(self, fd: int, path: str, doing: str) -> None:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise ToolError(f"EISDIR: illegal operation on a directory, {doing} '{path}'")
        if not stat.S_ISREG(mode):
            raise ToolError(f"EINVAL: not a regular file, {doing} '{path}'")

    def _check(self, real: str, path: str, doing: str) -> None:
        if self.confined and not any(root.holds(real) for root in self._roots):
            raise self._outside(path, doing)
        if _longest(real, self._forbidden) > _longest(real, self._allowed):
            raise ToolError(f"EACCES: this place is off limits for this agent, {doing} '{path}'")
        self._check_system(real, path, doing)

    def _check_system(self, real: str, path: str, doing: str) -> None:
        if not real.startswith("/") or any(_inside(real, folder) for folder in _SYSTEM):
            raise ToolError(f"EACCES: file tools do not work under {'/'.join(real.split('/')[:2])}, {doing} '{path}'")

    def _refusal(self, error: OSError, path: str, doing: str) -> ToolError:
        return self._outside(path, doing) if error.errno == errno.EXDEV else os_error(error, doing, path)

    def _outside(self, path: str, doing: str) -> ToolError:
        if not self._sandboxed:
            return ToolError(f"EACCES: tools.fs.workspaceOnly allows only files in the workspace, {doing} '{path}'")
        roots = ", ".join(root.names[0] for root in self._roots)
        return ToolError(f"EACCES: the sandbox has only what lies in {roots}, {doing} '{path}'")


def _relative_to_home(path: str) -> str:
    """What a tool's path argument means; `~` is the workspace. Raises ToolError for one that cannot be a path."""
    if not path or "\0" in path:
        raise ToolError("path must be a file name")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ToolError("path must be a file name") from None
    if path == "~" or path.startswith("~/"):
        return path[2:].lstrip("/") or "."
    return path


def _shortest_rest(found: tuple[_Root, str]) -> int:
    return -len(found[1])


def _link(folder: int, name: str) -> str | None:
    """Where a symbolic link leads, None for everything else. Raises OSError."""
    try:
        return os.readlink(name, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def _longest(path: str, folders: Iterable[str]) -> int:
    """Length of the longest of these folders that holds the path, 0 for none."""
    return max((len(folder) for folder in folders if _inside(path, folder)), default=0)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
