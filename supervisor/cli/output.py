"""How the command line talks: data on stdout, everything else on stderr; colour never carries meaning alone."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config import document
from supervisor.config.parse import read_text
from supervisor.config.problems import ROOT, ConfigInvalid, Problem, where

_WIDTH = 120
_CONTROL = {code: "?" for code in (*range(9), *range(11, 32), *range(127, 160))}


def data(text: str = "") -> None:
    """A result."""
    print(clean(text))


def document_of(value: Any) -> None:
    """A result as the one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Talk: progress, warnings, hints."""
    print(clean(text), file=sys.stderr, flush=True)


def clean(text: str) -> str:
    """Text from elsewhere cannot move the cursor or colour the terminal."""
    return text.translate(_CONTROL)


def colour(text: str, code: str) -> str:
    """ANSI on a terminal only."""
    plain = not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def fail(error: UserError) -> int:
    """Show what the operator did wrong, where, and what to type; gives the exit code."""
    print(f"{colour('error:', '31')} {clean(error.message)}", file=sys.stderr)
    if error.where:
        say(f"  at {error.where}")
    if error.hint:
        say(f"hint: {error.hint}")
    return error.exit_code


def invalid(error: ConfigInvalid, paths: Paths, *, heading: str, bullet: str, closing: str) -> int:
    """All problems of a config file."""
    say(heading)
    for line in problem_lines(error, bullet):
        say(line)
    if closing:
        say(f"\n{closing}")
    return error.exit_code


def problem_lines(error: ConfigInvalid, bullet: str) -> list[str]:
    """Two lines a problem: what is wrong, and where it stands or what was meant."""
    root = _tree(error)
    lines = []
    for problem in error.problems:
        lines.append(f"{bullet} {problem.path}: {problem.message}")
        pad = " " * len(bullet)
        lines += [f"{pad} at {place}"] if (place := _place(root, problem)) else []
        lines += [f"{pad} hint: {problem.hint}"] if problem.hint else []
    return lines


def _tree(error: ConfigInvalid) -> tuple[str, document.Node] | None:
    try:
        text = read_text(error.file)
        return None if text is None else (text, document.parse(text))
    except (UserError, document.SyntaxProblem):
        return None


def _place(tree: tuple[str, document.Node] | None, problem: Problem) -> str:
    """`$.agents.list[0].wrkspace, line 3`, empty where the problem names its place itself."""
    if problem.path == ROOT and not problem.key:
        return ""
    name, found = where(problem), None
    if tree is not None:
        steps = [] if problem.path == ROOT else problem.path.split(".")
        found = _find(tree[1], [*steps, problem.key] if problem.key else steps)
    return name if found is None or tree is None else f"{name}, line {document.line_and_column(tree[0], found)[0]}"


def _find(node: document.Node, steps: Sequence[str]) -> int | None:
    """Where the entry at a path begins."""
    start = None
    for step in steps:
        entries = node.entries or []
        named = [one for i, one in enumerate(entries) if (str(i) if isinstance(node.value, list) else one.key) == step]
        if not named:
            return None
        start, node = named[-1].start, named[-1].node
    return start


def width() -> int:
    """Columns for tables."""
    return shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with box-drawing lines, never wider than the terminal; long cells wrap."""
    cells = [[clean(str(cell)) for cell in row] for row in (headers, *rows)]
    widths = _fit([max(_columns(row[i]) for row in cells) for i in range(len(headers))], width())
    lines = [_rule("┌┬┐", widths)]
    for number, row in enumerate(cells):
        lines += [_rule("├┼┤", widths)] if number == 1 else []
        lines += _row(row, widths)
    return "\n".join([*lines, _rule("└┴┘", widths)])


def _fit(widths: list[int], limit: int) -> list[int]:
    """Take columns from the widest until all fit."""
    while sum(widths) + 3 * len(widths) + 1 > limit and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return widths


def _rule(ends: str, widths: Sequence[int]) -> str:
    return ends[0] + ends[1].join("─" * (one + 2) for one in widths) + ends[2]


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    columns = [
        [piece for line in cell.split("\n") for piece in textwrap.wrap(line, wide) or [""]]
        for cell, wide in zip(row, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, columns))):
        parts = [column[number] if number < len(column) else "" for column in columns]
        padded = (part + " " * (wide - _columns(part)) for part, wide in zip(parts, widths, strict=True))
        lines.append("│ " + " │ ".join(padded) + " │")
    return lines


def _columns(text: str) -> int:
    """Columns a text takes on a terminal."""
    return sum((unicodedata.east_asian_width(char) in "WF") + (not unicodedata.combining(char)) for char in text)


def age(then: float, now: float) -> str:
    """`2m ago`; `never` for 0."""
    if not then:
        return "never"
    seconds = max(0, int(now - then))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return "just now" if seconds < 5 else f"{seconds}s ago"
