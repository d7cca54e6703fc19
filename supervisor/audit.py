"""The audit log: who had what run on the host. Only ever appended to, and on disk before anything is run."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from protocol import messages as m

#: Characters of a command that a line holds; its digest is always that of all of it.
_MOST_TEXT = 500


class AuditLog:
    """One JSON object a line, mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, request: m.RunElevated, **more: object) -> None:
        """One line, on disk when this returns. Raises OSError."""
        entry = {
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "agent": request.agent,
            "channel": request.channel,
            "sender": request.sender,
            "turn": request.turn,
            "request": request.request,
            "sha256": hashlib.sha256(request.command.encode("utf-8", "surrogatepass")).hexdigest(),
            "command": request.command[:_MOST_TEXT],
            **more,
        }
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self._path, flags, 0o600), "ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
