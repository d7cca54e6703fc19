"""How much chance there is, how long an answer may take, and how much memory."""

from __future__ import annotations

import os
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings

#: Examples for each test. Without it the run is short and always the same.
VARIABLE = "FUZZ_EXAMPLES"
_EXAMPLES = int(os.environ.get(VARIABLE, "0"))


class Hangs(AssertionError):
    """It was still at it when its time was over."""


def fuzz(examples: int = 100) -> settings:
    """The settings of a fuzz test: `examples` of them, the same in each run unless FUZZ_EXAMPLES asks for more."""
    return settings(
        max_examples=_EXAMPLES or examples,
        derandomize=not _EXAMPLES,
        database=None,
        deadline=None,  # `within` interrupts, and counts nothing but the thing under test
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def within(seconds: float = 5.0) -> Iterator[None]:
    """Interrupts what is still running after so many seconds. Main thread only."""

    def on_alarm(_: int, frame: FrameType | None) -> None:
        raise Hangs(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


def peak(work: Callable[[], Any]) -> int:
    """Bytes allocated at the worst moment of `work`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
