"""Discord: direct messages, and guilds with their channels, users and roles (RULES 3.9). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from router.access.entries import ANY, lists, texts
from router.access.verdict import Allow, Ignore, OfferPairing, Verdict, direct_policy, first, group_policy


class Judgement(NamedTuple):
    """The verdict and the group policy it was made by."""

    verdict: Verdict
    policy: str


class Member(NamedTuple):
    """Who writes, and where. `parent` is the channel a thread hangs on."""

    sender: str
    guild: str
    channel: str
    parent: str = ""
    roles: Collection[str] = ()


def judge_private(settings: Mapping[str, Any] | None, sender: str, approved: Collection[str]) -> Verdict:
    """A direct message."""
    policy, known = direct_policy(settings), settings or {}
    dm = known.get("dm")
    if isinstance(dm, Mapping) and dm.get("enabled") is False:
        return Ignore("dm disabled")
    if policy == "disabled":
        return Ignore("dmPolicy=disabled")
    if policy == "open":
        return Allow(reason="dmPolicy=open")
    stored = [] if policy == "allowlist" else texts(approved)
    if lists("discord", sender, [*texts(known.get("allowFrom")), *stored]):
        return Allow(reason=f"dmPolicy={policy} (allowlisted)")
    reason = f"dmPolicy={policy} (not allowlisted)"
    return OfferPairing(reason) if policy == "pairing" else Ignore(reason)


def judge_guild(settings: Mapping[str, Any] | None, defaults: Mapping[str, Any], member: Member) -> Judgement:
    """A message in a guild's channel or thread."""
    policy = group_policy("discord", settings, defaults)
    guilds = _mapping((settings or {}).get("guilds"))
    guild = _entry(guilds, member.guild)
    channels = _mapping(_mapping(guild).get("channels"))
    channel = _channel(channels, member)
    refused = _refused(policy, guilds, guild, channels, channel) or _unwelcome(_mapping(guild), channel, member)
    mention = first(_mapping(channel).get("requireMention"), _mapping(guild).get("requireMention"), True)
    return Judgement(Ignore(refused) if refused else Allow(bool(mention)), policy)


def _refused(
    policy: str,
    guilds: Mapping[str, Any],
    guild: Mapping[str, Any] | None,
    channels: Mapping[str, Any],
    channel: Mapping[str, Any] | None,
) -> str:
    if guilds and guild is None:
        return "guild-not-configured"
    if channel is not None and not _enabled(channel):
        return "channel-disabled"
    if policy == "disabled" or (policy == "allowlist" and (guild is None or (channels and channel is None))):
        return "group-policy"
    return "channel-not-allowed" if channels and channel is None else ""


def _unwelcome(guild: Mapping[str, Any], channel: Mapping[str, Any] | None, member: Member) -> str:
    """The channel's lists of users and roles go over the guild's; one hit is enough."""
    users, roles = (texts(first(_mapping(channel).get(key), guild.get(key))) for key in ("users", "roles"))
    if not users and not roles:
        return ""
    wanted = {role.removeprefix("role:") for role in roles}
    if lists("discord", member.sender, users) or wanted & ({ANY} if member.roles else set()) | wanted & set(
        member.roles
    ):
        return ""
    return "member-not-allowed"


def _channel(channels: Mapping[str, Any], member: Member) -> Mapping[str, Any] | None:
    """The entry of the channel, of the channel a thread hangs on, or of `*`."""
    for name in (member.channel, member.parent, ANY):
        if name and name in channels:
            return _mapping(channels[name])
    return None


def _entry(entries: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = entries.get(name, entries.get(ANY))
    return None if found is None else _mapping(found)


def _enabled(channel: Mapping[str, Any]) -> bool:
    """`allow` is the older spelling of `enabled` (RULES D7)."""
    return first(channel.get("enabled"), channel.get("allow"), True) is not False


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
