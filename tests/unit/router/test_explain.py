"""Explain says what the table does: its winner is resolve's, and every reason it gives is true."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.config import Binding, Session, ToolList
from protocol.envelope import Inbound
from protocol.routes import Described, Explained, PeerOf, RoutesAgent, RoutesConfig, Seen, SenderOf
from router import bindings, entry, routing, samples
from router.explain import explain, trace, winner
from tests.unit.router.route_tables import binding, config, messages, open_accounts, peer, rows, tables


def resolved(table: RoutesConfig, message: Seen) -> routing.Resolution:
    return routing.resolve(bindings.table(table), samples.route_input(message))


def tier_of(found: routing.Resolution) -> int:
    return [*bindings.TIERS, "default"].index(found.matched_by)


def told(table: RoutesConfig, message: Described, account: str = "a", approved: tuple[str, ...] = ()) -> Explained:
    return explain(table, entry.inbound(message, account), approved, account_why="")


@given(tables, messages)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_explain_names_the_winner_of_resolve(table: RoutesConfig, message: Seen) -> None:
    """On any table and message: binding, tier, agent, key; and no binding that is said to match does not."""
    found = resolved(table, message)
    said = told(table, as_described(message), message.account or "")
    tiers = trace(bindings.read(table), bindings.facts(samples.route_input(message)))
    assert winner(tiers) == found.binding
    assert (said.agent, said.binding, said.matched_by) == (found.agent, found.binding, found.matched_by)
    assert said.session_key == found.session_key
    assert next(tier.name for tier in said.tiers if tier.state == "won") == found.matched_by
    for tier in said.tiers:
        assert all(bool(tried.why) or tried.binding == found.binding for tried in tier.tried)


def as_described(message: Seen) -> Described:
    fields = {name: getattr(message, name) for name in Seen.__struct_fields__}
    return Described(**fields)


@given(tables, messages, rows(), st.integers(0, 8))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_binding_of_a_lower_tier_never_changes_a_higher_answer(
    table: RoutesConfig, message: Seen, extra: Binding, at: int
) -> None:
    """Wherever in the config it is written."""
    before = resolved(table, message)
    rule = bindings.read(config(extra))[0]
    if bindings.TIERS.index(rule.tier) <= tier_of(before):
        return
    after = resolved(config(*table.bindings[:at], extra, *table.bindings[at:]), message)
    assert (after.agent, after.matched_by) == (before.agent, before.matched_by)


@given(tables, messages)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_within_a_tier_the_order_of_the_config_decides(table: RoutesConfig, message: Seen) -> None:
    """The winner is the first of those of its tier of which every field holds, and no higher tier has one."""
    found, facts = resolved(table, message), bindings.facts(samples.route_input(message))
    rules = bindings.read(table)
    matching = [
        [rule.order for rule in bindings.of_tier(rules, tier) if not list(bindings.misses(rule, tier, facts))]
        for tier in bindings.TIERS
    ]
    first = next((orders for orders in matching if orders), None)
    assert found.binding == (min(first) if first else None)


@given(tables)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_normalising_twice_is_normalising_once(table: RoutesConfig) -> None:
    """A table written down as it was understood is understood the same."""
    rules = bindings.read(table)
    again = [binding(rule.agent, rule.channel, **asked(rule)) for rule in rules]
    read = bindings.read(config(*again))
    assert [rule.asks for rule in read] == [rule.asks for rule in rules]


def asked(rule: bindings.Rule) -> dict[str, object]:
    kind = {"room": "group"}.get(rule.kind, rule.kind)
    match: dict[str, object] = {"accountId": rule.account, "guildId": rule.guild, "teamId": rule.team}
    match |= {"peer": peer(rule.peer, kind)} if rule.peer else {}
    return match | ({"roles": list(rule.roles)} if rule.roles else {})


FAILURES = [
    (binding("work", accountId="a", guildId="G1"), 'guildId "G1" ≠ "G2"'),
    (binding("work", accountId="a", guildId="G2", teamId="T1"), 'teamId "T1" ≠ none'),
    (binding("work", guildId="G2", accountId="b"), 'accountId "b", message is on "a"'),
    (binding("work", guildId="G2"), 'accountId omitted = default account "b", message is on "a"'),
    (binding("work", accountId="a", peer=peer("p", "direct")), "peer kind direct ≠ group/channel"),
    (binding("work", accountId="a", peer=peer("q")), 'peer id "q" ≠ "p"'),
    (binding("work", accountId="a", guildId="G2", roles=["r", "s"]), 'roles "r", "s": the sender has "t"'),
]


@pytest.mark.parametrize(("row", "reason"), FAILURES)
def test_a_binding_that_fails_says_which_field(row: Binding, reason: str) -> None:
    """With what it expects and what the message has."""
    table = config(row, channels={"matrix": open_accounts("a", "b", defaultAccount="b")})
    message = Described(channel="matrix", account="a", peer=PeerOf(kind="group", id="p"), guild_id="G2", roles=("t",))
    tried = [one for tier in told(table, message).tiers for one in tier.tried]
    assert [one.why for one in tried] == [(reason,)]


def direct(person: str, **more: object) -> Described:
    return Described(channel="matrix", account="a", peer=PeerOf(kind="direct", id=person), **more)  # type: ignore[arg-type]


def test_the_session_key_comes_with_its_reason() -> None:
    """dmScope of the binding over that of the session; identity links by name; groups by themselves."""
    plain = told(config(), direct("u"))
    assert plain.session_key == "agent:home:main"
    assert plain.session_why == ("session.dmScope is not set: all direct chats share the agent's main session",)
    session = Session(dm_scope="per-peer", identity_links={"alice": ["matrix:u"]})
    linked = told(config(session=session), direct("u"))
    assert linked.session_key == "agent:home:direct:alice"
    assert linked.session_why[-1] == 'session.identityLinks knows matrix:u as "alice"'
    own = told(config(binding("work", accountId="a", dmScope="per-channel-peer"), session=session), direct("v"))
    assert own.session_why == ("$.bindings[0].session.dmScope = per-channel-peer: a session for each person",)


def test_access_names_the_path_that_decides() -> None:
    """The account's own setting over the channel's; what could be taken away without a difference is not named."""
    section = {"dmPolicy": "open", "allowFrom": ["*"], "accounts": {"a": {"dmPolicy": "allowlist", "allowFrom": ["u"]}}}
    table = config(channels={"matrix": section})
    refused = told(table, direct("v")).access
    assert (refused.verdict, refused.reason) == ("ignored", "the sender is not in allowFrom")
    assert '$.channels.matrix.accounts.a.dmPolicy = "allowlist"' in refused.decided_by
    assert "$.channels.matrix.accounts.a.allowFrom (1 entry)" in refused.decided_by
    assert told(table, direct("u")).access.verdict == "allowed"
    stranger = told(config(channels={"matrix": {"accounts": {"a": {}}}}), direct("u")).access
    assert (stranger.verdict, stranger.decided_by) == ("pairing", ('dmPolicy is not set: "pairing"',))
    paired = told(config(channels={"matrix": {"accounts": {"a": {}}}}), direct("u"), approved=("u",)).access
    assert (paired.verdict, paired.reason) == ("allowed", "the sender is paired with this account")


def test_tools_and_sandbox_are_those_of_the_agent_and_the_session() -> None:
    """A sandbox for all but the main session adds its layer of policy there."""
    agent = RoutesAgent(
        id="home",
        tool_layers=(ToolList(allow=("exec", "read", "cron")),),
        sandbox_tools=ToolList(deny=("exec", "cron")),
        sandbox_mode="non-main",
    )
    table = config(agents=(agent, RoutesAgent(id="work")))
    main = told(table, direct("u"))
    assert (main.tools, main.owner_only, main.sandboxed) == (("exec", "read"), ("cron",), False)
    group = told(table, Described(channel="matrix", account="a", peer=PeerOf(kind="group", id="p")))
    assert (group.tools, group.owner_only, group.sandboxed) == (("read",), (), True)


def test_a_broadcast_group_is_told() -> None:
    """The table's answer alone would mislead."""
    table = config(broadcast={"matrix:p": ["work", "play"]})
    assert told(table, Described(channel="matrix", account="a", peer=PeerOf(kind="group", id="p"))).broadcast == (
        "work",
        "play",
    )


def test_a_message_without_a_peer_is_of_its_sender() -> None:
    """A direct chat; an impossible kind is refused."""
    message: Inbound = entry.inbound(Described(channel="matrix", sender=SenderOf(id="u")), "a")
    assert (message.peer.kind, message.peer.id) == ("direct", "u")
    with pytest.raises(ValueError, match='"room:1" is no peer'):
        entry.inbound(Described(channel="matrix", peer=PeerOf(kind="room", id="1")), "a")
