"""How long to wait before the next attempt. Pure."""

from __future__ import annotations

#: Beyond this doubling no cap of ours is still below; it keeps the power small for any attempt number.
_MOST_DOUBLINGS = 32


def pause(attempt: int, base: float, cap: float, jitter01: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (1 is the first).

    Doubles from `base` up to `cap`. `jitter01`, a random number in [0, 1), takes off up to half, so that many
    senders that failed together do not come back together.
    """
    full = min(cap, base * 2.0 ** min(max(attempt, 1) - 1, _MOST_DOUBLINGS))
    return full * (1.0 - jitter01 / 2.0)
