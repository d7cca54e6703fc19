"""Which agent gets a message: the binding table, most specific rule first (RULES 3.2).

A binding belongs to exactly one tier by its most specific field. Tiers are tried in order; in a tier the first binding
in config order of which every field holds wins. `build` makes an index so that `resolve` costs the same for ten
bindings and for a hundred thousand: a rule is found by everything it states at once, and which combinations of fields
are stated at all (the shapes) is known per channel, account and tier.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from protocol.config import Binding, DmScope, Session
from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id, normalize_agent_id, normalize_channel
from protocol.session_key import conversation_key, main_session_key

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
#: Group and channel match each other (RULES D12).
_KINDS = {"direct": "direct", "dm": "direct", "group": "room", "channel": "room"}
#: The tiers below the peer ones, in order; they need no key beyond the fields of the rule.
_LOWER: tuple[tuple[_Bucket, MatchedBy], ...] = (
    ("guild+roles", "binding.guild+roles"),
    ("guild", "binding.guild"),
    ("team", "binding.team"),
    ("account", "binding.account"),
    ("channel", "binding.channel"),
)


class RouteInput(msgspec.Struct, frozen=True, kw_only=True):
    """What of a message decides its route. Peers are (kind, id); guild and team come trimmed from the platform."""

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

    @property
    def last_route(self) -> Literal["main", "session"]:
        """Whose last route this message sets: the main session's, or only its own."""
        return "main" if self.session_key == self.main_session_key else "session"


class Rule(NamedTuple):
    """What is left of a binding once it is in the index."""

    order: int
    agent: str
    dm_scope: DmScope | None


#: Everything a rule states: peer, guild, team, role; None for what it does not. A plain tuple, since one is made for
#: each look-up and a named one costs five times as much.
_Key = tuple[str, str | None, str | None, str | None]


class _Shape(NamedTuple):
    """Which fields a rule states beside its peer."""

    guild: bool
    team: bool
    roles: bool


class _Shelf:
    """The rules of one tier of one account: the first in config order for each key."""

    __slots__ = ("plain", "rules", "shapes")

    def __init__(self) -> None:
        self.rules: dict[_Key, Rule] = {}
        self.shapes: set[_Shape] = set()
        #: No rule here states more than its peer, as in most tables: one look-up decides.
        self.plain = True


_Book = dict[_Bucket, _Shelf]


class Table:
    """The index, and what else decides: a whole configuration's answer to "whose is it?"."""

    def __init__(self, default_agent: str, default_accounts: Mapping[str, str], session: Session) -> None:
        self.books: dict[tuple[str, str], _Book] = {}
        self.default_agent = default_agent
        self.default_accounts = default_accounts
        self.session = session
        self._mains: dict[str, str] = {}

    def main_key(self, agent: str) -> str:
        """The main session of an agent; there are as many as agents, so they are kept."""
        found = self._mains.get(agent)
        if found is None:
            found = self._mains[agent] = main_session_key(agent, self.session.main_key)
        return found

    def __repr__(self) -> str:
        rules = {rule.order for book in self.books.values() for shelf in book.values() for rule in shelf.rules.values()}
        return f"<Table {len(rules)} bindings, default {self.default_agent}>"


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
    table = Table(default_agent, default_accounts, session or Session())
    known = frozenset(agents)
    for index, binding in enumerate(bindings):
        channel = normalize_channel(binding.match.channel)
        if binding.type == "route" and channel:
            own = binding.session.dm_scope if binding.session else None
            rule = Rule(index, _agent(binding, known, default_agent), own)
            _file(table, channel, binding, rule)
    return table


def resolve(table: Table, message: RouteInput) -> Resolution:
    """Route one message. A message that names no account is taken as of the account `default`, as by the original."""
    channel = normalize_channel(message.channel)
    account = normalize_account_id(message.account)
    rule, matched_by = _search(table, channel, account, message)
    agent, session = rule.agent if rule else table.default_agent, table.session
    key = conversation_key(
        agent,
        channel,
        account,
        message.peer,
        dm_scope=(rule and rule.dm_scope) or session.dm_scope or "main",
        main_key=session.main_key,
        identity_links=session.identity_links,
    )
    return Resolution(agent, account, key, table.main_key(agent), matched_by, rule.order if rule else None)


# --- looking up --------------------------------------------------------------------------------------------------


