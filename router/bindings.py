"""What each binding asks of a message, said field by field: for those who explain and check the table.

`routing` has an index made for speed. Here the same rules stand as plain facts (RULES 3.1, 3.2); a property test holds
that both always agree. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from protocol.accounts import account_ids, account_settings, default_account_id, sections
from protocol.config import Binding
from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id, normalize_agent_id, normalize_channel
from protocol.routes import RoutesConfig
from router import routing

ANY = "*"
ROOM = "room"
DIRECT = "direct"
#: `group` and `channel` are one kind: they match each other (RULES D12).
KINDS = {"direct": DIRECT, "dm": DIRECT, "group": ROOM, "channel": ROOM}

PEER, PARENT, WILDCARD = "binding.peer", "binding.peer.parent", "binding.peer.wildcard"
ROLES, GUILD, TEAM = "binding.guild+roles", "binding.guild", "binding.team"
ACCOUNT, CHANNEL = "binding.account", "binding.channel"
#: In the order they are tried.
TIERS = (PEER, PARENT, WILDCARD, ROLES, GUILD, TEAM, ACCOUNT, CHANNEL)


class Rule(NamedTuple):
    """A binding, normalised. Empty: not asked. `tier` is where it stands; a peer's rule stands in PARENT too.

    `written_account` is empty where the config names none, so that the channel's default account is meant.
    `void` says why no message at all can match.
    """

    order: int
    agent: str
    channel: str
    account: str
    kind: str
    peer: str
    guild: str
    team: str
    roles: tuple[str, ...]
    tier: str
    written_account: str
    dm_scope: str
    void: str

    @property
    def asks(self) -> tuple[object, ...]:
        """What it matches, whoever gets it."""
        roles = tuple(sorted(set(self.roles)))
        return self.channel, self.account, self.kind, self.peer, self.guild, self.team, roles

    def __repr__(self) -> str:
        return f"bindings[{self.order}]→{self.agent}"


class Facts(NamedTuple):
    """A message as the rules see it. Peers are (kind, id), kind `direct` or `room`; None for no such peer."""

    channel: str
    account: str
    peer: tuple[str, str] | None
    parent: tuple[str, str] | None
    guild: str
    team: str
    roles: Collection[str]


def read(config: RoutesConfig) -> list[Rule]:
    """The rules of a table in config order; rows that do not route are left out."""
    known = frozenset(agent.id for agent in config.agents) if config.listed else frozenset()
    defaults = default_accounts(config)
    return [
        _rule(index, binding, known, config.default_agent, defaults)
        for index, binding in enumerate(config.bindings)
        if binding.type == "route"
    ]


def default_accounts(config: RoutesConfig) -> dict[str, str]:
    """The account that a binding without accountId means, by channel."""
    return {name: default_account_id(section) for name, section in sections(config.channels)}


def accounts(config: RoutesConfig) -> dict[str, tuple[str, ...]]:
    """The accounts of every configured channel; those that are switched off are there too."""
    return {name: account_ids(section) for name, section in sections(config.channels)}


def settings(config: RoutesConfig) -> dict[tuple[str, str], dict[str, Any]]:
    """The settings of every (channel, account), each account looked up once: there may be thousands."""
    found = {}
    for channel, section in sections(config.channels):
        own: dict[str, dict[str, Any]] = {}
        named = section.get("accounts")
        for key, value in named.items() if isinstance(named, Mapping) else ():
            own.setdefault(normalize_account_id(str(key)), {str(key): value})
        # An account's settings hang on its own entry, on that of `default`, and on whether there are others.
        shared = {**own.get(DEFAULT_ACCOUNT_ID, {}), **({"": None} if len(own) > 1 else {})}
        for account in account_ids(section):
            alone = {**section, "accounts": {**shared, **own.get(account, {})}}
            found[channel, account] = account_settings(alone, account, channel)
    return found


def table(config: RoutesConfig) -> routing.Table:
    """The very table the gateway would use."""
    return routing.build(
        config.bindings,
        agents=[agent.id for agent in config.agents] if config.listed else (),
        default_agent=config.default_agent,
        default_accounts=default_accounts(config),
        session=config.session,
    )


def facts(message: routing.RouteInput) -> Facts:
    return Facts(
        normalize_channel(message.channel),
        normalize_account_id(message.account),
        _peer(message.peer),
        _peer(message.parent_peer),
        message.guild.strip(),
        message.team.strip(),
        message.roles,
    )


def of_tier(rules: Sequence[Rule], tier: str) -> list[Rule]:
    """The rules tried in a tier, in config order."""
    stands = PEER if tier == PARENT else tier
    return [rule for rule in rules if rule.tier == stands and not rule.void]


def misses(rule: Rule, tier: str, message: Facts) -> Iterator[str]:
    """What of a rule does not hold for a message in a tier; nothing where it matches."""
    if rule.channel != message.channel:
        yield f"channel {quote(rule.channel)} ≠ {quote(message.channel)}"
    if rule.account not in (ANY, message.account):
        yield _account_miss(rule, message)
    yield from _peer_misses(rule, tier, message)
    if rule.guild and rule.guild != message.guild:
        yield f"guildId {quote(rule.guild)} ≠ {quote(message.guild)}"
    if rule.team and rule.team != message.team:
        yield f"teamId {quote(rule.team)} ≠ {quote(message.team)}"
    if rule.roles and not set(rule.roles) & set(message.roles):
        yield f"roles {listed(rule.roles)}: the sender has {listed(message.roles)}"


def quote(text: str) -> str:
    return f'"{text}"' if text else "none"


def listed(names: Collection[str], most: int = 5) -> str:
    """`"a", "b" and 3 more`; `none` for nothing."""
    shown = ", ".join(f'"{name}"' for name in list(names)[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _rule(index: int, binding: Binding, known: frozenset[str], default_agent: str, defaults: Mapping[str, str]) -> Rule:
    match, channel = binding.match, normalize_channel(binding.match.channel)
    written = (match.account_id or "").strip()
    account = ANY if written == ANY else normalize_account_id(written)
    if not written:
        account = defaults.get(channel, DEFAULT_ACCOUNT_ID)
    kind = KINDS.get(match.peer.kind.strip().lower(), "") if match.peer else ""
    peer = _text(match.peer.id) if match.peer else ""
    guild, team, roles = _text(match.guild_id), _text(match.team_id), match.roles or ()
    return Rule(
        index,
        _agent(binding.agent_id, known, default_agent),
        channel,
        account,
        kind,
        peer,
        guild,
        team,
        roles,
        _tier(peer, guild, team, roles, account),
        written,
        (binding.session.dm_scope or "") if binding.session else "",
        _void(binding, channel, kind, peer),
    )


def _void(binding: Binding, channel: str, kind: str, peer: str) -> str:
    if not channel:
        return "it names no channel"
    if binding.match.peer is None:
        return ""
    if not kind:
        return f'peer.kind "{binding.match.peer.kind}" is none of direct, group, channel'
    return "" if peer else "peer.id is empty"


def _tier(peer: str, guild: str, team: str, roles: tuple[str, ...], account: str) -> str:
    if peer:
        return WILDCARD if peer == ANY else PEER
    if guild:
        return ROLES if roles else GUILD
    if team:
        return TEAM
    return CHANNEL if account == ANY else ACCOUNT


def _agent(written: str, known: frozenset[str], default_agent: str) -> str:
    if not written.strip():
        return default_agent
    agent = normalize_agent_id(written)
    return agent if not known or agent in known else default_agent


def _peer(peer: tuple[str, str] | None) -> tuple[str, str] | None:
    if peer is None:
        return None
    kind, id = KINDS.get(peer[0].strip().lower(), ""), peer[1].strip()
    return (kind, id) if kind and id else None


def _account_miss(rule: Rule, message: Facts) -> str:
    named = f'accountId omitted = default account "{rule.account}"'
    if rule.written_account:
        named = f'accountId "{rule.account}"'
    return f'{named}, message is on "{message.account}"'


def _peer_misses(rule: Rule, tier: str, message: Facts) -> Iterator[str]:
    if not rule.peer:
        return
    here, name = (message.parent, "parent peer") if tier == PARENT else (message.peer, "peer")
    if here is None:
        yield f"message has no {name}"
    elif here[0] != rule.kind:
        yield f"{name} kind {_kind(rule.kind)} ≠ {_kind(here[0])}"
    elif rule.tier != WILDCARD and here[1] != rule.peer:
        yield f"{name} id {quote(rule.peer)} ≠ {quote(here[1])}"


def _kind(kind: str) -> str:
    return "group/channel" if kind == ROOM else kind


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value).strip()
