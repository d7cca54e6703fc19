"""How much agents hold on disk. Looks only, at their own folders and at what they own in the folders of everybody.

Links are not followed and other file systems not entered. A folder that is exchanged for a link meanwhile can make us
count something else; nothing more comes of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import msgspec

#: Folders that everybody may write to.
COMMON = ("/tmp", "/var/tmp", "/dev/shm")
#: Seconds for one agent, and for all of them.
_EACH, _ALL = 10.0, 20.0
_BLOCK = 512
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """What is an agent's. `uid` where it is nobody else's, else 0; `limit` in bytes, 0 for none."""

    folders: frozenset[str] = frozenset()
    uid: int = 0
    limit: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Device -> agent -> bytes, None where there was no time to count; and for each device a folder on it."""

    sizes: dict[int, dict[str, int | None]]
    paths: dict[int, str]


class _OutOfTime(Exception):
    pass


def measure(state: str, homes: Mapping[str, Home]) -> Usage:
    """Takes seconds; for a thread. `state` is a folder whose file system matters in any case."""
    usage = Usage({}, {})
    until = time.monotonic() + _ALL
    _place(usage, state)
    common = _owned({home.uid for home in homes.values() if home.uid})
    for agent, home in homes.items():
        counter = _Counter(min(time.monotonic() + _EACH, until))
        for folder in (*_topmost(home.folders), *common.get(home.uid, ())):
            if (device := _place(usage, folder)) is not None:
                _add(usage.sizes.setdefault(device, {}), agent, counter.size(folder, device))
    return usage


def _add(sizes: dict[str, int | None], agent: str, size: int | None) -> None:
    known = sizes.get(agent, 0)
    sizes[agent] = None if known is None or size is None else known + size


def _place(usage: Usage, path: str) -> int | None:
    try:
        device = os.lstat(path).st_dev
    except OSError:
        return None
    usage.paths.setdefault(device, path)
    return device


def _topmost(folders: frozenset[str]) -> list[str]:
    """Real paths, without those that lie in another one."""
    real = sorted({os.path.realpath(folder) for folder in folders})
    return [one for one in real if not any(one.startswith(f"{other}/") for other in real)]


def _owned(uids: set[int]) -> dict[int, list[str]]:
    """What users own at the top of the folders of everybody."""
    found: dict[int, list[str]] = {}
    for folder in COMMON if uids else ():
        try:
            with os.scandir(folder) as entries:
                owners = [(entry.stat(follow_symlinks=False).st_uid, entry.path) for entry in entries]
        except OSError:
            continue
        for uid, path in owners:
            if uid in uids:
                found.setdefault(uid, []).append(path)
    return found


class _Counter:
    """Counts for one agent; what several names are given to counts once."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._seen: set[int] = set()

    def size(self, path: str, device: int) -> int | None:
        """Bytes below a path on its device, None when the time is up."""
        waiting, total = [path], 0
        try:
            total += self._blocks(os.lstat(path))
            while waiting:
                total += self._folder(waiting.pop(), device, waiting)
        except _OutOfTime:
            return None
        except OSError:
            return total
        return total

    def _folder(self, path: str, device: int, waiting: list[str]) -> int:
        """The bytes of what lies in one folder; folders in it are left for later."""
        if time.monotonic() > self._until:
            raise _OutOfTime
        try:
            fd = os.open(path, _FOLDER)
        except OSError:
            return 0
        try:
            if os.fstat(fd).st_dev != device:
                return 0
            return sum(self._entry(entry, path, waiting) for entry in os.scandir(fd))
        except OSError:
            return 0
        finally:
            os.close(fd)

    def _entry(self, entry: os.DirEntry[str], folder: str, waiting: list[str]) -> int:
        try:
            found = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{folder}/{entry.name}")
        except OSError:
            return 0
        return self._blocks(found)

    def _blocks(self, found: os.stat_result) -> int:
        if found.st_nlink > 1 and found.st_ino in self._seen:
            return 0
        if found.st_nlink > 1:
            self._seen.add(found.st_ino)
        return found.st_blocks * _BLOCK
