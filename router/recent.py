"""The last messages that came in, read from the spool of a gateway that may be running: never their texts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

from protocol.routes import Seen

#: How many are read, the newest.
MOST = 2000
#: Seconds to wait while the gateway writes.
_BUSY = 1.0

_seen = msgspec.json.Decoder(Seen)


def read_spool(path: str) -> tuple[Seen, ...]:
    """Newest first; nothing where there is no spool, or none that can be read now."""
    if not path or not Path(path).is_file():
        return ()
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=_BUSY)) as connection:
            rows = connection.execute("SELECT message FROM inbox ORDER BY n DESC LIMIT ?", (MOST,)).fetchall()
    except sqlite3.Error:
        return ()
    return tuple(found for row in rows if (found := _read(row[0])) is not None)


def _read(data: bytes) -> Seen | None:
    """What decides the route; the decoder passes over everything else, the text among it."""
    try:
        return _seen.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
