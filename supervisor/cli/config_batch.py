"""Several changes of `config set` at once, and references to secrets (SPEC 3.7)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from protocol.errors import UserError
from supervisor.config.document import SyntaxProblem
from supervisor.config.parse import MAX_FILE, read_text, value_of
from supervisor.config.secretrefs import check, is_ref

EXAMPLE = """openclaw config set --batch-json '[{path: "gateway.port", value: 18790}]'"""


class Change(NamedTuple):
    """Put a value at a path."""

    path: str
    value: Any


def read(name: str) -> str:
    """The text of a batch file. Raises UserError."""
    text = sys.stdin.read(MAX_FILE) if name == "-" else read_text(Path(name))
    if text is None:
        raise UserError("there is no such file", where=name, hint=EXAMPLE)
    return text


def parse(text: str) -> list[Change]:
    """The changes of a batch. Raises UserError."""
    try:
        items = value_of(text)
    except SyntaxProblem as error:
        raise UserError(f"the batch is not JSON5: {error}", hint=EXAMPLE) from None
    if not isinstance(items, list) or not items:
        raise UserError("the batch is not a list of changes", hint=EXAMPLE)
    return [_change(number, item) for number, item in enumerate(items)]


def _change(number: int, item: Any) -> Change:
    place = f"$[{number}]"
    if (
        not isinstance(item, dict)
        or not isinstance(item.get("path"), str)
        or not item.keys() <= {"path", "value", "ref"}
    ):
        raise UserError("a change is an object with path and value", where=place, hint=EXAMPLE)
    if ("value" in item) == ("ref" in item):
        raise UserError("a change has either a value or a ref", where=place, hint=EXAMPLE)
    if "ref" in item and not is_ref(item["ref"]):
        raise UserError("ref is an object with source, provider and id", where=place, hint=EXAMPLE)
    return Change(item["path"], item["ref"] if "ref" in item else item["value"])


def reference(path: str, source: str, provider: str, name: str) -> Change:
    """A reference to a secret. Raises UserError."""
    hint = "openclaw config set channels.telegram.botToken --ref-source env --ref-id TELEGRAM_BOT_TOKEN"
    ref = {"source": source, "provider": provider, "id": name}
    if not path or not name or not is_ref(ref):
        raise UserError("a reference needs a path, --ref-source env|file|exec and --ref-id", hint=hint)
    if problem := check(ref):
        raise UserError(problem, where="--ref-id", hint=hint)
    return Change(path, ref)
