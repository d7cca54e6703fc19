"""What a described message meets at the door: access and mention gate, with the config paths that decide. Pure.

The verdicts are those of `access` and `mentions`. Which path decides is found by asking again without it: a setting
that can be taken away with no other outcome has not decided anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from protocol.accounts import account_settings
from protocol.envelope import Address, Inbound, Peer, PeerKind, Sender
from protocol.ids import normalize_account_id
from protocol.routes import Access, Described, Entry, Mention, RoutesConfig, Seen
from router import access, bindings, mentions

#: Settings that can decide, the policies first.
_KEYS = ("dmPolicy", "groupPolicy", "enabled", "allowFrom", "groupAllowFrom", "groups", "guilds", "requireMention")
_POLICIES = {"direct": "dmPolicy", "group": "groupPolicy", "channel": "groupPolicy"}
_DEFAULTS = {"dmPolicy": "pairing"}

_WORDS = {
    "dm_policy_disabled": "dmPolicy is disabled: no direct messages",
    "dm_policy_not_allowlisted": "the sender is not in allowFrom",
    "group_policy_disabled": "groupPolicy is disabled: no groups",
    "group_policy_empty_allowlist": "groupPolicy is allowlist and nobody is listed in groupAllowFrom or allowFrom",
    "group_policy_not_allowlisted": "the sender is not in groupAllowFrom",
    "group-disabled": "this group is disabled",
    "group-not-listed": "this group is not in groups",
    "group-override-unauthorized": "the sender is not in this group's allowFrom",
}

_Path = tuple[str, ...]


def inbound(message: Seen, account: str) -> Inbound:
    """The described message as the router would have it. Raises ValueError for a peer that cannot be."""
    peer = _peer(message.peer) or Peer("direct", str(message.sender.id) if message.sender else "")
    sender = str(message.sender.id) if message.sender else (peer.id if peer.kind == "direct" else "")
    described = message if isinstance(message, Described) else None
    return Inbound(
        channel=message.channel,
        account=account,
        message_id="described",
        peer=peer,
        parent_peer=_peer(message.parent_peer),
        sender=Sender(sender),
        text=described.text if described else "",
        at=0.0,
        reply=Address(message.channel, account, peer.id),
        guild_id=None if message.guild_id is None else str(message.guild_id),
        team_id=None if message.team_id is None else str(message.team_id),
        roles=message.roles,
        mentioned=described.mentioned if described else False,
    )


def verdict(config: RoutesConfig, settings: Mapping[str, Any], message: Inbound, approved: Collection[str]) -> Entry:
    """What the message meets at an account with these settings, in one word."""
    match access.decide(settings, message, approved, config.channels.get("defaults") or {}):
        case access.Ignore():
            return "ignored"
        case access.OfferPairing():
            return "pairing"
        case _:
            return "allowed"


def decide(config: RoutesConfig, message: Inbound, approved: Collection[str]) -> Access:
    """The verdict of the account, in words, and what decided it."""
    channels = config.channels
    if message.channel not in channels:
        return Access(verdict="closed", reason=f"channel {message.channel} is not configured: nothing comes in")
    found = _ask(channels, message, approved)
    decided = tuple(_decided_by(channels, message, approved, found))
    match found:
        case access.Ignore(reason):
            return Access(verdict="ignored", reason=_words(reason), decided_by=decided)
        case access.OfferPairing():
            return Access(verdict="pairing", reason="a stranger: offered a pairing code", decided_by=decided)
        case _:
            return Access(verdict="allowed", reason=_why_allowed(channels, message, found), decided_by=decided)


def gate(config: RoutesConfig, message: Inbound, agent: str) -> Mention | None:
    """Whether a group message counts as meant for the agent; None where nobody asks for a mention."""
    configured = message.channel in config.channels
    found = _ask(config.channels, message, ()) if configured else access.Allow(require_mention=True)
    if message.peer.kind == "direct" or not isinstance(found, access.Allow):
        return None
    if not found.require_mention:
        return Mention(answered=True, reason="no mention is required here")
    wanted = patterns(config, agent)
    answered = mentions.gate(message, wanted, True)
    if message.mentioned:
        return Mention(answered=True, reason="the platform says that the bot is mentioned")
    if answered and not mentions.named_in(message.text, wanted):
        return Mention(answered=True, reason="mentions cannot be detected here, so none is required")
    if answered:
        return Mention(answered=True, reason=f"the text matches a mention pattern of {agent}")
    named = f" nor a text that matches {bindings.listed(wanted)}" if wanted else ""
    return Mention(answered=False, reason=f"a mention is required; there is none{named}")


def patterns(config: RoutesConfig, agent: str) -> tuple[str, ...]:
    """The mention patterns of an agent."""
    for one in config.agents:
        if one.id == agent:
            return mentions.patterns(one.group_chat, config.messages.group_chat, one.identity)
    return ()


def _peer(peer: Any) -> Peer | None:
    if peer is None:
        return None
    kind = {"dm": "direct"}.get(peer.kind.strip().lower(), peer.kind.strip().lower())
    known: dict[str, PeerKind] = {"direct": "direct", "group": "group", "channel": "channel"}
    if kind not in known or not str(peer.id).strip():
        raise ValueError(f'"{peer.kind}:{peer.id}" is no peer')
    return Peer(known[kind], str(peer.id).strip())


def _ask(channels: Mapping[str, Any], message: Inbound, approved: Collection[str]) -> access.Verdict:
    settings = account_settings(channels.get(message.channel) or {}, message.account, message.channel)
    return access.decide(settings, message, approved, channels.get("defaults") or {})


def _why_allowed(channels: Mapping[str, Any], message: Inbound, found: access.Verdict) -> str:
    if message.peer.kind != "direct":
        return "the group and its sender are admitted"
    if type(_ask(channels, message, ())) is not type(found):
        return "the sender is paired with this account"
    settings = account_settings(channels.get(message.channel) or {}, message.account, message.channel)
    return "everybody may write" if settings.get("dmPolicy") == "open" else "the sender is in allowFrom"


def _decided_by(
    channels: Mapping[str, Any], message: Inbound, approved: Collection[str], found: access.Verdict
) -> Iterator[str]:
    policy, said = _POLICIES[message.peer.kind], False
    for path, value in _settings(channels, message):
        decisive = type(_without(channels, path, message, approved)) is not type(found)
        if decisive or (path[-1] == policy and not said):
            said = said or path[-1] == policy
            yield f"{_dotted(path)}{_shown(value)}"
    if not said and policy in _DEFAULTS:
        yield f'{policy} is not set: "{_DEFAULTS[policy]}"'


def _words(reason: str) -> str:
    """A reason of `access` for people."""
    for ending, words in _WORDS.items():
        if reason.endswith(ending):
            return words
    return reason.replace("_", " ")


def _without(channels: Mapping[str, Any], path: _Path, message: Inbound, approved: Collection[str]) -> access.Verdict:
    return _ask(_removed(channels, path[1:]), message, approved)


def _settings(channels: Mapping[str, Any], message: Inbound) -> Iterator[tuple[_Path, Any]]:
    """Every setting that could decide, most specific first."""
    section = channels.get(message.channel)
    section = section if isinstance(section, Mapping) else {}
    levels: list[tuple[_Path, Any]] = []
    named = section.get("accounts")
    for key, value in named.items() if isinstance(named, Mapping) else ():
        if normalize_account_id(str(key)) == message.account:
            levels.append((("channels", message.channel, "accounts", str(key)), value))
    levels += [(("channels", message.channel), section), (("channels", "defaults"), channels.get("defaults"))]
    for path, level in levels:
        yield from _of_level(path, level, message)


def _of_level(path: _Path, level: Any, message: Inbound) -> Iterator[tuple[_Path, Any]]:
    if not isinstance(level, Mapping):
        return
    for name, ids in (("groups", _group_ids(message)), ("guilds", {message.guild_id or "", "*"})):
        entries = level.get(name)
        for key, entry in entries.items() if isinstance(entries, Mapping) else ():
            if str(key) in ids:
                yield from _of_level((*path, name, key), entry, message)
    for key in _KEYS:
        if key in level:
            yield (*path, key), level[key]


def _group_ids(message: Inbound) -> set[str]:
    return {message.peer.id, message.parent_peer.id if message.parent_peer else "*", "*"}


def _removed(value: Mapping[str, Any], path: _Path) -> dict[str, Any]:
    head, rest = path[0], path[1:]
    if not rest:
        return {key: inner for key, inner in value.items() if key != head}
    return {key: _removed(inner, rest) if key == head else inner for key, inner in value.items()}


def _dotted(path: _Path) -> str:
    return "$." + ".".join(map(str, path))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f" = {str(value).lower()}"
    if isinstance(value, str):
        return f' = "{value}"'
    if isinstance(value, list | tuple):
        return f" ({len(value)} {'entry' if len(value) == 1 else 'entries'})"
    return ""
