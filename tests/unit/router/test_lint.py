"""Lint is exact: what it calls dead no message reaches, what it is silent about some message does; each claim is shown
by a message that was really run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from protocol.accounts import account_ids, account_settings
from protocol.config import Binding
from protocol.routes import Finding, Linted, RoutesAgent, RoutesConfig
from router import bindings, routing, samples
from router.lint import lint
from router.tenants import crossings
from tests.unit.router.route_tables import (
    ACCOUNTS,
    ALL,
    DEFECTS,
    binding,
    config,
    open_accounts,
    peer,
    seeded,
    sound,
    tables,
)

ROOT = Path(__file__).parents[3]
DEAD = {"duplicate", "contradictory", "shadowed", "unreachable"}
#: Sound tables are checked in steps, so that a failure names a small range.
STEP = 100


def of(found: Linted, *codes: str) -> list[Finding]:
    return [finding for finding in found.findings if finding.code in codes]


def only(table: RoutesConfig, code: str) -> Finding:
    """The one finding of this kind; its example is what really happens."""
    findings = of(lint(table), code)
    assert len(findings) == 1, lint(table).findings
    verify(table, findings[0])
    return findings[0]


def verify(table: RoutesConfig, finding: Finding) -> None:
    """The counter-example of a finding goes where the finding says."""
    if finding.example is not None:
        found = routing.resolve(bindings.table(table), samples.route_input(finding.example.message))
        said = finding.example
        assert (found.agent, found.binding, found.matched_by) == (said.agent, said.binding, said.matched_by)


@given(tables)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_dead_is_what_no_message_reaches(table: RoutesConfig) -> None:
    """Against every message that such tables can tell apart, one by one; accounts of the future are one more."""
    real = bindings.table(table)
    won = {routing.resolve(real, samples.route_input(message)).binding for message in ALL}
    found = lint(table)
    told = {finding.path for finding in of(found, *DEAD, "idle")}
    rules = bindings.read(table)
    assert told == {f"$.bindings[{rule.order}]" for rule in rules if rule.order not in won}
    for finding in found.findings:
        verify(table, finding)
        if finding.code in DEAD:
            assert finding.example is not None and f"$.bindings[{finding.example.binding}]" != finding.path


@pytest.mark.parametrize("start", range(0, 1000, STEP))
def test_lint_is_silent_on_sound_tables(start: int) -> None:
    """A thousand of them."""
    for seed in range(start, start + STEP):
        assert lint(sound(seed)).findings == (), seed


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_seeded_defect_is_found(defect: str) -> None:
    """At its place and by its name, in 100 tables that are sound otherwise."""
    for seed in range(100):
        table, path = seeded(seed, defect)
        found = lint(table)
        hits = [finding for finding in found.findings if finding.path == path and finding.code == defect]
        assert hits, (seed, path, found.findings)
        assert {finding.path for finding in found.findings if finding.severity != "note"} == {path}, seed
        for finding in found.findings:
            verify(table, finding)


# --- each class by itself ----------------------------------------------------------------------------------------


def test_a_shadowed_binding_names_who_takes_everything() -> None:
    """An earlier one of the same tier that asks for less or the same."""
    finding = only(config(*rows_of_a(), binding("work", accountId="a", roles=["r"])), "shadowed")
    assert finding.path == "$.bindings[2]" and finding.severity == "warning"
    assert finding.message == "bindings[0] is earlier and takes everything it asks for"
    assert finding.example is not None and finding.example.binding == 0


def rows_of_a() -> tuple[Binding, Binding]:
    return binding("home", accountId="a"), binding("home", accountId="b")


def test_several_bindings_together_can_take_everything() -> None:
    """One for each of its roles."""
    guild = {"accountId": "a", "guildId": "g"}
    table = config(
        *rows_of_a(),
        binding("work", **guild, roles=["r"]),
        binding("play", **guild, roles=["s"]),
        binding("home", **guild, roles=["r", "s"]),
    )
    assert only(table, "shadowed").message == "bindings[2] and bindings[3] are earlier and take everything it asks for"


def test_higher_tiers_can_take_everything() -> None:
    """Wildcards for both kinds of peer leave nothing for the account."""
    wide = [binding("work", accountId="a", peer=peer("*", kind)) for kind in ("direct", "group")]
    finding = only(config(*wide, *rows_of_a()), "unreachable")
    assert finding.path == "$.bindings[2]"
    assert finding.message == "bindings[0] and bindings[1] stand higher and take everything it asks for"


def test_the_same_match_twice_is_a_duplicate_or_a_contradiction() -> None:
    """By the agent; numbers and texts, group and channel, and the order of roles are all one."""
    twice = [binding("work", accountId="a", peer=peer(id, kind)) for id, kind in ((7, "group"), ("7", "channel"))]  # type: ignore[arg-type]
    assert only(config(*rows_of_a(), *twice), "duplicate").message == "the same as bindings[2]"
    guild = {"accountId": "a", "guildId": "g"}
    roles = [binding("work", **guild, roles=["r", "s"]), binding("play", **guild, roles=["s", "r"])]
    table = config(*rows_of_a(), *roles)
    finding = only(table, "contradictory")
    assert finding.severity == "error"
    assert finding.message == "asks for the same as bindings[2], which gives it to work and not to play"


def test_an_account_that_no_binding_covers_falls_to_a_named_agent() -> None:
    """With the command that covers it."""
    finding = only(config(binding("work", accountId="a")), "uncovered")
    assert finding.path == "$.channels.matrix.accounts.b"
    assert finding.message == "no binding covers matrix/b: everybody there is answered by the default agent home"
    assert finding.hint == "openclaw agents bind --agent home --bind matrix:b"
    assert of(lint(config()), "uncovered") == [], "without bindings there is nothing to cover"


def test_an_unknown_agent_comes_with_the_one_that_was_meant() -> None:
    """What it matches goes to the default agent, which the example shows."""
    finding = only(config(*rows_of_a(), binding("wrok", accountId="a", peer=peer("7"))), "unknown-agent")
    assert (finding.severity, finding.hint) == ("error", 'did you mean "work"?')
    assert finding.example is not None and finding.example.agent == "home"


def test_an_unknown_account_or_channel_comes_with_the_one_that_was_meant() -> None:
    """A channel that is only not configured yet is a note: it may come."""
    channels = {"telegram": open_accounts("support", "sales")}
    covered = [binding("home", "telegram", accountId="*")]
    table = config(*covered, binding("work", "telegram", accountId="suport"), channels=channels)
    assert only(table, "unknown-account").hint == 'did you mean "support"?'
    table = config(*covered, binding("work", "telegrm"), channels=channels)
    assert only(table, "unknown-channel").hint == 'did you mean "telegram"?'
    table = config(*covered, binding("work", "whatsapp"), channels=channels)
    assert only(table, "unconfigured-channel").severity == "note"


def test_a_binding_without_account_says_which_accounts_it_misses() -> None:
    """FIELD 33. It is silent where the others are somebody's on purpose, or where it says which one it means."""
    rest = binding("home", accountId="*")
    finding = only(config(binding("work", peer=peer("7")), rest), "misses-accounts")
    assert finding.message == 'without accountId it is for the matrix account "a" only; it misses "b"'
    assert finding.example is not None and (finding.example.message.account, finding.example.agent) == ("b", "home")
    assert of(lint(config(binding("work", peer=peer("7"), accountId="a"), rest)), "misses-accounts") == []
    assert of(lint(config(binding("work"), binding("home", accountId="b"))), "misses-accounts") == []


