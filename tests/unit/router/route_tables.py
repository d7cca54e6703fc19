"""Binding tables for tests: small ones at random, sound ones by a seed, and every message that a small one knows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import msgspec
from hypothesis import strategies as st

from protocol.config import Binding
from protocol.routes import PeerOf, RoutesAgent, RoutesConfig, Seen

AGENTS = ("home", "work", "play")
ACCOUNTS = ("a", "b")
CHANNEL = "matrix"
KINDS = ("direct", "group")
PEERS, GUILDS, TEAMS, ROLES = ("p", "q"), ("g", "h"), ("t",), ("r", "s")
KNOWN = ("telegram", "discord", "whatsapp", "slack", "matrix", "irc")


def binding(agent: str, channel: str = CHANNEL, **match: Any) -> Binding:
    """One row: `binding("home", accountId="a")`."""
    scope = match.pop("dmScope", None)
    row: dict[str, Any] = {"agentId": agent, "match": {"channel": channel, **match}}
    return msgspec.convert(row | ({"session": {"dmScope": scope}} if scope else {}), Binding)


def peer(id: str, kind: str = "group") -> dict[str, str]:
    return {"kind": kind, "id": id}


def config(*bindings: Binding, channels: dict[str, Any] | None = None, **more: Any) -> RoutesConfig:
    """A configuration with the agents home (the default one), work and play."""
    if channels is None:
        channels = {CHANNEL: open_accounts(*ACCOUNTS)}
    agents = more.pop("agents", None) or tuple(RoutesAgent(id=one) for one in AGENTS)
    return RoutesConfig(
        agents=agents,
        default_agent=agents[0].id,
        bindings=bindings,
        channels=channels,
        known_channels=KNOWN,
        **more,
    )


def open_accounts(*names: str, **more: Any) -> dict[str, Any]:
    """A channel section whose accounts let everybody in."""
    return {"dmPolicy": "open", "groupPolicy": "open", "accounts": {name: {} for name in names}, **more}


def _some(values: tuple[str, ...]) -> st.SearchStrategy[str | None]:
    return st.one_of(st.none(), st.sampled_from(values))


@st.composite
def rows(draw: st.DrawFn) -> Binding:
    """Any binding over the small pools, mostly with few fields."""
    match: dict[str, Any] = {}
    match["accountId"] = draw(st.sampled_from((None, "*", *ACCOUNTS)))
    match["guildId"], match["teamId"] = draw(_some(GUILDS)), draw(_some(TEAMS))
    if draw(st.booleans()):
        kind = draw(st.sampled_from(("direct", "group", "channel")))
        match["peer"] = peer(draw(st.sampled_from((*PEERS, "*"))), kind)
    if draw(st.booleans()):
        match["roles"] = draw(st.lists(st.sampled_from(ROLES), min_size=1, max_size=2))
    return binding(draw(st.sampled_from(AGENTS)), **{key: value for key, value in match.items() if value is not None})


tables = st.lists(rows(), max_size=8).map(lambda found: config(*found))


def every_message() -> list[Seen]:
    """Every message that tables over the pools can tell apart; `x` and `y` are ids that no binding names. Only rooms
    are inside others."""
    chats = [PeerOf(kind=kind, id=id) for kind in KINDS for id in (*PEERS, "x")]
    parents = [None, *(PeerOf(kind="group", id=id) for id in (*PEERS, "y"))]
    roles = ((), ("r",), ("s",), ("r", "s"))
    return [
        Seen(channel=CHANNEL, account=account, peer=chat, parent_peer=parent, guild_id=guild, team_id=team, roles=held)
        for account, chat, parent, guild, team, held in product(
            ACCOUNTS, chats, parents, (None, *GUILDS, "z"), (None, *TEAMS), roles
        )
        if parent is None or chat.kind != "direct"
    ]


ALL = every_message()
messages = st.sampled_from(ALL)


# --- sound tables ------------------------------------------------------------------------------------------------


def sound(seed: int) -> RoutesConfig:
    """A table without a defect, as somebody who hosts agents for several clients would write it."""
    dice = random.Random(seed)
    agents = tuple(
        RoutesAgent(id=f"agent{number}", tenant=f"client{number % 3}" if seed % 2 else "") for number in range(6)
    )
    channels: dict[str, Any] = {}
    found: list[Binding] = []
    for channel in dice.sample(("telegram", "discord", "slack", "matrix"), dice.randint(1, 3)):
        names = [f"{channel}-{number}" for number in range(dice.randint(1, 4))]
        channels[channel] = open_accounts(*names)
        for name in names:
            owner = dice.choice(agents)
            mates = [one for one in agents if one.tenant == owner.tenant]
            found += _of_account(dice, channel, name, owner, mates)
    dice.shuffle(found)
    return config(*found, channels=channels, agents=agents)


def _of_account(
    dice: random.Random, channel: str, account: str, owner: RoutesAgent, mates: list[RoutesAgent]
) -> Iterator[Binding]:
    """The account's own binding, and more specific ones that differ in what they ask for."""
    sign = "-" if channel == "telegram" else ""
    yield binding(owner.id, channel, accountId=account)
    for number in range(dice.randint(0, 3)):
        yield binding(dice.choice(mates).id, channel, accountId=account, peer=peer(f"{sign}100{number}"))
    for number in range(dice.randint(0, 2)):
        yield binding(dice.choice(mates).id, channel, accountId=account, peer=peer(f"200{number}", "direct"))
    if channel == "discord":
        yield binding(dice.choice(mates).id, channel, accountId=account, guildId="1", roles=["admin"])
        yield binding(dice.choice(mates).id, channel, accountId=account, guildId="1")
    if channel == "slack" and dice.random() < 0.5:
        yield binding(dice.choice(mates).id, channel, accountId=account, teamId="T1")


