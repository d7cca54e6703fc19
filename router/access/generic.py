"""Signal, IRC and every platform without rules of its own: two lists and a policy each (RULES 3.9). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from router.access.entries import ANY, group_entries, lists, texts
from router.access.verdict import (
    Allow,
    Ignore,
    Verdict,
    direct_policy,
    first,
    group_policy,
    judge_direct,
    judge_senders,
)


class Senders(NamedTuple):
    """Who may write privately, and who in groups. Approved strangers count privately only."""

    direct: list[str]
    group: list[str]


def senders(settings: Mapping[str, Any] | None, approved: Collection[str]) -> Senders:
    """The effective lists. Under the policy `allowlist` nobody comes in by approval."""
    known = settings or {}
    stored = [] if direct_policy(settings) == "allowlist" else texts(approved)
    group = group_entries(known.get("groupAllowFrom"), known.get("allowFrom"))
    return Senders([*texts(known.get("allowFrom")), *stored], texts(group))


def judge_private(
    channel: str, settings: Mapping[str, Any] | None, names: Collection[str], approved: Collection[str]
) -> Verdict:
    """A private message. `names` are the ids under which the sender is known."""
    listed = senders(settings, approved).direct
    return judge_direct(direct_policy(settings), any(lists(channel, name, listed) for name in names))


def judge_group(
    channel: str,
    settings: Mapping[str, Any] | None,
    defaults: Mapping[str, Any],
    names: Collection[str],
    group: str,
) -> Verdict:
    """A message in a group. Where `groups` is there, the group must be one of its keys."""
    known = settings or {}
    groups = known.get("groups") if isinstance(known.get("groups"), Mapping) else {}
    keys = {str(key).lower(): value for key, value in (groups or {}).items()}
    entry = keys.get(group.lower(), keys.get(ANY))
    entry = entry if isinstance(entry, Mapping) else {}
    if entry.get("enabled") is False:
        return Ignore("group-disabled")
    policy = str(entry.get("groupPolicy") or group_policy(channel, settings, defaults))
    if policy != "disabled" and keys and not keys.keys() & {group.lower(), ANY}:
        return Ignore("group-not-listed")
    own = texts(entry.get("allowFrom"))
    allowed = own or senders(settings, ()).group
    listed = any(lists(channel, name, allowed) for name in names)
    if refused := judge_senders("allowlist" if own and policy == "open" else policy, allowed, listed):
        return Ignore(refused)
    shared = keys.get(ANY)
    everywhere = shared.get("requireMention") if isinstance(shared, Mapping) else None
    mention = first(entry.get("requireMention"), everywhere, known.get("requireMention"), True)
    return Allow(bool(mention), "group_policy_allowed")
