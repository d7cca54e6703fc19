"""`broadcast.strategy: "sequential"`: the agents of one message answer one after the other. Pure.

The rows of one platform message are a broadcast by their key alone, so nothing has to be stored for it: the order is
the one they were admitted in, also after a restart. A row waits until the one before it has ended, whatever its end.
"""

from __future__ import annotations

from collections import deque

from router.spool.base import InboxRow

_Key = tuple[str, str, str]


class Relay:
    """Who goes first for each message that several agents got."""

    def __init__(self) -> None:
        self._runs: dict[_Key, deque[InboxRow]] = {}

    def __repr__(self) -> str:
        return f"<Relay {len(self._runs)} messages>"

    def join(self, row: InboxRow) -> bool:
        """Line the row up; True when another agent must end first."""
        run = self._runs.setdefault(_key(row), deque())
        if all(one.id != row.id for one in run):
            run.append(row)
        return run[0].id != row.id

    def leave(self, row: InboxRow) -> InboxRow | None:
        """The row has ended, or gives way; returns the one whose turn has come."""
        run = self._runs.get(_key(row))
        if run is None or all(one.id != row.id for one in run):
            return None
        was_first = run[0].id == row.id
        kept = deque(one for one in run if one.id != row.id)
        if not kept:
            del self._runs[_key(row)]
            return None
        self._runs[_key(row)] = kept
        return kept[0] if was_first else None


def _key(row: InboxRow) -> _Key:
    return row.message.channel, row.message.account, row.message.message_id
