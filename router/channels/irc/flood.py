"""Flood control: a token bucket, so that no server disconnects us for talking too fast.

RFC 1459 section 8.10 lets a client run 10 s ahead and charges 2 s a line: a burst of 5, then a line in 2 s. InspIRCd's
default (10 commands ahead, 1 a second) and ngircd's are wider, so these values are safe on all of them. The PING that
follows each message counts half: servers charge it less, but not nothing.
"""

from __future__ import annotations

LINE_COST = 1.0
PING_COST = 0.5


class Bucket:
    """Tokens come back one per `interval` seconds, up to `burst`. `now` is any clock that only goes forward."""

    def __init__(self, burst: float, interval: float, now: float) -> None:
        self._burst = burst
        self._interval = interval
        self._tokens = burst
        self._at = now

    def __repr__(self) -> str:
        return f"Bucket({self._tokens:.1f} of {self._burst:g})"

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` tokens are there; 0 if they are now."""
        self._fill(now)
        return max(0.0, cost - self._tokens) * self._interval

    def take(self, cost: float, now: float) -> None:
        """Pay, into debt if need be: the caller has waited, or what it sends cannot wait."""
        self._fill(now)
        self._tokens -= cost

    def try_take(self, cost: float, now: float) -> bool:
        """Pay if there is enough; say whether there was."""
        if self.wait(cost, now) > 0:
            return False
        self._tokens -= cost
        return True

    def _fill(self, now: float) -> None:
        gained = (now - self._at) / self._interval if self._interval else self._burst
        self._tokens = min(self._burst, self._tokens + max(0.0, gained))
        self._at = max(self._at, now)
