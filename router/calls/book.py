"""Which sessions there are: those that a message came for, newest last, a bounded number for each agent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

#: Sessions remembered for one agent.
MAX_SESSIONS = 500


class Known(msgspec.Struct, frozen=True):
    """A session, and of the message that last came for it: channel, name of the group, seconds since the epoch."""

    agent: str
    key: str
    channel: str
    subject: str
    at: float


class Book:
    """The sessions of all agents."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[str, Known]] = {}

    def __repr__(self) -> str:
        return f"<Book {sum(map(len, self._sessions.values()))} sessions of {len(self._sessions)} agents>"

    def note(self, session: Known) -> None:
        """A message came for this session."""
        known = self._sessions.setdefault(session.agent, {})
        known.pop(session.key, None)
        known[session.key] = session
        while len(known) > MAX_SESSIONS:
            del known[next(iter(known))]

    def keep(self, agents: Iterable[str]) -> None:
        """Forget the sessions of all other agents: they are deleted, and so are these."""
        kept = set(agents)
        self._sessions = {agent: known for agent, known in self._sessions.items() if agent in kept}

    def of(self, agent: str) -> list[Known]:
        """Newest first."""
        return list(reversed(self._sessions.get(agent, {}).values()))

    def find(self, agent: str, key: str) -> Known | None:
        return self._sessions.get(agent, {}).get(key)
