"""What is wrong with a configuration, in the operator's words. Paths as in SPEC 2.9: dotted, `<root>` for the top."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from protocol.errors import UserError

ROOT = "<root>"


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. `hint` is one line that helps to put it right, empty where there is none."""

    path: str
    message: str
    hint: str = ""


class ConfigInvalid(UserError):
    """The configuration cannot be used. `problems` names everything that is wrong with it, in file order."""

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"config invalid: {first.message}{more}", where=where(first.path), hint=first.hint or None)


def dotted(steps: Iterable[str | int]) -> str:
    """`agents.list.0` out of its steps."""
    return ".".join(str(step) for step in steps) or ROOT


def where(path: str) -> str:
    """`$.agents.list[0]` out of `agents.list.0`: the form used in single-line errors."""
    if path == ROOT:
        return "$"
    return "$" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in path.split("."))