def _search(table: Table, channel: str, account: str, message: RouteInput) -> tuple[Rule | None, MatchedBy]:
    books = [book for name in (account, _ANY) if (book := table.books.get((channel, name)))]
    if books:
        for bucket, matched_by, peer in _tiers(message):
            best: Rule | None = None
            for book in books:
                shelf = book.get(bucket)
                rule = _first(shelf, peer, message) if shelf is not None else None
                # The account's own rules and those of `*` are one list: the earlier binding wins.
                if rule is not None and (best is None or rule.order < best.order):
                    best = rule
            if best is not None:
                return best, matched_by
    return None, "default"


def _tiers(message: RouteInput) -> Iterator[tuple[_Bucket, MatchedBy, str]]:
    """The tiers a message can match in, with the peer each asks for."""
    if peer := _peer(message.peer):
        yield "peer", "binding.peer", peer
    if parent := _peer(message.parent_peer):
        yield "peer", "binding.peer.parent", parent
    if peer:
        yield "wildcard", "binding.peer.wildcard", peer.partition(":")[0]
    for bucket, matched_by in _LOWER:
        yield bucket, matched_by, ""


def _first(shelf: _Shelf, peer: str, message: RouteInput) -> Rule | None:
    """The first rule in config order that states this peer and of which every other field holds too."""
    if shelf.plain:
        return shelf.rules.get((peer, None, None, None))
    found = [rule for key in _keys(shelf, peer, message) if (rule := shelf.rules.get(key))]
    return min(found) if found else None


def _keys(shelf: _Shelf, peer: str, message: RouteInput) -> Iterator[_Key]:
    guild, team = message.guild, message.team
    for shape in shelf.shapes:
        if (shape.guild and not guild) or (shape.team and not team):
            continue
        for role in message.roles if shape.roles else (None,):
            yield peer, guild if shape.guild else None, team if shape.team else None, role


def _peer(peer: tuple[str, str] | None) -> str:
    """`kind:id` as the index has it, empty for a peer that no binding can name."""
    if peer is None:
        return ""
    kind, id = _KINDS.get(peer[0].strip().lower()), peer[1].strip()
    return f"{kind}:{id}" if kind and id else ""


# --- filing ------------------------------------------------------------------------------------------------------


def _file(table: Table, channel: str, binding: Binding, rule: Rule) -> None:
    match = binding.match
    guild, team, roles = _id(match.guild_id) or None, _id(match.team_id) or None, match.roles or ()
    peer, pattern = "", _account_pattern(table, channel, match.account_id)
    if match.peer is not None:
        peer = _peer((match.peer.kind, _id(match.peer.id)))
        if not peer:
            return  # names no possible peer, so it matches no message
    bucket = _bucket(peer, guild, roles, team, pattern)
    shelf = table.books.setdefault((channel, pattern), {}).setdefault(bucket, _Shelf())
    shape = _Shape(guild is not None, team is not None, bool(roles))
    shelf.shapes.add(shape)
    shelf.plain = shelf.plain and not any(shape)
    peer = peer.partition(":")[0] if bucket == "wildcard" else peer
    for role in roles or (None,):
        shelf.rules.setdefault((peer, guild, team, role), rule)


def _bucket(peer: str, guild: str | None, roles: Sequence[str], team: str | None, pattern: str) -> _Bucket:
    if peer:
        return "wildcard" if peer.endswith(f":{_ANY}") and peer.count(":") == 1 else "peer"
    if guild:
        return "guild+roles" if roles else "guild"
    if team:
        return "team"
    return "channel" if pattern == _ANY else "account"


def _agent(binding: Binding, known: frozenset[str], default_agent: str) -> str:
    """The agent a binding leads to: an unknown one still wins its tier, for the default agent (RULES D11)."""
    if not binding.agent_id.strip():
        return default_agent
    agent = normalize_agent_id(binding.agent_id)
    return agent if not known or agent in known else default_agent


def _account_pattern(table: Table, channel: str, account: str | None) -> str:
    """`*`, or the one account a binding is for; unnamed, the channel's default account (RULES D4)."""
    text = (account or "").strip()
    if text == _ANY:
        return _ANY
    return normalize_account_id(text) if text else table.default_accounts.get(channel, DEFAULT_ACCOUNT_ID)


def _id(value: str | int | None) -> str:
    """Ids may be written as numbers."""
    return "" if value is None else str(value).strip()
