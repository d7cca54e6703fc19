"""Telegram groups: the chat must be admitted, then the sender; settings per group and topic (RULES 3.9). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from router.access.entries import ANY, group_entries, lists, texts
from router.access.verdict import Allow, Ignore, Verdict, first, group_policy


class Judgement(NamedTuple):
    """The verdict and the policy it was made by; no policy was asked where the group itself decided."""

    verdict: Verdict
    policy: str | None


class Place(NamedTuple):
    """What the config says of one chat: its entry, and whether it is there by its own id or by `*`."""

    entry: Mapping[str, Any]
    own: bool
    any: bool


def judge_group(
    settings: Mapping[str, Any] | None, defaults: Mapping[str, Any], sender: str, chat: str, topic: str = ""
) -> Judgement:
    """A message in a group; `topic` is the forum topic's number."""
    groups = (settings or {}).get("groups")
    place = find(groups if isinstance(groups, Mapping) else {}, chat, topic)
    override = place.entry.get("allowFrom")
    if place.entry.get("enabled") is False:
        return Judgement(Ignore("group-disabled"), None)
    if override and not lists("telegram", sender, texts(override)):
        return Judgement(Ignore("group-override-unauthorized"), None)
    policy = str(place.entry.get("groupPolicy") or group_policy("telegram", settings, defaults))
    senders = override or group_entries((settings or {}).get("groupAllowFrom"), (settings or {}).get("allowFrom"))
    refused = _refused(policy, place, bool(groups), senders, sender)
    return Judgement(Ignore(refused) if refused else Allow(_needs_mention(settings, groups, place)), policy)


def find(groups: Mapping[str, Any], chat: str, topic: str) -> Place:
    """The chat's own entry, or the one of `*`; what its topic says goes over it."""
    by_id = {str(key): value if isinstance(value, Mapping) else {} for key, value in groups.items()}
    entry = by_id.get(chat, by_id.get(ANY, {}))
    topics = entry.get("topics")
    own_topic = topics.get(topic) if isinstance(topics, Mapping) and topic else None
    merged = {**entry, **own_topic} if isinstance(own_topic, Mapping) else entry
    return Place(merged, chat in by_id, ANY in by_id)


def _refused(policy: str, place: Place, has_groups: bool, senders: Any, sender: str) -> str:
    if policy == "disabled":
        return "group-policy-disabled"
    if (has_groups or policy == "allowlist") and not (place.own or place.any):
        return "group-chat-not-allowed"
    if policy != "allowlist" or (place.own and not senders):
        return ""
    if not senders:
        return "group-policy-allowlist-empty"
    return "" if lists("telegram", sender, texts(senders)) else "group-policy-allowlist-unauthorized"


def _needs_mention(settings: Mapping[str, Any] | None, groups: Any, place: Place) -> bool:
    everywhere = groups.get(ANY) if isinstance(groups, Mapping) else None
    shared = everywhere.get("requireMention") if isinstance(everywhere, Mapping) else None
    return bool(first(place.entry.get("requireMention"), shared, (settings or {}).get("requireMention"), True))
