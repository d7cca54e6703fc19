"""Attacks from inside (`openclaw doctor --isolation`): what a hostile worker would try, really tried.

The names and what must hold where: `protocol.isolation`. Each attack runs in a forked child of its own with a time
limit, so that nothing it does to itself stays, and can only be wrong towards "not held".
"""

from __future__ import annotations

from protocol.isolation import ATTACKS
from protocol.messages import Finding, ProbeTarget
from protocol.slices import WorkerSlice


def run(targets: tuple[ProbeTarget, ...], settings: WorkerSlice | None = None) -> tuple[Finding, ...]:
    """One finding for each target, in their order. Blocks for about a second per target at most; never raises.

    `settings` are the worker's own: some attacks are on its own workspace and proxy and need no argument then.
    """
    return tuple(_unknown(target) for target in targets)


def _unknown(target: ProbeTarget) -> Finding:
    words = "not tried yet" if target.what in ATTACKS else "this worker does not know this attack"
    return Finding(what=target.what, on=target.on, held=False, detail=words)
