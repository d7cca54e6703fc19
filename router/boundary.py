"""The messages on which two tables can differ. Pure.

Where two tables answer some message differently, there is a rule that wins in the one and a rule that wins in the
other, and already the smallest message that both match (or that one of them matches, or that none does) is answered
differently: whatever else matches it matched the larger message too. So it is enough to try the smallest messages of
every rule, of strangers, and of every rule that changed together with every other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product, zip_longest

import msgspec

from protocol.routes import PeerOf, Seen
from router import bindings
from router.bindings import ANY, DIRECT, ROOM, WILDCARD, Rule
from router.platforms import without_prefix
from router.prover import Prover
from router.samples import Samples


def messages(old: Prover, new: Prover, samples: Samples, accounts: Mapping[str, Iterable[str]]) -> Iterator[Seen]:
    """Every message worth trying, the broad ones first; some more than once."""
    for channel, ids in accounts.items():
        for account in ids:
            yield from (samples.stranger(channel, account, kind) for kind in (DIRECT, ROOM))
    for prover in (old, new):
        yield from _listed(prover)
    for rule in (*new.rules, *old.rules):
        if not rule.void:
            for account in samples.accounts_of(rule):
                yield from samples.smallest(rule, account)
    yield from _joined(old, new, samples)


def _listed(prover: Prover) -> Iterator[Seen]:
    """The people and groups that settings of access name."""
    for channel, ids in prover.accounts.items():
        for account in ids:
            yield from _broadcast(prover, channel, account)
            settings = prover.settings[channel, account]
            people = settings.get("allowFrom")
            for entry in people if isinstance(people, list | tuple) else ():
                if (person := without_prefix(str(entry))) not in ("", ANY):
                    yield Seen(channel=channel, account=account, peer=PeerOf(kind=DIRECT, id=person))
            groups = settings.get("groups")
            for group in groups if isinstance(groups, Mapping) else ():
                if str(group) != ANY:
                    yield Seen(channel=channel, account=account, peer=PeerOf(kind="group", id=str(group)))


def _broadcast(prover: Prover, channel: str, account: str) -> Iterator[Seen]:
    """The chats of broadcast groups; a key may name the channel."""
    for key, agents in prover.config.broadcast.items():
        named, _, id = key.partition(":")
        id = id if named == channel else key
        for kind in (DIRECT, "group") if isinstance(agents, list | tuple) and id.strip() else ():
            yield Seen(channel=channel, account=account, peer=PeerOf(kind=kind, id=id.strip()))


def _joined(old: Prover, new: Prover, samples: Samples) -> Iterator[Seen]:
    """What a changed rule and any other of its channel match together."""
    by_channel: dict[str, list[Rule]] = {}
    for rule in (*old.rules, *new.rules):
        if not rule.void:
            by_channel.setdefault(rule.channel, []).append(rule)
    for rule in _changed(old.rules, new.rules):
        for other in by_channel.get(rule.channel, ()):
            yield from _join(rule, other, samples)


def _changed(old: Sequence[Rule], new: Sequence[Rule]) -> list[Rule]:
    """The rules that only one table has, or that stand in another place among those of their tier."""
    keys = [Counter(map(_key, table)) for table in (old, new)]
    changed = [rule for rule in old if _key(rule) not in keys[1]] + [rule for rule in new if _key(rule) not in keys[0]]
    common = [[rule for rule in table if all(_key(rule) in one for one in keys)] for table in (old, new)]
    for tier in bindings.TIERS:
        before, after = ([rule for rule in table if rule.tier == tier] for table in common)
        for one, two in zip_longest(before, after):
            if one is None or two is None or _key(one) != _key(two):
                changed += [rule for rule in (one, two) if rule is not None]
    return [rule for rule in changed if not rule.void]


def _key(rule: Rule) -> tuple[object, ...]:
    return (rule.asks, rule.agent, rule.dm_scope)


def _join(one: Rule, two: Rule, samples: Samples) -> Iterator[Seen]:
    """The smallest messages that match both, where there are any beyond those of one alone."""
    accounts, guilds = {one.account, two.account} - {ANY}, {one.guild, two.guild} - {""}
    teams, kinds = {one.team, two.team} - {""}, {one.kind, two.kind} - {""}
    if len(accounts) > 1 or len(guilds) > 1 or len(teams) > 1 or _key(one) == _key(two):
        return
    for account, *roles in product(accounts or samples.accounts_of(one), one.roles or ("",), two.roles or ("",)):
        bare = Seen(
            channel=one.channel,
            account=account,
            guild_id=next(iter(guilds), None),
            team_id=next(iter(teams), None),
            roles=tuple(dict.fromkeys(role for role in roles if role)),
        )
        for peer, parent in _peers(one, two, kinds, account, samples):
            yield msgspec.structs.replace(bare, peer=peer, parent_peer=parent)


def _peers(
    one: Rule, two: Rule, kinds: set[str], account: str, samples: Samples
) -> Iterator[tuple[PeerOf | None, PeerOf | None]]:
    """Chats, and the chats they are in, that both rules match."""
    named = {rule.peer for rule in (one, two) if _names_peer(rule)}
    if len(named) < 2 and len(kinds) < 2:
        for kind in kinds or {DIRECT, ROOM}:
            yield _chat(one, named, kind, account, samples), None
    for outer, inner in ((one, two), (two, one)):
        if _names_peer(outer) and outer.kind == ROOM and inner.kind != DIRECT:
            inside = {inner.peer} if _names_peer(inner) else set()
            parent = PeerOf(kind="group", id=outer.peer)
            yield _chat(one, inside, ROOM, account, samples), parent


def _names_peer(rule: Rule) -> bool:
    return bool(rule.peer) and rule.tier != WILDCARD


def _chat(rule: Rule, named: set[str], kind: str, account: str, samples: Samples) -> PeerOf | None:
    """The chat of this id, or one that no binding names."""
    fresh = samples.stranger(rule.channel, account, kind).peer
    return next((PeerOf(kind="group" if kind == ROOM else kind, id=id) for id in named), fresh)
