"""Ids of agents, accounts, channels and peers: one normaliser each, used by every process.

Rules: SPEC "Agent id normalisation" and RULES 3.1, both observed on the original program.
"""

from __future__ import annotations

import re

DEFAULT_AGENT_ID = "main"
DEFAULT_ACCOUNT_ID = "default"
DEFAULT_MAIN_KEY = "main"
MAX_ID_LENGTH = 64

_VALID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.IGNORECASE | re.ASCII)
_FOREIGN_RUN = re.compile(r"[^a-z0-9_-]+")
#: Names that JavaScript objects carry by themselves; the original maps them away, so configs may hold them.
_RESERVED_ACCOUNTS = frozenset({"__proto__", "prototype", "constructor"})


def _slug(text: str) -> str:
    """Lower-case id made of `[a-z0-9_-]`, at most 64 characters, possibly empty."""
    text = text.strip()
    if _VALID.fullmatch(text):
        return text.lower()
    return _FOREIGN_RUN.sub("-", text.lower()).strip("-")[:MAX_ID_LENGTH]


def is_valid_agent_id(text: str | None) -> bool:
    """Whether `text` can be used as an agent id as it stands (upper case allowed)."""
    return text is not None and _VALID.fullmatch(text.strip()) is not None


def normalize_agent_id(text: str | None) -> str:
    """The id under which an agent is known; empty becomes `main`."""
    return _slug(text or "") or DEFAULT_AGENT_ID


def normalize_optional_account_id(text: str | None) -> str | None:
    """The id of an account, or None where none was meant."""
    slug = _slug(text or "")
    return None if not slug or slug in _RESERVED_ACCOUNTS else slug


def normalize_account_id(text: str | None) -> str:
    """The id of an account; empty becomes `default`."""
    return normalize_optional_account_id(text) or DEFAULT_ACCOUNT_ID


def normalize_channel(text: str | None) -> str:
    """Channel ids are compared trimmed and in lower case; no aliases."""
    return (text or "").strip().lower()


def normalize_main_key(text: str | None) -> str:
    """`session.mainKey`: trimmed, lower case; empty becomes `main`."""
    return (text or "").strip().lower() or DEFAULT_MAIN_KEY
