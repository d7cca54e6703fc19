"""Hides secrets when the configuration is shown, and keeps them when what was shown is written back (SPEC 3.7)."""

from __future__ import annotations

import re
from typing import Any

REDACTED = "__OPENCLAW_REDACTED__"
_SECRET = re.compile(r"(token|password|secret|api_?key|private_?key|credential)s?$", re.IGNORECASE)
#: Keys that sound like a secret and are numbers or file names.
_HARMLESS = re.compile(r"(tokens|tokenfile|passwordfile)$", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether the value of a key must not be shown."""
    return bool(_SECRET.search(key)) and not _HARMLESS.search(key)


def hide(value: Any, key: str = "") -> Any:
    """The value with every secret replaced by the sentinel; references to secrets too, as the original does."""
    if value and is_secret(key) and isinstance(value, str | dict):
        return REDACTED
    if isinstance(value, dict):
        block = key in ("env", "vars", "headers")
        return {name: REDACTED if block and isinstance(one, str) else hide(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [hide(one, key) for one in value]
    return value


def keep_hidden(new: Any, old: Any) -> Any:
    """`new` with the sentinel replaced by what is stored there."""
    if new == REDACTED:
        return old
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {key: keep_hidden(value, before.get(key)) for key, value in new.items()}
    if isinstance(new, list):
        items = old if isinstance(old, list) else []
        return [keep_hidden(one, items[index] if index < len(items) else None) for index, one in enumerate(new)]
    return new
