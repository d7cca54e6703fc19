"""Patterns that repeat a repetition, such as `(a+)+`: a backtracking engine can hang on them, so the original leaves
them out of a config. RE2 would not hang; they are left out all the same, so that one config means the same on both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<escaped>\\.)
  | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
  | (?P<open>\((?:\?(?:[:=!]|<[=!]|P?<\w+>))?)
  | (?P<close>\))
  | (?P<or>\|)
  | (?P<many>(?:[*+]|\{\d+,\d*\}|\{\d+\})\??)
  | (?P<maybe>\?\??)
  | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class _Group:
    """What is inside one pair of brackets so far."""

    def __init__(self) -> None:
        self.repeats = False
        self.branches = [""]

    @property
    def ambiguous(self) -> bool:
        """Repeating it could match one text in several ways: it repeats inside, or one branch begins another."""
        return self.repeats or any(
            first.startswith(second)
            for number, first in enumerate(self.branches)
            for other, second in enumerate(self.branches)
            if number != other
        )


def is_ambiguous(pattern: str) -> bool:
    """Whether a group is repeated that could match the same text in several ways."""
    stack, closed = [_Group()], None
    for kind, text in _tokens(pattern):
        if kind == "many":
            if closed is not None and closed.ambiguous:
                return True
            stack[-1].repeats = True
        closed = None
        match kind:
            case "open":
                stack.append(_Group())
            case "close" if len(stack) > 1:
                closed = stack.pop()
                stack[-1].repeats |= closed.repeats
                stack[-1].branches[-1] += "(" + "|".join(closed.branches) + ")"
            case "or":
                stack[-1].branches.append("")
            case _:
                stack[-1].branches[-1] += text
    return False


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(pattern):
        yield found.lastgroup or "", found.group()
