"""Which turn may run now: one at a time in a session, sessions side by side up to a limit. Pure."""

from __future__ import annotations

from collections import deque


class Lanes:
    """First come, first served within a session; a busy session never holds up another one."""

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 1)
        self._sessions: dict[str, str] = {}
        self._waiting: deque[str] = deque()
        self._running: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Lanes({len(self._running)} of {self._limit} running, {len(self._waiting)} waiting)"

    def add(self, session: str, turn: str) -> None:
        """Queue a turn; one that is known already is left as it is."""
        if turn not in self._sessions:
            self._sessions[turn] = session
            self._waiting.append(turn)

    def start(self) -> list[str]:
        """The turns that run from now on, oldest first."""
        started: list[str] = []
        for turn in list(self._waiting):
            if len(self._running) >= self._limit:
                break
            if self._sessions[turn] not in self._running.values():
                self._running[turn] = self._sessions[turn]
                started.append(turn)
        for turn in started:
            self._waiting.remove(turn)
        return started

    def finish(self, turn: str) -> None:
        """A running turn has ended."""
        del self._running[turn]
        del self._sessions[turn]

    def remove(self, turn: str) -> bool:
        """Take back a turn that only waits; False for any other."""
        if turn not in self._waiting:
            return False
        self._waiting.remove(turn)
        del self._sessions[turn]
        return True

    def knows(self, turn: str) -> bool:
        return turn in self._sessions

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(self._running)

    @property
    def waiting(self) -> tuple[str, ...]:
        return tuple(self._waiting)
