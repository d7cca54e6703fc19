"""The transcript of one session: an append-only file whose every line is on disk before anybody acts on it.

Memory holds the end of the conversation, as far as a model can be shown it, and the ids of what came before. The file
may have two writers for a moment, while a new generation of the worker takes over from the old one: appends hold a
lock, and `refresh` reads what the other one wrote. Raises OSError when the disk refuses.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import OpenClawError
from protocol.messages import HistoryEntry
from worker.sessions.entries import Heading, Line, UserLine, read_heading, read_line, write_heading, write_line
from worker.sessions.record import Record

#: Bytes read from the end of a file at first; doubled until a turn begins in them.
TAIL = 4 * 1024 * 1024
#: Ids remembered of turns whose texts left the memory.
_REMEMBERED = 4096
#: Open turns kept in memory at most.
_OPEN = 64
_READ = 1024 * 1024


class NotATranscript(OpenClawError):
    """The file is not a regular file of ours, so nothing is written to it."""


class Transcript:
    """One open file. Made by `create` or `load`."""

    def __init__(self, path: Path, fd: int, heading: Heading, keep: int) -> None:
        self.path = path
        self.heading = heading
        self._fd = fd
        self._keep = keep
        self._end = 0
        self._parent: str | None = None
        self._records: deque[Record] = deque()
        self._by_id: dict[str, Record] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"Transcript({self.path.name}, {len(self._records)} turns in memory, {self._end} bytes)"

    @classmethod
    def create(cls, path: Path, heading: Heading, cwd: str, keep: int) -> Transcript:
        """A new file with its heading; `keep` is how many characters of conversation stay in memory."""
        transcript = cls(path, _open(path, os.O_CREAT | os.O_EXCL), heading, keep)
        with transcript._locked():
            transcript._write(write_heading(heading, cwd))
        _sync_folder(path.parent)
        return transcript

    @classmethod
    def load(cls, path: Path, keep: int, tail: int = TAIL) -> Transcript:
        """An existing file; a torn last line is cut off. `tail` bytes are read at first. Raises NotATranscript."""
        fd = _open(path, 0)
        try:
            heading = read_heading(_first_line(fd))
            if heading is None:
                raise NotATranscript(f"{path.name} does not begin like a transcript")
            transcript = cls(path, fd, heading, keep)
            with transcript._locked():
                transcript._cut_torn_line()
                transcript._read_tail(max(tail, 2 * keep))
        except BaseException:
            os.close(fd)
            raise
        return transcript

    @property
    def records(self) -> Sequence[Record]:
        """The turns in memory, oldest first."""
        return self._records

    def until(self, record: Record) -> list[Record]:
        """The conversation up to and with this turn."""
        records: list[Record] = []
        for one in self._records:
            records.append(one)
            if one is record:
                break
        return records

    def find(self, inbound: str) -> Record | None:
        """The turn of a message that is in the file. Turns long past are read again."""
        if (record := self._by_id.get(inbound)) is not None or inbound not in self._gone:
            return record
        return self._search(inbound)

    def begin(self, line: UserLine) -> Record:
        """A person's message: on disk when this returns. A turn of its own begins with it."""
        self._append(line)
        return self._records[-1]

    def add(self, line: Line) -> None:
        """The next line of the turn its mark names; on disk when this returns."""
        self._append(line)

    def history(self, limit: int) -> list[HistoryEntry]:
        """What people saw, oldest first, at most `limit` entries from the end."""
        shown: list[HistoryEntry] = []
        for record in reversed(self._records):
            shown[:0] = record.shown
            if len(shown) >= limit:
                break
        return shown[-limit:] if limit > 0 else []

    def refresh(self) -> None:
        """Read what another generation appended meanwhile."""
        size = os.fstat(self._fd).st_size
        if size == self._end:
            return
        with self._locked():
            self._cut_torn_line()
            if os.fstat(self._fd).st_size < self._end:
                self._forget_all()
            self._read_from(self._end)

    @property
    def deleted(self) -> bool:
        """Somebody removed the file: what is written from here on would be lost."""
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- writing -------------------------------------------------------------------------------------------------

    def _append(self, line: Line) -> None:
        with self._locked():
            if os.fstat(self._fd).st_size != self._end:
                self._cut_torn_line()
                self._read_from(self._end)
            entry_id = os.urandom(4).hex()
            self._write(write_line(line, entry_id, self._parent))
        self._parent = entry_id
        self._take(line)

    def _write(self, data: bytes) -> None:
        """All of it on disk, or nothing: a half-written line is taken back."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(data)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    # --- reading -------------------------------------------------------------------------------------------------

    def _cut_torn_line(self) -> None:
        """A crash may leave half a line; it was never acted on, so it goes."""
        size = os.fstat(self._fd).st_size
        whole = size
        while whole > 0:
            start = max(whole - 4096, 0)
            found = os.pread(self._fd, whole - start, start).rfind(b"\n")
            if found >= 0:
                whole = start + found + 1
                break
            whole = start
        if whole < size:
            os.ftruncate(self._fd, whole)

    def _read_tail(self, length: int) -> None:
        size = os.fstat(self._fd).st_size
        while True:
            self._forget_all()
            start = max(size - length, 0)
            self._read_from(self._next_line(start) if start else 0)
            if start == 0 or self._records:
                return
            length *= 2

    def _next_line(self, offset: int) -> int:
        while chunk := os.pread(self._fd, _READ, offset):
            found = chunk.find(b"\n")
            if found >= 0:
                return offset + found + 1
            offset += len(chunk)
        return offset

    def _read_from(self, offset: int) -> None:
        rest = b""
        while chunk := os.pread(self._fd, _READ, offset):
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for data in lines:
                entry_id, line = read_line(data)
                self._parent = entry_id or self._parent
                if line is not None:
                    self._take(line)
        self._end = offset - len(rest)

    def _take(self, line: Line) -> None:
        inbound = line.mark.inbound
        if isinstance(line, UserLine):
            if inbound and inbound in self._by_id:
                return
            self._records.append(Record(line))
            if inbound:
                self._by_id[inbound] = self._records[-1]
            self._trim()
            return
        record = self._by_id.get(inbound) if inbound else self._records[-1] if self._records else None
        if record is not None:
            record.add(line)

    def _trim(self) -> None:
        """Forget the texts of the oldest finished turns once memory holds more than a model can be shown."""
        size = sum(record.size for record in self._records)
        while len(self._records) > 1 and size > self._keep:
            # An open turn may be running; one that so many others followed was given up long ago.
            if self._records[0].done is None and len(self._records) <= _OPEN:
                break
            record = self._records.popleft()
            size -= record.size
            self._by_id.pop(record.inbound, None)
            self._gone[record.inbound] = None
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _forget_all(self) -> None:
        self._records.clear()
        self._by_id.clear()
        self._gone.clear()
        self._end = 0
        self._parent = None

    def _search(self, inbound: str) -> Record | None:
        wanted, found = inbound.encode(), None
        with open(self.path, "rb") as file:
            for data in file:
                line = read_line(data)[1] if wanted in data else None
                if line is None or line.mark.inbound != inbound:
                    continue
                if isinstance(line, UserLine):
                    found = found or Record(line)
                elif found is not None:
                    found.add(line)
        return found


def read_key(path: Path) -> Heading | None:
    """The heading of a file in the sessions folder; None for anything else. For rebuilding the index."""
    try:
        fd = _open(path, 0)
    except (OSError, NotATranscript):
        return None
    try:
        return read_heading(_first_line(fd))
    finally:
        os.close(fd)


def _first_line(fd: int) -> bytes:
    return os.pread(fd, 64 * 1024, 0).partition(b"\n")[0]


def _open(path: Path, flags: int) -> int:
    """Never follows a link: what a model puts in the folder must not lead our writes elsewhere."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotATranscript(f"{path.name} is not a regular file")
    return fd


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
