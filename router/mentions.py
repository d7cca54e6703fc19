"""Is a group message meant for the agent? Native mentions, patterns, replies to us (RULES 3.8).

Patterns come from users, so they run on RE2: no pattern can hang the router. One that RE2 cannot run (lookaround,
backreference) or that is no pattern at all is left out; `refused` names it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import re2

from protocol.config import GroupChat, Identity
from protocol.envelope import Inbound

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f]")
#: Longest text looked at, in characters.
_MAX_TEXT = 8000


def patterns(own: GroupChat, shared: GroupChat | None, identity: Identity) -> tuple[str, ...]:
    """The agent's own patterns if it has the key, else the shared ones, else its name and emoji."""
    if own.mention_patterns is not None:
        return own.mention_patterns
    if shared is not None and shared.mention_patterns is not None:
        return shared.mention_patterns
    derived = []
    if name := (identity.name or "").split():
        derived.append(r"\b@?" + r"\s+".join(re2.escape(word) for word in name) + r"\b")
    if emoji := (identity.emoji or "").strip():
        derived.append(re2.escape(emoji))
    return tuple(derived)


def mentioned(message: Inbound, wanted: Sequence[str]) -> bool:
    """Whether the message names the agent."""
    if message.mentioned or (message.quote is not None and message.quote.from_us):
        return True
    text = _INVISIBLE.sub("", message.text[:_MAX_TEXT]).strip().lower()
    return bool(text) and any(compiled.search(text) for one in wanted if (compiled := _compile(one)) is not None)


def gate(message: Inbound, wanted: Sequence[str], require_mention: bool) -> bool:
    """Whether the message passes: always where none is required or none could be found out."""
    possible = message.mentioned is not None or any(_compile(one) for one in wanted)
    return not require_mention or not possible or mentioned(message, wanted)


def refused(wanted: Sequence[str]) -> list[str]:
    """The patterns that cannot be used."""
    return [one for one in wanted if one.strip() and _compile(one) is None]


@functools.lru_cache(maxsize=4096)
def _compile(pattern: str) -> Any:
    pattern = pattern.strip().replace("\b", r"\b")
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    if not pattern:
        return None
    try:
        return re2.compile(pattern, options=options)
    except re2.error:
        return None
