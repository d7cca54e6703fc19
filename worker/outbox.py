"""What was said to the router and is not acknowledged yet. Pure: messages come back, the caller sends them.

A Done follows only when every Say of its turn is acknowledged, so the router never closes a message whose answer it
does not have. Both are said again after every reconnection until they are acknowledged; the keys make that harmless.
"""

from __future__ import annotations

from protocol.messages import Done, Say


class _Owed:
    def __init__(self) -> None:
        self.says: dict[int, Say] = {}
        self.done: Done | None = None

    def due(self) -> list[Say | Done]:
        if self.says:
            return list(self.says.values())
        return [self.done] if self.done else []


class Outbox:
    """Unacknowledged Says and Dones by message id."""

    def __init__(self) -> None:
        self._owed: dict[str, _Owed] = {}

    def __repr__(self) -> str:
        return f"Outbox({len(self._owed)} messages owed)"

    def say(self, id: str, seq: int, text: str) -> list[Say | Done]:
        """Note a text; returns what to send now."""
        message = Say(id=id, seq=seq, text=text)
        self._owed.setdefault(id, _Owed()).says[seq] = message
        return [message]

    def finish(self, done: Done) -> list[Say | Done]:
        """Note the end of a turn; returns the Done if nothing is in its way."""
        owed = self._owed.setdefault(done.id, _Owed())
        owed.done = done
        return [] if owed.says else [done]

    def say_acked(self, id: str, seq: int) -> list[Say | Done]:
        """One text is on the router's disk; returns the Done that this sets free, if any."""
        owed = self._owed.get(id)
        if owed is None or owed.says.pop(seq, None) is None or owed.says:
            return []
        return [owed.done] if owed.done else []

    def done_acked(self, id: str) -> None:
        """The end of the turn is on the router's disk: forget the message."""
        owed = self._owed.get(id)
        if owed is not None and owed.done is not None:
            del self._owed[id]

    def due(self, id: str | None = None) -> list[Say | Done]:
        """Everything to be said again, of one message or of all."""
        owed = self._owed.values() if id is None else [self._owed[id]] if id in self._owed else []
        return [message for one in owed for message in one.due()]

    def finished(self, id: str) -> bool:
        """Whether the turn of this message has ended and its Done is not acknowledged."""
        return id in self._owed and self._owed[id].done is not None

    @property
    def unclosed(self) -> tuple[str, ...]:
        """Ended turns that still owe a Say."""
        return tuple(id for id, owed in self._owed.items() if owed.done and owed.says)

    @property
    def closing(self) -> tuple[str, ...]:
        """Ended turns that owe nothing but their Done."""
        return tuple(id for id, owed in self._owed.items() if owed.done and not owed.says)

    @property
    def empty(self) -> bool:
        return not self._owed
