"""Pairing on disk: `credentials/<channel>-pairing.json` and `<channel>-<account>-allowFrom.json` (SPEC 4.6).

The files are the original's, so an existing installation keeps its approvals. They are small and rarely written; reads
are cached by modification time, so an edit by hand is picked up with the next message.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from protocol.control import Approved, PairingRequest
from protocol.errors import UserError
from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id
from router import pairing

log = logging.getLogger(__name__)

_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class PairingStore:
    """One credentials folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache: dict[Path, tuple[tuple[int, int, int], dict[str, Any] | None]] = {}

    def approved(self, channel: str, account: str) -> frozenset[str]:
        """The senders that were let in at this account."""
        return frozenset(self.listed(channel, account))

    def listed(self, channel: str, account: str) -> tuple[str, ...]:
        """The approved senders in order of approval; for `default` also those of the file of older versions."""
        account = normalize_account_id(account)
        ids = self._ids(self._allow_file(channel, account))
        if account == DEFAULT_ACCOUNT_ID:
            ids += self._ids(self._folder / f"{_checked(channel)}-allowFrom.json")
        return tuple(dict.fromkeys(ids))

    def knock(self, channel: str, account: str, id: str, meta: Mapping[str, str], now: float) -> PairingRequest | None:
        """A stranger wrote: the new request, or None when there is one already or too many wait."""
        offer = self.request(channel, account, id, meta, now)
        return offer.request if offer.created else None

    def request(self, channel: str, account: str, id: str, meta: Mapping[str, str], now: float) -> pairing.Offer:
        """A stranger wrote: its request, new or known, on disk when this returns."""
        account = normalize_account_id(account)
        with self._locked(channel):
            offer = pairing.knock(self._requests(channel), channel, account, id, meta, now, secrets.randbelow)
            if offer.created:
                self._save_requests(channel, offer.requests)
            return offer

    def pending(self, channel: str, account: str, now: float) -> list[PairingRequest]:
        """Who waits, oldest first; empty channel or account means all."""
        names = [channel] if channel else sorted(path.name[: -len("-pairing.json")] for path in self._pairing_files())
        found = [request for name in names for request in pairing.alive(self._requests(name), now)]
        return [request for request in found if not account or request.account == normalize_account_id(account)]

    def approve(self, channel: str, code: str, account: str, now: float) -> Approved | None:
        """Let the owner of this code in; None when there is no such code.

        Raises UserError when the list of approved senders is damaged: it would be lost by writing a new one.
        """
        with self._locked(channel):
            wanted = normalize_account_id(account) if account else ""
            rest, found = pairing.approve(self._requests(channel), code, wanted, now)
            if found is None:
                return None
            path = self._allow_file(channel, found.account)
            listed = self._entries(path)
            if found.id not in listed:
                self._write(path, {"version": 1, "allowFrom": [*listed, found.id]})
            self._save_requests(channel, rest)
            return Approved(channel=channel, account=found.account, id=found.id)

    def reject(self, channel: str, code: str, account: str, now: float) -> PairingRequest | None:
        """Forget the request with this code; None when there is no such code."""
        with self._locked(channel):
            wanted = normalize_account_id(account) if account else ""
            rest, found = pairing.approve(self._requests(channel), code, wanted, now)
            if found is not None:
                self._save_requests(channel, rest)
            return found

    def revoke(self, channel: str, id: str, account: str) -> tuple[str, ...]:
        """Take an approval away; the accounts where there was one, all of the channel when none is named.

        Raises UserError for a damaged list, as `approve` does.
        """
        with self._locked(channel):
            files = self._allow_files(channel, normalize_account_id(account) if account else "")
            return tuple(dict.fromkeys(one for one, path in files if self._take_out(path, id.strip())))

    def _take_out(self, path: Path, id: str) -> bool:
        listed = self._entries(path)
        if id in listed:
            self._write(path, {"version": 1, "allowFrom": [one for one in listed if one != id]})
        return id in listed

    def _allow_files(self, channel: str, account: str) -> list[tuple[str, Path]]:
        """The lists of approved senders by account; the one of older versions belongs to `default`."""
        start, end = f"{_checked(channel)}-", "-allowFrom.json"
        named = [(path.name[len(start) : -len(end)], path) for path in sorted(self._folder.glob(f"{start}*{end}"))]
        old = self._folder / f"{channel}{end}"
        found = [*named, *([(DEFAULT_ACCOUNT_ID, old)] if old.exists() else [])]
        return [(one, path) for one, path in found if not account or one == account]

    def _pairing_files(self) -> Iterator[Path]:
        return self._folder.glob("*-pairing.json")

    def _pairing_file(self, channel: str) -> Path:
        return self._folder / f"{_checked(channel)}-pairing.json"

    def _allow_file(self, channel: str, account: str) -> Path:
        return self._folder / f"{_checked(channel)}-{normalize_account_id(account)}-allowFrom.json"

    def _ids(self, path: Path) -> list[str]:
        """The approved senders; nobody while the file cannot be read."""
        with contextlib.suppress(UserError):
            return self._entries(path)
        return []

    def _entries(self, path: Path) -> list[str]:
        entries = self._read(path).get("allowFrom")
        return [str(entry).strip() for entry in entries] if isinstance(entries, list) else []

    def _requests(self, channel: str) -> list[PairingRequest]:
        """Who waits. A damaged file is as good as none: the strangers only have to write again."""
        entries = None
        with contextlib.suppress(UserError):
            entries = self._read(self._pairing_file(channel)).get("requests")
        found = (
            [_request(channel, entry) for entry in entries if isinstance(entry, dict)]
            if isinstance(entries, list)
            else []
        )
        return [request for request in found if request is not None]

    def _save_requests(self, channel: str, requests: tuple[PairingRequest, ...]) -> None:
        rows = [
            {
                "id": request.id,
                "code": request.code,
                "createdAt": _iso(request.created_at),
                "lastSeenAt": _iso(request.created_at),
                "meta": {**request.meta, "accountId": request.account},
            }
            for request in requests
        ]
        self._write(self._pairing_file(channel), {"version": 1, "requests": rows})

    def _read(self, path: Path) -> dict[str, Any]:
        """What the file says now, empty where there is none. Raises UserError, logged once per change of the file."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return {}
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        cached = self._cache.get(path)
        if cached is None or cached[0] != stamp:
            cached = self._cache[path] = (stamp, _parse(path))
        if cached[1] is None:
            raise UserError("the pairing file is damaged", where=str(path), hint=f"mv {path} {path}.damaged")
        return cached[1]

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        data = msgspec.json.format(msgspec.json.encode(content), indent=2)
        fd, name = tempfile.mkstemp(dir=self._folder, prefix=f".{path.name}.")
        with os.fdopen(fd, "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        _sync_folder(self._folder)

    @contextlib.contextmanager
    def _locked(self, channel: str) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._folder / f".{_checked(channel)}-pairing.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _parse(path: Path) -> dict[str, Any] | None:
    """The object in the file, or None for anything else."""
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        content = error
    if isinstance(content, dict):
        return content
    log.error("%s is damaged; nobody is approved by it until it is repaired or moved away", path)
    return None


def _sync_folder(folder: Path) -> None:
    """A renamed file survives a power cut only once its folder is synced."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _checked(channel: str) -> str:
    """A channel id that is fit for a file name."""
    if not _CHANNEL.fullmatch(channel):
        raise ValueError(f"not a channel id: {channel!r}")
    return channel


def _request(channel: str, entry: dict[str, Any]) -> PairingRequest | None:
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    try:
        created = datetime.fromisoformat(str(entry["createdAt"])).timestamp()
        texts = {str(key): str(value) for key, value in meta.items() if key != "accountId"}
        account = normalize_account_id(meta.get("accountId"))
        return PairingRequest(
            channel=channel,
            account=account,
            id=str(entry["id"]),
            code=str(entry["code"]),
            created_at=created,
            meta=texts,
        )
    except (KeyError, ValueError, AttributeError):
        return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
