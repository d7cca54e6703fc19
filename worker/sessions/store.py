"""The sessions of one agent: which transcript belongs to which key, and those that are open now.

`sessions.json` is what other tools read (SPEC 5.10). It is written a moment after the fact, because every transcript
carries its own key and the index can always be made again from them. Raises OSError when the disk refuses.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from worker.sessions.entries import Heading
from worker.sessions.transcript import NotATranscript, Transcript, read_key

log = logging.getLogger(__name__)

INDEX = "sessions.json"
#: Transcripts kept open while nothing runs in them.
MAX_OPEN = 32
_MAX_INDEX = 64 * 1024 * 1024
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.jsonl")

Entry = dict[str, Any]


class Sessions:
    """The sessions folder. `keep` is how many characters of conversation stay in memory per open transcript."""

    def __init__(self, folder: Path, cwd: str, keep: int) -> None:
        self._folder = folder
        self._cwd = cwd
        self._keep = keep
        self._open: OrderedDict[str, Transcript] = OrderedDict()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._index = self._load_index()
        self._changed: set[str] = set()

    def __repr__(self) -> str:
        return f"Sessions({len(self._index)} known, {len(self._open)} open, {len(self._changed)} to be written)"

    def open(self, key: str, now: float) -> Transcript:
        """The transcript of a session, new if there is none. Raises NotATranscript."""
        if (transcript := self.find(key)) is not None:
            return transcript
        session_id = str(uuid.uuid4())
        path = self._folder / f"{session_id}.jsonl"
        transcript = Transcript.create(path, Heading(session_id, key, now), self._cwd, self._keep)
        self._index[key] = {"sessionId": session_id, "sessionFile": str(path), "sessionStartedAt": int(now * 1000)}
        self._changed.add(key)
        return self._remember(key, transcript)

    def find(self, key: str) -> Transcript | None:
        """The transcript of a session, None if there is none. Raises NotATranscript."""
        if (transcript := self._open.get(key)) is not None:
            if not transcript.deleted:
                self._open.move_to_end(key)
                transcript.refresh()
                return transcript
            self._open.pop(key).close()
            self._index.pop(key, None)
        if key not in self._index:
            self._scan()
        path = self._path(self._index.get(key))
        return self._remember(key, Transcript.load(path, self._keep)) if path is not None else None

    def renew(self, key: str, now: float) -> Transcript:
        """A new, empty transcript for a session; the old one is kept as `<name>.reset.<time>` (SPEC 4.15)."""
        old = self._index.get(key, {})
        if (transcript := self.find(key)) is not None:
            self._open.pop(key).close()
            stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            path = transcript.path
            path.rename(path.with_name(f"{path.name}.reset.{stamp.replace(':', '-')}"))
        self._index.pop(key, None)
        transcript = self.open(key, now)
        self._index[key] = {**old, **self._index[key]}
        return transcript

    def touch(self, key: str, now: float, fields: Entry) -> None:
        """Note that something happened in a session; written by the next `flush`."""
        at = int(now * 1000)
        self._index.setdefault(key, {}).update(fields, updatedAt=at, lastInteractionAt=at)
        self._changed.add(key)

    def release(self, busy: set[str]) -> None:
        """Close the transcripts unused longest, beyond MAX_OPEN and without those of `busy` keys."""
        for key in list(self._open):
            if len(self._open) <= MAX_OPEN:
                return
            if key not in busy:
                self._open.pop(key).close()

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def flush(self) -> None:
        """Write the index, atomically, with what another generation wrote meanwhile kept."""
        if not self._changed:
            return
        with self._locked():
            merged = self._read_index() or {}
            merged.update({key: self._index[key] for key in self._changed if key in self._index})
            _replace(self._folder / INDEX, msgspec.json.format(msgspec.json.encode(merged), indent=2))
        self._index = {**self._index, **merged}
        self._changed.clear()

    def close(self) -> None:
        self.flush()
        for transcript in self._open.values():
            transcript.close()
        self._open.clear()

    def _remember(self, key: str, transcript: Transcript) -> Transcript:
        self._open[key] = transcript
        return transcript

    def _path(self, entry: Entry | None) -> Path | None:
        """Only a plain name inside the folder counts: the file can be edited by what runs in this agent."""
        if entry is None:
            return None
        for name in (os.path.basename(str(entry.get("sessionFile", ""))), f"{entry.get('sessionId')}.jsonl"):
            if _FILE.fullmatch(name) and (self._folder / name).is_file():
                return self._folder / name
        return None

    def _load_index(self) -> dict[str, Entry]:
        found = self._read_index()
        if found is None:
            log.warning("%s cannot be read; it is made again from the transcripts", self._folder / INDEX)
        return found or {}

    def _read_index(self) -> dict[str, Entry] | None:
        """None for a damaged file, empty for none."""
        try:
            with open(self._folder / INDEX, "rb") as file:
                return msgspec.json.decode(file.read(_MAX_INDEX), type=dict[str, dict[str, Any]])
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, OSError, RecursionError):
            return None

    def _scan(self) -> None:
        """Find transcripts that the index does not know, newest last."""
        known = {os.path.basename(str(entry.get("sessionFile", ""))) for entry in self._index.values()}
        known |= {f"{entry.get('sessionId')}.jsonl" for entry in self._index.values()}
        with os.scandir(self._folder) as found:
            names = [one.name for one in found if _FILE.fullmatch(one.name) and one.name not in known]
        headings = [(heading, name) for name in names if (heading := read_key(self._folder / name)) and heading.key]
        for heading, name in sorted(headings, key=lambda one: one[0].at):
            self._adopt(heading, self._folder / name)

    def _adopt(self, heading: Heading, path: Path) -> None:
        entry = self._index.setdefault(heading.key, {})
        entry |= {"sessionId": heading.id, "sessionFile": str(path), "sessionStartedAt": int(heading.at * 1000)}
        self._changed.add(heading.key)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _replace(path: Path, data: bytes) -> None:
    """The whole new file or the whole old one, whenever the power goes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


__all__ = ["MAX_OPEN", "Entry", "NotATranscript", "Sessions"]
