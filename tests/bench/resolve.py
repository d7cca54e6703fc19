"""What one routing decision costs as the binding table grows."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence

from protocol.config import Binding
from router.routing import RouteInput, build, resolve

ROUNDS, PER_ROUND = 15, 2000


def measure_routing(bindings: Sequence[Binding], count: int) -> dict[str, float]:
    """Median microseconds to resolve a message that hits somewhere in the table, milliseconds to build the index."""
    dice = random.Random(count)
    started = time.perf_counter()
    table = build(bindings, agents=[f"a{n}" for n in range(50)], default_agent="a0", default_accounts={})
    built = time.perf_counter() - started
    messages = [message(dice.randrange(count)) for _ in range(PER_ROUND)]
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for one in messages:
            resolve(table, one)
        times.append((time.perf_counter() - started) / PER_ROUND)
    return {"bindings": count, "resolve_us": statistics.median(times) * 1e6, "build_ms": built * 1e3}


def message(number: int) -> RouteInput:
    kind = "group" if number % 2 else "direct"
    return RouteInput(channel="telegram", account=f"acc{number}", peer=(kind, str(number)))
