"""Whether a configuration makes sense: its schema, and the rules across fields.

Reports everything at once. Problems stop the gateway, warnings do not. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocol.config import Config
from supervisor.config.problems import Problem
from supervisor.config.walk import walk, wrong_type


def problems(value: Any) -> tuple[Problem, ...]:
    """What is wrong with a value (after `$include` and `${VAR}`), in file order; empty when nothing is."""
    if not isinstance(value, dict):
        return (wrong_type("object", value, ()),)
    return tuple(_schema(value))


def _schema(value: dict[str, Any]) -> Iterator[Problem]:
    yield from walk(value, Config)
