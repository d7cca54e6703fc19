"""How much one life of a worker may ask, and what it has asked already. Pure.

A request is known by its number: the same one, asked again after a reconnection, is done once and answered twice.
"""

from __future__ import annotations

from collections import OrderedDict

from protocol import messages as m

Answer = m.Response | m.ApprovalDecided

#: Requests a second and at once, of one worker.
REQUEST_RATE, REQUEST_BURST = 5.0, 60.0
#: Violations of the protocol a second and at once, until the worker is replaced.
STRIKE_RATE, STRIKE_BURST = 0.2, 50.0
#: Requests of one worker without an answer; its own limit is lower.
MAX_OPEN = 40
#: Answers kept for a worker that reconnects.
KEPT_ANSWERS = 64


class Bucket:
    """Lets `rate` a second through, and `burst` at once. `now` in seconds of a clock that never goes back."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Whether so much was left; if not, nothing is taken."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < cost:
            return False
        self._left -= cost
        return True


class Ledger:
    """What one life of a worker has asked."""

    def __init__(self, now: float) -> None:
        self.requests = Bucket(REQUEST_RATE, REQUEST_BURST, now)
        self.strikes = Bucket(STRIKE_RATE, STRIKE_BURST, now)
        self._open: set[int] = set()
        self._answers: OrderedDict[int, Answer] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Ledger {len(self._open)} open, {len(self._answers)} answered>"

    @property
    def full(self) -> bool:
        return len(self._open) >= MAX_OPEN

    def is_open(self, number: int) -> bool:
        """Whether this request is being worked on."""
        return number in self._open

    def answer(self, number: int) -> Answer | None:
        """The answer that was given already."""
        return self._answers.get(number)

    def begin(self, number: int) -> None:
        self._open.add(number)

    def end(self, answer: Answer) -> None:
        self._open.discard(answer.request)
        self._answers[answer.request] = answer
        while len(self._answers) > KEPT_ANSWERS:
            self._answers.popitem(last=False)
