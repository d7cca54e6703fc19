"""The token bucket: burst, then a steady pace."""

from __future__ import annotations

from router.channels.irc.flood import Bucket


def test_a_burst_passes_and_then_the_pace_holds() -> None:
    """Ensure 5 lines at once, then one in 2 s, whatever the clock starts at."""
    bucket = Bucket(5, 2.0, now=1000.0)
    sent = [now for now in range(1000, 1021) for _ in range(10) if bucket.try_take(1.0, float(now))]
    assert sent == [*[1000] * 5, *range(1002, 1021, 2)]


def test_the_wait_is_just_long_enough() -> None:
    """Ensure that waiting as told gives the token, and debt is paid back first."""
    bucket = Bucket(1, 2.0, now=0.0)
    bucket.take(1.5, 0.0)
    assert bucket.wait(1.0, 0.0) == 3.0
    assert bucket.try_take(1.0, 2.9) is False
    assert bucket.try_take(1.0, 3.0) is True


def test_no_interval_means_no_limit() -> None:
    """Ensure that an operator's own server can be set free."""
    bucket = Bucket(1, 0.0, now=0.0)
    assert all(bucket.try_take(1.0, 0.0) for _ in range(50))
    assert repr(bucket) == "Bucket(0.0 of 1)"
