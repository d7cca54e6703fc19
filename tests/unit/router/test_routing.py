"""The binding table: tiers, order, accounts, keys, and that its size costs nothing (SPEC 4.3, appendix B)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.config import Binding, Session
from router.routing import Resolution, RouteInput, Table, build, resolve

AGENTS = ("main", "opus", "work", "fam")
TABLE_X = [
    {"agentId": "work", "match": {"channel": "whatsapp", "accountId": "biz"}},
    {"agentId": "main", "match": {"channel": "whatsapp", "accountId": "*"}},
    {"agentId": "opus", "match": {"channel": "whatsapp", "peer": {"kind": "direct", "id": "+15551234567"}}},
    {
        "agentId": "fam",
        "match": {"channel": "whatsapp", "accountId": "personal", "peer": {"kind": "group", "id": "g"}},
    },
    {"agentId": "opus", "match": {"channel": "discord", "guildId": "G1", "roles": ["R1"]}},
    {"agentId": "work", "match": {"channel": "discord", "guildId": "G1"}},
    {"agentId": "fam", "match": {"channel": "discord", "peer": {"kind": "channel", "id": "C9"}}},
    {"agentId": "work", "match": {"channel": "slack", "teamId": "T1"}},
    {"agentId": "opus", "match": {"channel": "telegram"}},
    {"agentId": "fam", "match": {"channel": "discord", "guildId": "G1", "peer": {"kind": "channel", "id": "C7"}}},
]


def table(rows: list[dict[str, Any]], agents: tuple[str, ...] = AGENTS, **session: Any) -> Table:
    return build(
        msgspec.convert(rows, list[Binding]),
        agents=agents,
        default_agent="main",
        default_accounts={"whatsapp": "biz"},
        session=Session(**session),
    )


def at(channel: str, account: str | None = None, peer: tuple[str, str] | None = None, **more: Any) -> RouteInput:
    return RouteInput(channel=channel, account=account, peer=peer, **more)


def told(found: Resolution) -> tuple[str, str]:
    return found.agent, found.matched_by


GUILD = {"guild": "G1"}
EXAMPLES = [
    (1, at("whatsapp", "biz", ("direct", "+1999")), ("work", "binding.account")),
    (2, at("whatsapp", "personal", ("direct", "+1999")), ("main", "binding.channel")),
    (3, at("whatsapp", "biz", ("direct", "+15551234567")), ("opus", "binding.peer")),
    (4, at("whatsapp", "personal", ("direct", "+15551234567")), ("main", "binding.channel")),
    (5, at("whatsapp", "personal", ("group", "g")), ("fam", "binding.peer")),
    (6, at("whatsapp", "biz", ("group", "g")), ("work", "binding.account")),
    (7, at("discord", "default", ("channel", "C1"), roles=("R1",), **GUILD), ("opus", "binding.guild+roles")),
    (8, at("discord", "default", ("channel", "C1"), **GUILD), ("work", "binding.guild")),
    (9, at("discord", "default", ("channel", "C9"), roles=("R1",), **GUILD), ("fam", "binding.peer")),
    (
        10,
        at("discord", "default", ("channel", "T5"), parent_peer=("channel", "C9"), **GUILD),
        ("fam", "binding.peer.parent"),
    ),
    (11, at("discord", "default", ("channel", "C7"), guild="G2"), ("main", "default")),
    (12, at("discord", "coding", ("channel", "C1"), **GUILD), ("main", "default")),
    (13, at("slack", "default", ("direct", "U1"), team="T1"), ("work", "binding.team")),
    (14, at("telegram", "default", ("direct", "7")), ("opus", "binding.account")),
    (15, at("telegram", "alerts", ("direct", "7")), ("main", "default")),
]


@pytest.mark.parametrize(("number", "message", "expected"), EXAMPLES)
def test_the_examples_of_the_specification(number: int, message: RouteInput, expected: tuple[str, str]) -> None:
    """Appendix B, by its numbers."""
    assert told(resolve(table(TABLE_X), message)) == expected


def test_a_binding_without_account_is_for_the_channels_default_account() -> None:
    """Deliberate difference D4: not for the literal `default`, not for every account."""
    rows = [{"agentId": "opus", "match": {"channel": "whatsapp"}}]
    found = [resolve(table(rows), at("whatsapp", name)).matched_by for name in ("biz", "default", "other")]
    assert found == ["binding.account", "default", "default"]


def test_in_a_tier_the_first_binding_wins_also_between_an_account_and_all_accounts() -> None:
    """Order decides, not which of both is more exact."""
    rows = [
        {"agentId": "fam", "match": {"channel": "telegram", "accountId": "*", "peer": {"kind": "direct", "id": "7"}}},
        {"agentId": "work", "match": {"channel": "telegram", "accountId": "a", "peer": {"kind": "direct", "id": "7"}}},
    ]
    message = at("telegram", "a", ("direct", "7"))
    assert resolve(table(rows), message)[:1] == ("fam",)
    assert resolve(table(rows[::-1]), message)[:1] == ("work",)


def test_a_wildcard_peer_stands_between_the_parent_and_the_guild() -> None:
    """D2: it matches every peer of its kind, and group and channel are one kind."""
    rows = [
        {"agentId": "work", "match": {"channel": "discord", "guildId": "G"}},
        {"agentId": "fam", "match": {"channel": "discord", "peer": {"kind": "group", "id": "*"}}},
    ]
    assert told(resolve(table(rows), at("discord", None, ("channel", "x"), guild="G"))) == (
        "fam",
        "binding.peer.wildcard",
    )
    assert resolve(table(rows), at("discord", None, ("direct", "x"), guild="G")).agent == "work"


def test_an_unknown_agent_wins_its_tier_for_the_default_agent() -> None:
    """D11; with an empty list of agents any id is taken as it is."""
    rows = [{"agentId": "Ghost", "match": {"channel": "irc", "accountId": "*"}}]
    assert told(resolve(table(rows), at("irc"))) == ("main", "binding.channel")
    assert told(resolve(table(rows, agents=()), at("irc"))) == ("ghost", "binding.channel")


@pytest.mark.parametrize(
    "row",
    [
        {"agentId": "opus", "type": "acp", "match": {"channel": "irc"}},
        {"agentId": "opus", "match": {"channel": " "}},
        {"agentId": "opus", "match": {"channel": "irc", "peer": {"kind": "person", "id": "7"}}},
        {"agentId": "opus", "match": {"channel": "irc", "peer": {"kind": "direct", "id": " "}}},
    ],
)
def test_some_bindings_never_match(row: dict[str, Any]) -> None:
    """ACP bindings (D13), and those that name no channel or no possible peer."""
    assert resolve(table([row]), at("irc", "default", ("direct", "7"))).matched_by == "default"


def test_keys_follow_the_scope_of_the_session_and_of_the_binding() -> None:
    """D10: a binding may have a scope of its own; D3: the main key is honoured everywhere."""
    rows = [
        {"agentId": "opus", "match": {"channel": "telegram"}, "session": {"dmScope": "per-peer"}},
        {"agentId": "work", "match": {"channel": "irc"}},
    ]
    made = table(rows, dm_scope="per-account-channel-peer", main_key="Home")
    assert resolve(made, at("telegram", None, ("direct", "7"))).session_key == "agent:opus:direct:7"
    found = resolve(made, at("irc", "Work ", ("direct", "Nick")))
    assert (found.session_key, found.main_session_key) == ("agent:main:irc:work:direct:nick", "agent:main:home")
    assert found.last_route == "session"
    assert resolve(table(rows), at("irc", None, ("direct", "n"))).last_route == "main"


def test_linked_identities_share_one_session() -> None:
    """Appendix B, 18."""
    made = table(TABLE_X, dm_scope="per-peer", identity_links={"Alice": ["telegram:7", "discord:9"]})
    assert resolve(made, at("telegram", None, ("direct", "7"))).session_key == "agent:opus:direct:alice"


def test_the_table_says_what_it_holds() -> None:
    """For a log line."""
    assert repr(table(TABLE_X)) == "<Table 10 bindings, default main>"


ids = st.sampled_from(["a", "b", "*", " "])
matches = st.fixed_dictionaries(
    {"channel": st.just("c")},
    optional={
        "accountId": st.sampled_from(["x", "*", "default"]),
        "peer": st.fixed_dictionaries({"kind": st.sampled_from(["direct", "group", "channel"]), "id": ids}),
        "guildId": ids,
        "teamId": ids,
        "roles": st.lists(st.sampled_from(["r", "s"]), max_size=2),
    },
)
peers = st.none() | st.tuples(st.sampled_from(["direct", "group", "channel"]), st.sampled_from(["a", "b"]))
messages = st.builds(
    RouteInput,
    channel=st.just("c"),
    account=st.sampled_from(["x", "default", None]),
    peer=peers,
    parent_peer=peers,
    guild=st.sampled_from(["", "a"]),
    team=st.sampled_from(["", "a"]),
    roles=st.sets(st.sampled_from(["r", "s"])),
)
TIERS = (
    "binding.peer",
    "binding.peer.parent",
    "binding.peer.wildcard",
    "binding.guild+roles",
    "binding.guild",
    "binding.team",
    "binding.account",
    "binding.channel",
)


def tier_by_hand(match: dict[str, Any], message: RouteInput) -> list[str]:
    """The tiers in which this binding matches, by reading RULES 3.2 word for word."""
    account, roles = (match.get("accountId") or "").strip(), match.get("roles") or []
    guild, team = (match.get(key) or "" for key in ("guildId", "teamId"))
    guild, team = guild.strip(), team.strip()
    if account not in ("*", message.account or "default") and (account or (message.account or "default") != "default"):
        return []
    if (guild and guild != message.guild) or (team and team != message.team):
        return []
    if roles and not set(roles) & set(message.roles):
        return []
    room = {"group": "room", "channel": "room", "direct": "direct"}
    if "peer" in match:
        kind, id = room[match["peer"]["kind"]], match["peer"]["id"].strip()
        same = [
            peer is not None and (room[peer[0]], peer[1]) == (kind, id) for peer in (message.peer, message.parent_peer)
        ]
        wild = id == "*" and message.peer is not None and room[message.peer[0]] == kind
        return [name for name, holds in zip(TIERS[:3], [*same, wild], strict=True) if holds]
    if guild:
        return ["binding.guild+roles" if roles else "binding.guild"]
    if team:
        return ["binding.team"]
    return ["binding.channel" if account == "*" else "binding.account"]


@settings(deadline=None, max_examples=400)
@given(st.lists(matches, max_size=8), messages)
def test_the_index_finds_what_reading_all_bindings_in_order_would_find(
    found: list[dict[str, Any]], message: RouteInput
) -> None:
    """The rule as written, against the index."""
    rows = [{"agentId": f"n{number}", "match": match} for number, match in enumerate(found)]
    expected = next(
        (
            (number, tier)
            for tier in TIERS
            for number, match in enumerate(found)
            if tier in tier_by_hand(match, message)
        ),
        (None, "default"),
    )
    resolution = resolve(table(rows, agents=()), message)
    assert (resolution.binding, resolution.matched_by) == expected


def similar(number: int) -> dict[str, Any]:
    """Bindings that share what they are looked up by first."""
    kinds: list[dict[str, Any]] = [
        {"channel": "d", "guildId": "g", "roles": [f"r{number}"]},
        {"channel": "d", "peer": {"kind": "channel", "id": "same"}, "guildId": f"g{number}"},
        {"channel": "d", "accountId": f"a{number}"},
    ]
    return {"agentId": "opus", "match": kinds[number % 3]}


@pytest.mark.parametrize("count", [10, 30_000])
def test_a_large_table_is_looked_up_by_as_few_keys_as_a_small_one(count: int) -> None:
    """Rules that share a peer, a guild or an account cost nothing: counted in keys, not in time."""
    made = table([similar(number) for number in range(count)])
    assert all(len(shelf.shapes) == 1 for book in made.books.values() for shelf in book.values())
    last = at("d", None, ("channel", "same"), guild="g", roles=(f"r{(count - 1) // 3 * 3}",))
    assert resolve(made, last).binding == (count - 1) // 3 * 3
