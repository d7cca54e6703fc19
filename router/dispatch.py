"""Which waiting message goes to which worker next: pure bookkeeping, one queue per agent and place.

Theory. Messages of one session are answered in order, so a session has at most one message out. An agent has a credit:
no more messages are out than its worker runs at once, so a dead worker takes few turns with it. A message is out *at a
generation*; when that generation ends, what was out comes back to the head of its session. Nothing here is durable and
nothing needs to be: the spool knows which messages are unfinished, and the worker knows by id which it has seen.

A message that must wait for another agent's turn (`relay`) is held: its lane stands still, the others go on.

Poison. A message that was out when its worker crashed is a suspect. Suspects go out alone, so that the second and the
third crash convict the right one (`CRASHES_TO_BURY`), and innocent ones are cleared by being answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from protocol.sandbox import Seat
from router.spool.base import InboxRow

#: A message that was out alone in so many crashes is given up (ARCHITECTURE 3).
CRASHES_TO_BURY = 3


class Delivery(NamedTuple):
    """Hand this row to that generation."""

    generation: int
    row: InboxRow


class AgentQueue:
    """The unfinished messages of one agent at one place."""

    def __init__(self, seat: Seat, credit: int) -> None:
        self.seat = seat
        self.credit = credit
        self.current: int | None = None
        self._rows: dict[str, InboxRow] = {}
        self._lanes: dict[str, deque[str]] = {}
        self._ready: deque[str] = deque()
        self._out: dict[str, int] = {}
        self._held: set[str] = set()

    def add(self, row: InboxRow) -> None:
        """A new message; one that is known already is left as it is."""
        if row.id in self._rows:
            return
        self._rows[row.id] = row
        lane = self._lanes.setdefault(row.session_key, deque())
        lane.append(row.id)
        if len(lane) == 1:
            self._ready.append(row.session_key)

    def hold(self, id: str) -> None:
        """Do not deliver this message yet."""
        if id in self._rows:
            self._held.add(id)

    def let_go(self, id: str) -> None:
        """The message need not wait any longer."""
        self._held.discard(id)

    def connect(self, generation: int, running: Iterable[str]) -> None:
        """A worker said Hello: it goes on with `running`; what else was out at it never arrived there."""
        running = set(running)
        self._return(lambda id, at: at == generation and id not in running)
        for id in running & self._rows.keys():
            self._take(id, generation)
        if self.current is None or generation > self.current:
            self.current = generation

    def lose(self, generation: int) -> list[InboxRow]:
        """The generation is gone: what was out at it waits again. Returns those rows."""
        if self.current == generation:
            self.current = None
        return self._return(lambda _, at: at == generation)

    def retire(self, generation: int) -> None:
        """Deliver nothing more to that generation; what is out stays out."""
        if self.current == generation:
            self.current = None

    def hand_over(self, stays: Callable[[str], bool]) -> list[InboxRow]:
        """Take out the messages of sessions that do not stay here. One whose session has a message out stays until
        that one has ended."""
        leaving = [lane for session, lane in self._lanes.items() if not stays(session) and lane[0] not in self._out]
        found = [self._rows[id] for lane in leaving for id in lane]
        for row in found:
            self.finish(row.id)
        return found

    def finish(self, id: str) -> InboxRow | None:
        """The message is answered or buried. None when it is not (or no longer) ours."""
        row = self._rows.pop(id, None)
        if row is None:
            return None
        self._out.pop(id, None)
        self._held.discard(id)
        lane = self._lanes[row.session_key]
        was_head = lane[0] == id
        lane.remove(id)
        if not lane:
            del self._lanes[row.session_key]
            if row.session_key in self._ready:
                self._ready.remove(row.session_key)
        elif was_head and row.session_key not in self._ready:
            self._ready.append(row.session_key)
        return row

    def replace(self, row: InboxRow) -> None:
        """The row changed (its crash count)."""
        if row.id in self._rows:
            self._rows[row.id] = row

    def get(self, id: str) -> InboxRow | None:
        return self._rows.get(id)

    def owner(self, id: str) -> int | None:
        """The generation that has this message, if it is out."""
        return self._out.get(id)

    def next(self) -> list[Delivery]:
        """What to deliver now; the rows count as out from here on."""
        deliveries: list[Delivery] = []
        while (row := self._choose()) is not None and self.current is not None:
            self._take(row.id, self.current)
            deliveries.append(Delivery(self.current, row))
        return deliveries

    @property
    def waiting(self) -> int:
        """Messages that are not out."""
        return len(self._rows) - len(self._out)

    @property
    def out(self) -> int:
        return len(self._out)

    def rows(self) -> list[InboxRow]:
        return list(self._rows.values())

    def of(self, session_key: str) -> list[InboxRow]:
        """The messages of one session, first the one whose turn it is."""
        return [self._rows[id] for id in self._lanes.get(session_key, ())]

    def __repr__(self) -> str:
        return f"<AgentQueue {self.seat} generation={self.current} waiting={self.waiting} out={self.out}>"

    def _choose(self) -> InboxRow | None:
        if self.current is None or not self._ready or len(self._out) >= self.credit:
            return None
        if any(self._rows[id].crashes for id in self._out if id in self._rows):
            return None
        row = self._first_ready()
        return None if row is None or (row.crashes and self._out) else row

    def _first_ready(self) -> InboxRow | None:
        heads = (self._lanes[session][0] for session in self._ready)
        return next((self._rows[id] for id in heads if id not in self._held), None)

    def _take(self, id: str, generation: int) -> None:
        session = self._rows[id].session_key
        lane = self._lanes[session]
        if lane[0] != id:
            lane.remove(id)
            lane.appendleft(id)
        if session in self._ready:
            self._ready.remove(session)
        self._out[id] = generation

    def _return(self, lost: Callable[[str, int], bool]) -> list[InboxRow]:
        ids = [id for id, at in self._out.items() if lost(id, at)]
        for id in ids:
            del self._out[id]
        rows = [self._rows[id] for id in ids]
        self._ready.extendleft(row.session_key for row in reversed(rows))
        return rows
