"""WhatsApp: numbers, the own number, and groups that must be listed (RULES 3.9). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from router.access.entries import ANY, group_entries, lists, normalize, texts
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


class GroupTests(NamedTuple):
    """A group message needs both tests."""

    sender: bool
    group: bool
    require_mention: bool
    reason: str

    @property
    def verdict(self) -> Verdict:
        return Allow(self.require_mention) if self.sender and self.group else Ignore(self.reason)


def judge_private(settings: Mapping[str, Any] | None, sender: str, approved: Collection[str], own: str = "") -> Verdict:
    """A private message; `own` is the number of the login. It may always write, and it alone where nobody is listed."""
    policy = direct_policy(settings)
    listed = texts((settings or {}).get("allowFrom")) or ([own] if own else [])
    stored = [] if policy == "allowlist" else texts(approved)
    ourselves = own != "" and normalize("whatsapp", sender) == normalize("whatsapp", own)
    if ourselves and policy != "disabled":
        return Allow(reason="own number")
    return judge_direct(policy, lists("whatsapp", sender, [*listed, *stored]))


def judge_group(
    settings: Mapping[str, Any] | None, defaults: Mapping[str, Any], sender: str, group: str, own: str = ""
) -> GroupTests:
    """A message in a group."""
    policy = group_policy("whatsapp", settings, defaults)
    known = settings or {}
    direct = known.get("allowFrom") or ([own] if own else [])
    senders = texts(group_entries(known.get("groupAllowFrom"), direct))
    refused = judge_senders(policy, senders, lists("whatsapp", sender, senders))
    groups = known.get("groups") if isinstance(known.get("groups"), Mapping) else {}
    # Only senders somebody wrote down make an unlisted group a choice; the own number is there by itself.
    written = bool(known.get("groupAllowFrom") or known.get("allowFrom"))
    admitted = _admits(policy, groups or {}, group, written)
    return GroupTests(
        not refused, admitted, _needs_mention(groups or {}, group), refused or ("" if admitted else "group-not-listed")
    )


def _admits(policy: str, groups: Mapping[str, Any], group: str, senders_written: bool) -> bool:
    """Whether the group itself is admitted; without `groups` only an allowlist asks for more."""
    if not groups:
        return policy != "allowlist" or senders_written
    return policy != "disabled" and (group in groups or ANY in groups)


def _needs_mention(groups: Mapping[str, Any], group: str) -> bool:
    entries = [groups.get(group), groups.get(ANY)]
    return bool(first(*(entry.get("requireMention") for entry in entries if isinstance(entry, Mapping)), True))