DEFECTS = ("duplicate", "contradictory", "shadowed", "unreachable", "unknown-agent", "unknown-account", "uncovered")


def seeded(seed: int, defect: str) -> tuple[RoutesConfig, str]:
    """A sound table with one defect, and the path it is to be found at."""
    good = sound(seed)
    dice = random.Random(seed * 31 + DEFECTS.index(defect))
    channel = dice.choice(sorted(good.channels))
    account = dice.choice(sorted(good.channels[channel]["accounts"]))
    owner = next(
        one.agent_id
        for one in good.bindings
        if one.match.channel == channel and one.match.account_id == account and _is_bare(one)
    )
    end = f"$.bindings[{len(good.bindings)}]"
    mates = [one.id for one in good.agents if one.tenant == next(a.tenant for a in good.agents if a.id == owner)]
    other = next(one for one in mates if one != owner)
    if defect == "uncovered":
        section = good.channels[channel]
        more = {**section, "accounts": {**section["accounts"], "forgotten": {}}}
        channels = {**good.channels, channel: more}
        return msgspec.structs.replace(good, channels=channels), f"$.channels.{channel}.accounts.forgotten"
    extra = {
        "duplicate": (binding(owner, channel, accountId=account),),
        "contradictory": (binding(other, channel, accountId=account),),
        "shadowed": (binding(other, channel, accountId=account, dmScope="per-peer", roles=["x"]),),
        "unreachable": (binding(owner, channel, accountId=account, peer={"kind": "direct"}),),
        "unknown-agent": (binding("nobody", channel, accountId=account, peer=peer("300", "direct")),),
        "unknown-account": (binding(owner, channel, accountId="nowhere"),),
    }[defect]
    if defect == "shadowed" and channel == "telegram":
        # There only a rule for every account can be wider; that would cross tenants too.
        extra = (binding(owner, channel, accountId="*", peer=peer("-77")),)
        extra += (binding(other, channel, accountId=account, peer=peer("-77")),)
        end = f"$.bindings[{len(good.bindings) + 1}]"
        agents = tuple(msgspec.structs.replace(one, tenant="") for one in good.agents)
        good = msgspec.structs.replace(good, agents=agents)
    return msgspec.structs.replace(good, bindings=(*good.bindings, *extra)), end


def _is_bare(one: Binding) -> bool:
    return one.match.peer is None and one.match.guild_id is None and one.match.team_id is None
