"""Message ids as evidence: what was seen of each counter, and from where on a lost send must be looked for.

Telegram has no idempotency key, but its message ids only grow. One counter serves all private chats and basic groups
of a bot; a supergroup or channel (ids up to -10^12) counts for itself. So a message of ours that arrived without its
receipt has an id above everything that was seen before it was sent (the *anchor*), and since the router never has two
unacknowledged sends in one chat, it is the only message of ours in that chat above the newest acknowledged one.

The anchor is **sure** when it is also above every message of ours that was acknowledged in an earlier life of this
process, of which a new process knows nothing. That holds as soon as this life saw, on that counter, an id that was
given after it began: a receipt of its own, or a message dated after the start. Until then the anchor may be too low,
and `confirm` has to look at the content of what it finds.

No clock and no IO here; times are the server's, in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

#: Ids up to this one belong to supergroups and channels.
SUPERGROUP_CEILING = -1_000_000_000_000
#: Ids looked at beyond the newest known one: as many messages as may have come and gone unseen around a lost send.
BEYOND = 64
#: Ids asked for at most in one search; beyond it the search would take minutes of the account's rate.
PROBES = 400
#: Ids remembered per counter, so that nobody asks about them.
RECENT = 1024
#: Counters remembered: strangers can add a bot to any number of supergroups.
COUNTERS = 2048


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept with a send until its receipt is known.

    `born` is when the life began that wrote it and `at` when it was written, by the server's time, 0 if unknown.
    """

    chat: int
    anchor: int
    sure: bool
    born: float = 0.0
    at: float = 0.0


class _Counter:
    __slots__ = ("newest", "recent", "sure")

    def __init__(self) -> None:
        self.newest = 0
        self.sure = False
        self.recent: dict[int, None] = {}

    def see(self, number: int, sure: bool) -> None:
        # The id that makes a counter sure need not be its newest: all earlier lives lie below both.
        self.newest = max(self.newest, number)
        self.sure = self.sure or sure
        self.recent[number] = None
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]


class Marks:
    """The counters of one bot, as far as this process has seen them."""

    def __init__(self) -> None:
        self.started: float | None = None
        self._counters: dict[int, _Counter] = {}

    def begin(self, at: float | None) -> None:
        """The first answer of the server came at `at`, in its whole seconds; a later one does not move it."""
        if self.started is None:
            self.started = at

    def receive(self, chat: int, number: int, date: float) -> None:
        """A message of somebody else arrived. Dates are whole seconds, so only a later second counts as later."""
        self._counter(chat).see(number, self.started is not None and date > self.started)

    def acknowledge(self, chat: int, number: int) -> None:
        """A message of ours was acknowledged by its own receipt."""
        self._counter(chat).see(number, True)

    def recover(self, chat: int, number: int) -> None:
        """A lost message of ours was found; it may be of an earlier life, so it makes nothing sure."""
        self._counter(chat).see(number, False)

    def note(self, chat: int, at: float) -> Note:
        counter = self._counter(chat)
        return Note(chat=chat, anchor=counter.newest, sure=counter.sure, born=self.started or 0.0, at=at)

    def suspects(self, note: Note) -> Iterator[int]:
        """Ids that the lost message of `note` may have, in the order to ask for them.

        From the anchor up where any message of ours is the lost one; from the top down where only the newest one
        of ours can be it. An empty answer to an unsure note means that nothing is known of this counter at all.
        """
        counter = self._counter(note.chat)
        newest = max(counter.newest, note.anchor)
        if note.sure:
            return self._unknown(counter, range(note.anchor + 1, newest + BEYOND + 1))
        return self._unknown(counter, range(newest + BEYOND, note.anchor, -1) if newest else range(0))

    def _unknown(self, counter: _Counter, ids: range) -> Iterator[int]:
        found = (number for number in ids if number not in counter.recent)
        return (number for number, _ in zip(found, range(PROBES), strict=False))

    def blind(self, note: Note) -> bool:
        """Nothing was ever seen of this counter, so a search has no place to begin."""
        return not note.anchor and not self._counter(note.chat).newest

    def _counter(self, chat: int) -> _Counter:
        key = chat if chat <= SUPERGROUP_CEILING else 0
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter()
            if len(self._counters) > COUNTERS:
                del self._counters[next(k for k in self._counters if k != key)]
        return counter
