"""Who may talk to us on a channel account: direct and group policy, allowlists, per-group settings (RULES 3.9).

Decisions here are about the account, never about the agent: a sender who may talk to the account may talk to whichever
agent the binding table names. Whether a group message is *meant* for us is `mentions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from protocol.envelope import Inbound

_ANY = "*"


class Allow(NamedTuple):
    """Take the message. `require_mention` holds for groups."""

    require_mention: bool = False


class Ignore(NamedTuple):
    """Drop it silently; the reason is for the log."""

    reason: str


class OfferPairing(NamedTuple):
    """Drop it, and give the sender a code that the operator can approve."""


Verdict = Allow | Ignore | OfferPairing


def decide(
    settings: Mapping[str, Any], message: Inbound, approved: Collection[str], defaults: Mapping[str, Any]
) -> Verdict:
    """`settings` is the account's merged section, `approved` the senders that pairing let in, `defaults` is
    `channels.defaults`."""
    if settings.get("enabled") is False:
        return Ignore("account is disabled")
    if message.peer.kind == "direct":
        return _decide_direct(settings, message, approved)
    return _decide_group(settings, message, defaults)


def _decide_direct(settings: Mapping[str, Any], message: Inbound, approved: Collection[str]) -> Verdict:
    policy = settings.get("dmPolicy") or "pairing"
    if policy == "disabled":
        return Ignore("dmPolicy is disabled")
    if policy == "open":
        return Allow()
    listed = _listed(message, settings.get("allowFrom"))
    if listed or (policy != "allowlist" and message.sender.id in approved):
        return Allow()
    return OfferPairing() if policy == "pairing" else Ignore("sender is not in allowFrom")


def _decide_group(settings: Mapping[str, Any], message: Inbound, defaults: Mapping[str, Any]) -> Verdict:
    group = _group_settings(settings, message)
    policy = _group_policy(settings, message, group, defaults)
    if group.get("enabled") is False:
        return Ignore("this group is disabled")
    if policy == "disabled":
        return Ignore("groupPolicy is disabled")
    if not _group_listed(settings, message, policy):
        return Ignore("this group is not in groups")
    senders = _first(group.get("allowFrom"), settings.get("groupAllowFrom") or None, settings.get("allowFrom"))
    if policy == "allowlist" and not _own_group(settings, message, senders) and not _listed(message, senders):
        return Ignore("sender is not in groupAllowFrom" if senders else "groupAllowFrom is empty")
    if policy == "open" and group.get("allowFrom") and not _listed(message, group["allowFrom"]):
        return Ignore("sender is not in this group's allowFrom")
    return Allow(require_mention=bool(_first(group.get("requireMention"), settings.get("requireMention"), True)))


def _group_policy(
    settings: Mapping[str, Any], message: Inbound, group: Mapping[str, Any], defaults: Mapping[str, Any]
) -> str:
    """Without a word anywhere a group is closed (SPEC 2.4), except where the platform's own bots are open by custom."""
    custom = "open" if message.channel in ("whatsapp", "telegram", "discord") else "allowlist"
    return str(_first(group.get("groupPolicy"), settings.get("groupPolicy"), defaults.get("groupPolicy"), custom))


def _own_group(settings: Mapping[str, Any], message: Inbound, senders: Any) -> bool:
    """A Telegram group listed by its own id admits everybody in it when nobody listed senders."""
    groups = settings.get("groups")
    listed = isinstance(groups, Mapping) and bool({message.peer.id, _parent(message)} & {str(key) for key in groups})
    return message.channel == "telegram" and listed and not senders


def _group_listed(settings: Mapping[str, Any], message: Inbound, policy: str) -> bool:
    groups = settings.get("groups")
    if not isinstance(groups, Mapping) or not groups:
        return policy == "open" or message.channel != "telegram"
    keys = {str(key) for key in groups}
    return _ANY in keys or bool({message.peer.id, _parent(message)} & keys)


def _group_settings(settings: Mapping[str, Any], message: Inbound) -> dict[str, Any]:
    """The group's own entry over the `*` entry; a topic over its group."""
    groups = settings.get("groups")
    if not isinstance(groups, Mapping):
        return {}
    by_id = {str(key): value for key, value in groups.items() if isinstance(value, Mapping)}
    merged: dict[str, Any] = {**by_id.get(_ANY, {})}
    group = _parent(message) or message.peer.id
    merged |= by_id.get(group, {})
    if message.parent_peer is not None:
        topics = merged.get("topics")
        topic = topics.get(message.peer.id.rpartition(":")[2]) if isinstance(topics, Mapping) else None
        merged |= topic if isinstance(topic, Mapping) else {}
    return merged


def _parent(message: Inbound) -> str:
    return message.parent_peer.id if message.parent_peer else ""


def _listed(message: Inbound, entries: Any) -> bool:
    wanted = _normalize(message.channel, message.sender.id)
    found = {_normalize(message.channel, str(entry)) for entry in entries or () if isinstance(entry, str | int)}
    return _ANY in found or (wanted != "" and wanted in found)


def _normalize(channel: str, entry: str) -> str:
    """One form for what a config and a platform say of the same person; "" for what can never match."""
    entry = entry.strip()
    if entry == _ANY:
        return entry
    match channel:
        case "telegram":
            entry = entry.lower().removeprefix("telegram:").removeprefix("tg:").strip()
            return entry if entry.isascii() and entry.isdigit() else ""
        case "whatsapp":
            digits = "".join(char for char in entry.partition("@")[0] if char.isdigit())
            return f"+{digits}" if digits else ""
    return entry.removeprefix(f"{channel}:").strip().lower()


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
