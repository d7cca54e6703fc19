"""What the messages of each platform can never have, so that a binding that asks for it waits for ever. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from protocol.routes import PeerOf, Seen
from router.bindings import ANY, DIRECT, ROOM, Rule
from router.samples import NO_GUILDS, ROOMS_IN_GUILDS, Samples

_PREFIX = re.compile(r"(tg|telegram|whatsapp|signal|discord|user|slack|group):", re.IGNORECASE)


class Impossible(NamedTuple):
    """Why nothing matches; `instead` is the message that somebody had in mind."""

    reason: str
    instead: Seen
    hint: str = ""


def without_prefix(entry: str) -> str:
    """A person of an allowlist by the bare id."""
    return _PREFIX.sub("", entry.strip(), count=1).strip()


def impossible(rule: Rule, samples: Samples) -> Impossible | None:
    """Why no message of this platform can match, or None where one can."""
    account = samples.accounts_of(rule)[-1]
    for check in (_guild, _peer_prefix, _peer_kind):
        found = check(rule, account, samples)
        if found is not None:
            return found
    return None


def _guild(rule: Rule, account: str, samples: Samples) -> Impossible | None:
    asked = [name for name, value in (("guildId", rule.guild), ("teamId", rule.team), ("roles", rule.roles)) if value]
    instead = samples.stranger(rule.channel, account, rule.kind or ROOM)
    if asked and rule.channel in NO_GUILDS:
        reason = f"chats on {rule.channel} have no {' and no '.join(asked)}"
        return Impossible(reason, instead, f"remove {' and '.join(asked)}")
    if rule.guild and rule.kind == DIRECT and rule.channel in ROOMS_IN_GUILDS:
        return Impossible(f"a direct chat on {rule.channel} is in no guild", instead, "remove guildId or the peer")
    return None


def _peer_prefix(rule: Rule, account: str, samples: Samples) -> Impossible | None:
    """Allowlists take `tg:123`; bindings compare ids as they are (RULES 3.1)."""
    prefix = _PREFIX.match(rule.peer)
    bare = rule.peer[prefix.end() :] if prefix else ""
    if not bare or rule.channel not in ("telegram", "whatsapp"):
        return None
    reason = f'peer ids of {rule.channel} have no prefix "{prefix.group() if prefix else ""}" in bindings'
    return Impossible(reason, _with_peer(rule, account, rule.kind, bare), f'peer.id: "{bare}"')


def _peer_kind(rule: Rule, account: str, samples: Samples) -> Impossible | None:
    if not rule.peer or rule.peer == ANY:
        return None
    right = _kind_of(rule.channel, rule.peer)
    if right in ("", rule.kind):
        return None
    word = "group" if right == ROOM else "direct"
    reason = f'"{rule.peer}" is the id of a {"group" if right == ROOM else "person"} on {rule.channel}'
    return Impossible(reason, _with_peer(rule, account, right, rule.peer), f'peer.kind: "{word}"')


def _kind_of(channel: str, id: str) -> str:
    """What an id tells of itself; empty where it tells nothing."""
    if channel == "telegram" and re.fullmatch(r"-?\d+(:topic:\d+)?", id):
        return ROOM if id.startswith("-") else DIRECT
    if channel == "whatsapp":
        return ROOM if id.endswith("@g.us") else DIRECT if re.fullmatch(r"\+\d+", id) else ""
    if channel == "irc":
        return ROOM if id[0] in "#&+!" else DIRECT
    return ""


def _with_peer(rule: Rule, account: str, kind: str, id: str) -> Seen:
    peer = PeerOf(kind="group" if kind == ROOM else kind, id=id)
    return Seen(channel=rule.channel, account=account, peer=peer)
