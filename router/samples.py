"""The smallest messages that a binding can match: enough to decide exactly what a table does. Pure.

Every field of a binding is a demand that something is there, and more in a message never makes a binding stop
matching. So a binding wins some message if and only if it wins one that holds nothing but what it asks for: one of
its accounts, its peer (or one that no binding names), its server and team, and one of its roles. Those few messages,
run through the real table, prove or refute a statement about all messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count

from protocol.ids import normalize_account_id
from protocol.routes import PeerOf, RoutesConfig, Seen
from router import bindings, routing
from router.bindings import ANY, DIRECT, ROOM, WILDCARD, Rule

#: Platforms whose chats have no servers, teams or roles.
NO_GUILDS = frozenset(
    {"telegram", "irc", "whatsapp", "signal", "imessage", "bluebubbles", "line", "zalo", "zalouser", "nostr"}
)
#: Platforms whose servers hold rooms only: a direct chat there is in no server.
ROOMS_IN_GUILDS = frozenset({"discord"})
#: Ids of people and rooms as each platform writes them, with a place for a number.
_FRESH = {
    "telegram": ("90000000{}", "-10090000000{}"),
    "whatsapp": ("+1555019000{}", "12036390000000000{}@g.us"),
    "signal": ("+1555019000{}", "group-{}"),
    "irc": ("somebody{}", "#somewhere{}"),
}
_FRESH_OTHERWISE = ("somebody{}", "somewhere{}")
_FRESH_ACCOUNT = "some-other-account{}"


class Samples:
    """Makes messages for the bindings of one or two tables, with people, rooms and accounts that none of them names."""

    def __init__(self, rules: Iterable[Rule], accounts: Mapping[str, Collection[str]], *, future: bool = True) -> None:
        """`future` tries accounts too that nobody has configured yet."""
        self._peers: dict[str, set[str]] = {}
        self._names: dict[str, set[str]] = {}
        self._accounts = accounts
        self._future = future
        for rule in rules:
            self._peers.setdefault(rule.channel, set()).add(rule.peer)
            self._names.setdefault(rule.channel, set()).add(rule.account)
        self._fresh: dict[tuple[str, str], str] = {}

    def stranger(self, channel: str, account: str, kind: str = DIRECT) -> Seen:
        """A message from a person or in a room that no binding names."""
        return Seen(channel=channel, account=account, peer=self._peer(channel, kind, ""))

    def is_fresh(self, channel: str, kind: str, id: str) -> bool:
        """Whether this id stands for everybody whom no binding names."""
        return self._fresh.get((channel, kind)) == id

    def smallest(self, rule: Rule, account: str) -> Iterator[Seen]:
        """The smallest messages that `rule` matches on an account it is for."""
        for kind in self._kinds(rule):
            for role in dict.fromkeys(rule.roles) or (None,):
                yield self._message(rule, account, kind, role)
        if rule.peer and rule.tier != WILDCARD and rule.kind == ROOM:
            yield from self._threads(rule, account)

    def accounts_of(self, rule: Rule) -> Sequence[str]:
        """The accounts to try: for `*` one that nobody names first, since there the fewest others match."""
        if rule.account != ANY:
            return (rule.account,)
        known = tuple(self._accounts.get(rule.channel, ()))
        return (self.other_account(rule.channel), *known) if self._future or not known else known

    def other_account(self, channel: str) -> str:
        taken = self._names.get(channel, set()) | set(self._accounts.get(channel, ()))
        return _unused(_FRESH_ACCOUNT, taken, key=(channel, "account"), found=self._fresh)

    def _kinds(self, rule: Rule) -> tuple[str, ...]:
        if rule.kind:
            return (rule.kind,)
        return (ROOM,) if rule.guild and rule.channel in ROOMS_IN_GUILDS else (DIRECT, ROOM)

    def _threads(self, rule: Rule, account: str) -> Iterator[Seen]:
        """A room that no binding names, inside the one the rule names."""
        for role in dict.fromkeys(rule.roles) or (None,):
            inner = self._message(rule, account, ROOM, role)
            yield Seen(
                channel=inner.channel,
                account=account,
                peer=self._peer(rule.channel, ROOM, ""),
                parent_peer=inner.peer,
                guild_id=inner.guild_id,
                team_id=inner.team_id,
                roles=inner.roles,
            )

    def _message(self, rule: Rule, account: str, kind: str, role: str | None) -> Seen:
        named = rule.peer if rule.peer != ANY else ""
        return Seen(
            channel=rule.channel,
            account=account,
            peer=self._peer(rule.channel, kind, named),
            guild_id=rule.guild or None,
            team_id=rule.team or None,
            roles=() if role is None else (role,),
        )

    def _peer(self, channel: str, kind: str, id: str) -> PeerOf:
        template = _FRESH.get(channel, _FRESH_OTHERWISE)[kind == ROOM]
        taken = self._peers.get(channel, set())
        id = id or _unused(template, taken, key=(channel, kind), found=self._fresh)
        return PeerOf(kind="group" if kind == ROOM else kind, id=id)


def of(config: RoutesConfig, rules: Sequence[Rule]) -> Samples:
    return Samples(rules, bindings.accounts(config))


def route_input(message: Seen) -> routing.RouteInput:
    """What the binding table looks at."""
    peer, parent = message.peer, message.parent_peer
    return routing.RouteInput(
        channel=message.channel,
        account=normalize_account_id(message.account),
        peer=(peer.kind, str(peer.id)) if peer else None,
        parent_peer=(parent.kind, str(parent.id)) if parent else None,
        guild="" if message.guild_id is None else str(message.guild_id),
        team="" if message.team_id is None else str(message.team_id),
        roles=message.roles,
    )


def _unused(template: str, taken: Collection[str], *, key: tuple[str, str], found: dict[tuple[str, str], str]) -> str:
    """The first of the template's names that is not taken."""
    if key not in found:
        found[key] = next(name for number in count(1) if (name := template.format(number)) not in taken)
    return found[key]