IMPOSSIBLE = [
    (binding("work", "telegram", accountId="a", guildId="1"), "chats on telegram have no guildId"),
    (binding("work", "irc", accountId="a", roles=["op"]), "chats on irc have no roles"),
    (binding("work", "telegram", accountId="a", peer=peer("tg:12", "direct")), 'no prefix "tg:"'),
    (binding("work", "telegram", accountId="a", peer=peer("-1001", "direct")), "is the id of a group on telegram"),
    (binding("work", "telegram", accountId="a", peer=peer("1001")), "is the id of a person on telegram"),
    (binding("work", "whatsapp", accountId="a", peer=peer("1@g.us", "direct")), "is the id of a group on whatsapp"),
    (binding("work", "irc", accountId="a", peer=peer("#room", "direct")), "is the id of a group on irc"),
    (binding("work", "discord", accountId="a", guildId="1", peer=peer("7", "direct")), "is in no guild"),
    (binding("work", "matrix", accountId="a", peer={"kind": "direct"}), "peer.id is empty"),
    (binding("work", "matrix", accountId="a", peer={"kind": "room", "id": "7"}), "none of direct, group, channel"),
]


@pytest.mark.parametrize(("row", "reason"), IMPOSSIBLE)
def test_what_a_platform_never_sends_is_unreachable(row: Binding, reason: str) -> None:
    """With the message that somebody had in mind, and where it goes instead."""
    channel = row.match.channel
    table = config(binding("home", channel, accountId="a"), row, channels={channel: open_accounts("a")})
    finding = only(table, "unreachable")
    assert finding.path == "$.bindings[1]" and reason in finding.message


