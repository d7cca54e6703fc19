"""One inbound message through the rules of its platform. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from protocol.envelope import Inbound
from router.access import discord, generic, telegram, whatsapp
from router.access.entries import lists, texts
from router.access.verdict import Ignore, Verdict, direct_policy, judge_direct


def decide(
    settings: Mapping[str, Any],
    message: Inbound,
    approved: Collection[str],
    defaults: Mapping[str, Any],
    own: str = "",
) -> Verdict:
    """`settings` is the account's merged section, `approved` the senders that pairing let in, `defaults` is
    `channels.defaults`, `own` the login's own id where the platform's rules know it."""
    if settings.get("enabled") is False:
        return Ignore("account is disabled")
    if message.peer.kind == "direct":
        return _direct(settings, message, approved, own)
    return _group(settings, message, defaults, own)


def _direct(settings: Mapping[str, Any], message: Inbound, approved: Collection[str], own: str) -> Verdict:
    sender = message.sender.id
    match message.channel:
        case "whatsapp":
            return whatsapp.judge_private(settings, sender, approved, own)
        case "discord":
            return discord.judge_private(settings, sender, approved)
        case "telegram":
            return judge_telegram_private(settings, sender, approved)
    return generic.judge_private(message.channel, settings, (sender,), approved)


def judge_telegram_private(settings: Mapping[str, Any] | None, sender: str, approved: Collection[str]) -> Verdict:
    """Telegram senders are numbers; user names are recycled and never match."""
    policy = direct_policy(settings)
    stored = [] if policy == "allowlist" else texts(approved)
    return judge_direct(policy, lists("telegram", sender, [*texts((settings or {}).get("allowFrom")), *stored]))


def _group(settings: Mapping[str, Any], message: Inbound, defaults: Mapping[str, Any], own: str) -> Verdict:
    sender, parent = message.sender.id, message.parent_peer.id if message.parent_peer else ""
    match message.channel:
        case "whatsapp":
            return whatsapp.judge_group(settings, defaults, sender, message.peer.id, own).verdict
        case "telegram":
            topic = message.peer.id.rpartition(":")[2] if parent else ""
            return telegram.judge_group(settings, defaults, sender, parent or message.peer.id, topic).verdict
        case "discord" if message.guild_id:
            member = discord.Member(sender, message.guild_id, message.peer.id, parent, message.roles)
            return discord.judge_guild(settings, defaults, member).verdict
    return generic.judge_group(message.channel, settings, defaults, (sender,), parent or message.peer.id)
