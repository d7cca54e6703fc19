"""What hostile workers cost their neighbours: `python -m tests.bench hostile`, on the host and in containers.

Two agents are asked all the time while three others flood, fork, print and fill their memory (tests/support/hostile).
Each attack comes after a quiet run on the same gateway; the figures are the time from an operator's question to the
whole answer. The askers, the model and the attackers share the cores with the gateway: compare loud with quiet only.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from tests.support.docker_daemon import Unable
from tests.support.docker_engine import up
from tests.support.hostile.loud import by_attack, quiet_and_loud
from tests.support.hostile.stage import Fared, Mode, a_stage

ROUNDS = 3


async def measure(mode: Mode) -> dict[str, Fared]:
    """Attack -> how the neighbours fared, `all` for all of them together. Raises Unable without Docker."""
    engine, daemon = await asyncio.to_thread(up) if mode == "container" else (None, None)
    try:
        async with a_stage(mode, engine) as stage:
            await stage.talk()
            fared = await quiet_and_loud(stage, ROUNDS)
            await stage.fall_silent()
            return {**by_attack(stage), "all": fared}
    finally:
        if daemon:
            daemon.stop()


def show(mode: Mode, results: dict[str, Fared]) -> None:
    print(f"\nhostile workers, {mode} (load {os.getloadavg()[0]:.2f})")
    for name, fared in results.items():
        print(f"{name:28s} {fared}")


def raw(fared: Fared) -> dict[str, Any]:
    return {"median_ms": fared.medians, "p99_ms": fared.p99s, "answers": (len(fared.quiet), len(fared.loud))}


def main(*, as_json: bool = False) -> None:
    """Both modes, that of containers where there is Docker."""
    modes: tuple[Mode, ...] = ("host", "container")
    for mode in modes:
        try:
            results = asyncio.run(measure(mode))
        except Unable as error:
            print(f"{mode}: not measured: {error}")
            continue
        if as_json:
            print(json.dumps({mode: {name: raw(fared) for name, fared in results.items()}}, indent=2))
        else:
            show(mode, results)