def test_a_fallback_that_nothing_needs_today_is_a_note() -> None:
    """Every account has its own binding; a new one would fall to it."""
    finding = only(config(*rows_of_a(), binding("work", accountId="*")), "idle")
    assert finding.severity == "note"


# --- tenants -----------------------------------------------------------------------------------------------------

CLIENTS = (RoutesAgent(id="house"), RoutesAgent(id="ann", tenant="a"), RoutesAgent(id="bob", tenant="b"))


def clients(*rows: Binding, house: str = "") -> RoutesConfig:
    agents = (RoutesAgent(id="house", tenant=house), *CLIENTS[1:])
    return config(*rows, agents=agents)


BOTH = (binding("ann", accountId="a"), binding("bob", accountId="b"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (binding("ann", accountId="*", peer=peer("*", "direct")), 'with accountId "*" it gives messages on matrix/b'),
        (binding("ann", accountId="b", peer=peer("7")), "it gives messages on matrix/b, which is tenant b's"),
    ],
)
def test_a_binding_of_one_tenant_over_another_ones_account_is_an_error(row: Binding, words: str) -> None:
    """FIELD S73; the message is shown."""
    finding = only(clients(*BOTH, row), "tenant-crossing")
    assert finding.severity == "error" and finding.path == "$.bindings[2]" and words in finding.message
    assert finding.example is not None and finding.example.agent == "ann"


def test_the_houses_own_agents_cross_nothing() -> None:
    """And neither does a fallback below the tenants' bindings."""
    assert of(lint(clients(*BOTH, binding("house", accountId="*"))), "tenant-crossing") == []
    assert of(lint(clients(*BOTH, binding("ann", accountId="*"))), "tenant-crossing") == []


def test_an_account_that_falls_to_another_tenants_default_agent_is_an_error() -> None:
    """Only some of its people are named."""
    table = clients(BOTH[0], binding("bob", accountId="b", peer=peer("7")), house="a")
    finding = only(table, "tenant-crossing")
    assert "is answered by the default agent house of tenant a" in finding.message


@given(tables)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_crossing_is_told_without_tenants(table: RoutesConfig) -> None:
    """One tenant or none cannot be crossed."""
    from router.prover import Prover

    assert list(crossings(Prover(table))) == []


# --- size --------------------------------------------------------------------------------------------------------


def test_ten_thousand_bindings_take_seconds() -> None:
    """A few lookups each, no comparing of pairs. Measured: 1 s on two slow cores."""
    accounts = [f"acc{number}" for number in range(1000)]
    rows = [binding("work", accountId=account) for account in accounts]
    rows += [binding("play", accountId=accounts[n % 1000], peer=peer(str(n))) for n in range(9000)]
    table = config(*rows, channels={"matrix": open_accounts(*accounts)})
    start = time.process_time()
    assert lint(table).findings == ()
    assert time.process_time() - start < 10


def test_settings_are_those_the_accounts_are_run_with() -> None:
    """Looked up in one walk, with the customs of each platform."""
    section = {
        "groups": {"-1": {"requireMention": False}},
        "botToken": "x",
        "accounts": {"default": {"dmPolicy": "open"}, "B": {"allowFrom": ["1"]}, "c": {"groups": {}}},
    }
    channels = {name: section for name in ("telegram", "whatsapp", "matrix")}
    channels["irc"] = {"accounts": {"only": {"nick": "n"}}}
    found = bindings.settings(config(channels=channels))
    assert set(found) == {(name, one) for name in channels for one in account_ids(channels[name])}
    for (channel, account), one in found.items():
        assert one == account_settings(channels[channel], account, channel)


def test_accounts_of_the_pools_are_those_of_the_tables() -> None:
    """The exhaustive test above counts on it."""
    assert bindings.accounts(config())["matrix"] == ACCOUNTS


def test_the_child_loads_nothing_heavy() -> None:
    """It is started for every question: no event loop, no network, no database until one is asked for."""
    code = "import sys, router.routes, router.explain, router.compare; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"asyncio", "aiohttp", "zmq", "sqlite3", "ssl"} & set(loaded.stdout.split())
