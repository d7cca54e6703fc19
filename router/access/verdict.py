"""What an access decision says, and the two policies that every platform shares. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

#: Platforms whose groups are open where nobody said anything, as in the original; on any other they are closed.
_OPEN_BY_CUSTOM = frozenset({"whatsapp", "telegram", "discord"})


class Allow(NamedTuple):
    """Take the message. `require_mention` holds for groups."""

    require_mention: bool = False
    reason: str = ""


class Ignore(NamedTuple):
    """Drop it silently; the reason is for the log."""

    reason: str


class OfferPairing(NamedTuple):
    """Drop it, and give the sender a code that the operator can approve."""

    reason: str = "dm_policy_pairing_required"


Verdict = Allow | Ignore | OfferPairing


def first(*values: Any) -> Any:
    """The first value that is set."""
    return next((value for value in values if value is not None), None)


def direct_policy(settings: Mapping[str, Any] | None) -> str:
    """Without a word, strangers must be paired."""
    return str((settings or {}).get("dmPolicy") or "pairing")


def group_policy(channel: str, settings: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> str:
    """The account's policy, else `channels.defaults`, else the platform's custom; closed without any section."""
    custom = "open" if channel in _OPEN_BY_CUSTOM else "allowlist"
    if settings is None:
        return "allowlist"
    return str(settings.get("groupPolicy") or defaults.get("groupPolicy") or custom)


def judge_direct(policy: str, listed: bool) -> Verdict:
    """A private message. `listed` says whether the sender is in the allowlist or was approved."""
    if policy == "disabled":
        return Ignore("dm_policy_disabled")
    if policy == "open":
        return Allow(reason="dm_policy_open")
    if listed:
        return Allow(reason="dm_policy_allowlisted")
    return OfferPairing() if policy == "pairing" else Ignore("dm_policy_not_allowlisted")


def judge_senders(
    policy: str, senders: Sequence[str], listed: bool
) -> Literal["", "group_policy_disabled", "group_policy_empty_allowlist", "group_policy_not_allowlisted"]:
    """Why this sender may not talk in a group, or nothing. `senders` is the list of those who may."""
    if policy == "disabled":
        return "group_policy_disabled"
    if policy == "open" or listed:
        return ""
    return "group_policy_not_allowlisted" if senders else "group_policy_empty_allowlist"
