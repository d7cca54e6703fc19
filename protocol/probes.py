"""One attack from inside and what came of it: words of workers (`messages`) and of operators (`control`). Pure."""

from __future__ import annotations

import msgspec


class ProbeTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing a worker is to try: `what` is the name of an attack, `on` what it is tried on (a path, a pid, …)."""

    what: str
    on: str = ""


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of one attack; `held` when the wall stood."""

    what: str
    on: str
    held: bool
    detail: str = ""
