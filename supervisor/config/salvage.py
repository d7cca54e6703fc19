"""What a configuration with mistakes still says: enough to look around, never enough to run on. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.config import Config
from supervisor.config.edit import PathMissing, lookup, remove
from supervisor.config.problems import ROOT, Problem
from supervisor.config.walk import walk

#: Taking a value out can show one more problem above it; nothing is nested deeper than this.
_ROUNDS = 8


def salvage(values: Any) -> tuple[dict[str, Any], Config]:
    """The values without those of the wrong type, and what is left as a configuration."""
    left = values if isinstance(values, dict) else {}
    for _ in range(_ROUNDS):
        found = list(walk(left, Config))
        if not found:
            return left, msgspec.convert(left, Config)
        for problem in reversed(found):  # from the end, so that the items of a list keep their numbers
            left = _without(left, problem)
    return {}, Config()


def _without(value: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """Without the value the problem is about; where that is missing, without what misses it."""
    steps = [] if problem.path == ROOT else problem.path.split(".")
    steps += [problem.key] if problem.key else []
    while steps:
        try:
            lookup(value, tuple(steps))
            cleaned: dict[str, Any] = remove(value, tuple(steps))
            return cleaned
        except PathMissing:
            steps.pop()
    return value
