"""What is wrong with a configuration, in the operator's words. Paths as in SPEC 2.9: dotted, `<root>` for the top."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from protocol.errors import UserError

ROOT = "<root>"


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. `hint` is one line that helps to put it right, empty where there is none.

    `key` is the key of the object at `path` that the problem is about, where it is not the object itself.
    """

    path: str
    message: str
    hint: str = ""
    key: str = ""


class ConfigInvalid(UserError):
    """The configuration cannot be used. `problems` names everything that is wrong with it, in file order."""

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"config invalid: {first.message}{more}", where=where(first), hint=first.hint or None)


def dotted(steps: Iterable[str | int]) -> str:
    """`agents.list.0` out of its steps."""
    return ".".join(str(step) for step in steps) or ROOT


def where(problem: Problem) -> str:
    """`$.agents.list[0].wrkspace`: the form used in single-line errors."""
    steps = [] if problem.path == ROOT else problem.path.split(".")
    steps += [problem.key] if problem.key else []
    return "$" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
