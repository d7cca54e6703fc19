"""Which skills an agent may have. Pure.

Rule: RULES 2 D1 and SPEC 5.4.4. What everybody gets and what an agent adds are one list, unlike in the original.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal


def allowlist(
    defaults: Iterable[str] | None,
    own: Iterable[str] | None,
    mode: Literal["extend", "replace"] = "extend",
) -> tuple[str, ...] | None:
    """The names an agent may have, its own first; None for all of them.

    `own: []` means none, whatever the defaults say: nothing could be added by an empty list.
    """
    if own is None:
        return _names(defaults) if defaults is not None else None
    added = _names(own)
    shared = _names(defaults or ()) if mode == "extend" and added else ()
    return tuple(dict.fromkeys((*added, *shared)))


def _names(names: Iterable[str]) -> tuple[str, ...]:
    """Trimmed, blanks dropped, each once."""
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
