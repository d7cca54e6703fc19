"""The growing pause."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from router.spool.backoff import pause


def test_the_pause_doubles_up_to_its_cap() -> None:
    """Without jitter: 1, 2, 4, 5, 5."""
    assert [pause(attempt, 1.0, 5.0, 0.0) for attempt in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]


@settings(deadline=None)
@given(st.integers(min_value=-5, max_value=10**9), st.floats(0, 1, exclude_max=True))
def test_jitter_takes_off_at_most_half_and_no_attempt_is_too_large(attempt: int, jitter: float) -> None:
    """Also for an attempt number nobody planned for."""
    full = pause(attempt, 0.5, 60.0, 0.0)
    assert 0.25 <= full / 2 <= pause(attempt, 0.5, 60.0, jitter) <= full <= 60.0
