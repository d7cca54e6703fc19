"""Which agent gets a message: the binding table, most specific rule first (RULES 3.2).

A binding belongs to exactly one tier by its most specific field. Tiers are tried in order, the first binding in config
order that holds in full wins its tier. `build` makes an index per channel, account and tier key, so that `resolve`
costs the same for ten bindings and for a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from protocol.config import Binding, DmScope, Session
from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id, normalize_agent_id, normalize_channel
from protocol.session_key import main_session_key, peer_session_key

MatchedBy = Literal[
    "binding.peer",
    "binding.peer.parent",
    "binding.peer.wildcard",
    "binding.guild+roles",
    "binding.guild",
    "binding.team",
    "binding.account",
    "binding.channel",
    "default",
]
_Bucket = Literal["peer", "wildcard", "guild+roles", "guild", "team", "account", "channel"]
_ANY = "*"
_KINDS = {"direct": "direct", "dm": "direct", "group": "room", "channel": "room"}


class Rule(msgspec.Struct, frozen=True):
    """One binding, normalised. `kind` has group and channel as one (`room`), since they match each other."""

    index: int
    agent: str
    bucket: _Bucket
    kind: str
    peer: str
    guild: str
    team: str
    roles: frozenset[str]
    dm_scope: DmScope | None


class RouteInput(msgspec.Struct, frozen=True, kw_only=True):
    """What of a message decides its route."""

    channel: str
    account: str | None = None
    peer: tuple[str, str] | None = None
    parent_peer: tuple[str, str] | None = None
    guild: str = ""
    team: str = ""
    roles: Collection[str] = ()


class Resolution(NamedTuple):
    """The decision and its reason. `binding` is the index in the config, None for the default agent."""

    agent: str
    account: str
    session_key: str
    main_session_key: str
    matched_by: MatchedBy
    binding: int | None


class Table(msgspec.Struct):
    """The index: (channel, account or `*`, bucket, key...) -> rules in config order."""

    rules: dict[tuple[str, ...], list[Rule]]
    agents: frozenset[str]
    default_agent: str
    default_accounts: Mapping[str, str]
    session: Session


def build(
    bindings: Sequence[Binding],
    *,
    agents: Collection[str],
    default_agent: str,
    default_accounts: Mapping[str, str],
    session: Session | None = None,
) -> Table:
    """Index the bindings. `agents` are the configured ids (empty: any id is taken as it is); `default_accounts` maps a
    channel to the account that a binding without accountId means."""
    table = Table({}, frozenset(agents), default_agent, default_accounts, session or Session())
    for index, binding in enumerate(bindings):
        channel = normalize_channel(binding.match.channel)
        if binding.type == "route" and channel:
            rule = _rule(index, binding)
            if rule is not None:
                key = (channel, _account_pattern(table, channel, binding), rule.bucket, *_key(rule))
                table.rules.setdefault(key, []).append(rule)
    return table


def resolve(table: Table, message: RouteInput) -> Resolution:
    """Route one message."""
    channel = normalize_channel(message.channel)
    account = normalize_account_id(message.account or table.default_accounts.get(channel))
    rule, matched_by = _search(table, channel, account, message)
    agent = _agent(table, rule)
    kind, peer = message.peer or ("direct", "")
    key = peer_session_key(
        agent,
        channel,
        account,
        kind,
        peer,
        dm_scope=(rule and rule.dm_scope) or table.session.dm_scope or "main",
        main_key=table.session.main_key,
        identity_links=table.session.identity_links,
    )
    return Resolution(
        agent,
        account,
        key,
        main_session_key(agent, table.session.main_key),
        matched_by,
        rule.index if rule else None,
    )


def _search(table: Table, channel: str, account: str, message: RouteInput) -> tuple[Rule | None, MatchedBy]:
    peer, parent = _peer(message.peer), _peer(message.parent_peer)
    tiers: list[tuple[MatchedBy, _Bucket, tuple[str, ...]]] = []
    if peer:
        tiers.append(("binding.peer", "peer", peer))
    if parent:
        tiers.append(("binding.peer.parent", "peer", parent))
    if message.peer:
        kind = _KINDS.get(message.peer[0], "")
        tiers.append(("binding.peer.wildcard", "wildcard", (kind,)))
    if message.guild and message.roles:
        tiers.append(("binding.guild+roles", "guild+roles", (message.guild,)))
    if message.guild:
        tiers.append(("binding.guild", "guild", (message.guild,)))
    if message.team:
        tiers.append(("binding.team", "team", (message.team,)))
    tiers += [("binding.account", "account", ()), ("binding.channel", "channel", ())]
    for matched_by, bucket, key in tiers:
        rule = _first(table, channel, account, bucket, key, message)
        if rule is not None:
            return rule, matched_by
    return None, "default"


def _first(
    table: Table, channel: str, account: str, bucket: _Bucket, key: tuple[str, ...], message: RouteInput
) -> Rule | None:
    """The first rule in config order whose other fields hold too, over the account's own list and the `*` list."""
    best: Rule | None = None
    for pattern in (account, _ANY):
        for rule in table.rules.get((channel, pattern, bucket, *key), ()):
            if best is not None and rule.index > best.index:
                break
            if _holds(rule, message):
                best = rule
                break
    return best


def _holds(rule: Rule, message: RouteInput) -> bool:
    return (
        (not rule.guild or rule.guild == message.guild)
        and (not rule.team or rule.team == message.team)
        and (not rule.roles or not rule.roles.isdisjoint(message.roles))
    )


def _agent(table: Table, rule: Rule | None) -> str:
    if rule is None or not rule.agent:
        return table.default_agent
    agent = normalize_agent_id(rule.agent)
    return agent if not table.agents or agent in table.agents else table.default_agent


def _rule(index: int, binding: Binding) -> Rule | None:
    match = binding.match
    guild, team = _id(match.guild_id), _id(match.team_id)
    roles = frozenset(match.roles or ())
    kind = peer = ""
    if match.peer is not None:
        kind = _KINDS.get(match.peer.kind.strip().lower(), "")
        peer = _id(match.peer.id)
        if not kind or not peer:
            return None
    return Rule(
        index=index,
        agent=binding.agent_id.strip(),
        bucket=_bucket(peer, guild, roles, team, (match.account_id or "").strip()),
        kind=kind,
        peer=peer,
        guild=guild,
        team=team,
        roles=roles,
        dm_scope=binding.session.dm_scope if binding.session else None,
    )


def _bucket(peer: str, guild: str, roles: frozenset[str], team: str, account: str) -> _Bucket:
    if peer:
        return "wildcard" if peer == _ANY else "peer"
    if guild:
        return "guild+roles" if roles else "guild"
    if team:
        return "team"
    return "channel" if account == _ANY else "account"


def _key(rule: Rule) -> tuple[str, ...]:
    match rule.bucket:
        case "peer":
            return (rule.kind, rule.peer)
        case "wildcard":
            return (rule.kind,)
        case "guild+roles" | "guild":
            return (rule.guild,)
        case "team":
            return (rule.team,)
    return ()


def _account_pattern(table: Table, channel: str, binding: Binding) -> str:
    text = (binding.match.account_id or "").strip()
    if text == _ANY:
        return _ANY
    return normalize_account_id(text) if text else table.default_accounts.get(channel, DEFAULT_ACCOUNT_ID)


def _peer(peer: tuple[str, str] | None) -> tuple[str, str] | None:
    if peer is None:
        return None
    kind, id = _KINDS.get(peer[0], ""), peer[1].strip()
    return (kind, id) if kind and id else None


def _id(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
