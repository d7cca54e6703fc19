"""What an edit changes: everything that it changes and nothing else, in words for people."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hypothesis import given, settings

from protocol.codec import encode
from protocol.config import ToolList
from protocol.routes import Compared, Diff, PeerOf, RoutesAgent, RoutesConfig, Seen
from router import bindings, routing, samples
from router.compare import compare
from router.recent import read_spool
from router.spool.tables import SCHEMA
from tests.unit.router.route_tables import ALL, binding, config, open_accounts, peer, tables


def differ(old: RoutesConfig, new: RoutesConfig, *recent: Seen) -> Compared:
    return compare(Diff(old=old, new=new, recent=recent), (), lambda channel, account: ())


@given(tables, tables)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_change_is_told_if_and_only_if_some_message_changes(old: RoutesConfig, new: RoutesConfig) -> None:
    """Against every message that such tables can tell apart; and each (old agent, new agent) that there is."""
    before, after = bindings.table(old), bindings.table(new)
    moves = set()
    for message in ALL:
        asked = samples.route_input(message)
        one, two = routing.resolve(before, asked).agent, routing.resolve(after, asked).agent
        moves |= {(one, two)} if one != two else set()
    found = differ(old, new)
    assert {(change.old_agent, change.new_agent) for change in found.changes} == moves


@given(tables)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_nothing_changes_when_nothing_changes(table: RoutesConfig) -> None:
    """And the order of bindings that never meet does not count."""
    found = differ(table, table)
    assert (found.changes, found.agents, found.generated_changed) == ((), (), 0)


def test_two_roles_that_change_places_are_told() -> None:
    """Only who has both roles notices."""
    rows = [binding(agent, accountId="a", guildId="g", roles=[role]) for agent, role in (("work", "r"), ("play", "s"))]
    found = differ(config(*rows), config(*reversed(rows)))
    assert [(change.old_agent, change.new_agent) for change in found.changes] == [("work", "play")]
    assert "every other group in guild g with role r and s on matrix/a" in found.changes[0].who


def test_people_are_grouped_and_named() -> None:
    """Those of one peer, everybody else, and every other group; what they gain and lose."""
    agents = (
        RoutesAgent(id="home", tool_layers=(ToolList(deny=("exec",)),)),
        RoutesAgent(id="work", tool_layers=(ToolList(deny=("write", "apply_patch")),)),
    )
    rows = (binding("home", accountId="*"), binding("work", accountId="a", peer=peer("7", "direct")))
    old, new = config(rows[0], agents=agents), config(*rows, agents=agents)
    found = differ(old, new)
    assert len(found.changes) == 1 and found.agents == ()
    change = found.changes[0]
    assert (change.old_agent, change.new_agent, change.who) == ("home", "work", ("7 on matrix/a",))
    assert (change.gains, change.loses) == (("tool exec",), ("tool apply_patch", "tool write"))
    assert (change.old_by, change.new_by) == ("bindings[0]", "bindings[1]")


def test_a_change_of_access_is_told_for_strangers_and_for_those_listed() -> None:
    """An allowlist that loses a name, and a policy that closes."""
    section = {"dmPolicy": "allowlist", "allowFrom": ["tg:1", "2"], "accounts": {"a": {}}}
    old = config(channels={"telegram": section})
    new = config(channels={"telegram": {**section, "allowFrom": ["2"], "groupPolicy": "disabled"}})
    found = differ(old, new)
    assert "2 on telegram/a" not in [name for change in found.changes for name in change.who]
    lost = next(change for change in found.changes if "1 on telegram/a" in change.who)
    assert (lost.old_access, lost.new_access) == ("allowed", "ignored")
    assert lost.loses == ("access to agent home",)


def test_an_agent_that_may_do_more_is_told_once() -> None:
    """Not once for each of its people."""
    bare = (RoutesAgent(id="home"), RoutesAgent(id="work", tool_profile="minimal"))
    free = (RoutesAgent(id="home"), RoutesAgent(id="work", sandbox_mode="all"), RoutesAgent(id="new"))
    found = differ(config(agents=bare), config(agents=free))
    assert found.changes == ()
    assert [(change.agent, change.state) for change in found.agents] == [("new", "new"), ("work", "changed")]
    assert found.agents[1].sandbox.startswith("off: on this machine, no container → all: in a container")


def test_broadcast_groups_count() -> None:
    """The table is not asked there."""
    old = config(binding("home", accountId="*"))
    found = differ(old, config(binding("home", accountId="*"), broadcast={"matrix:7": ["work", "play"]}))
    assert {(change.old_agent, change.new_agent) for change in found.changes} == {("home", "work and play")}


def test_an_account_that_goes_away_is_told() -> None:
    """Its people are left without an answer."""
    old = config(binding("home", accountId="*"))
    new = config(binding("home", accountId="*"), channels={"matrix": open_accounts("a")})
    found = differ(old, new)
    assert [(change.new_access, change.loses) for change in found.changes] == [("absent", ("access to agent home",))]
    assert all(name.endswith("on matrix/b") for name in found.changes[0].who)


def test_recent_messages_are_counted_apart() -> None:
    """They name real people; a row that is no message is passed over."""
    person = Seen(channel="matrix", account="a", peer=PeerOf(kind="direct", id="u1"))
    broken = Seen(channel="matrix", account="a", peer=PeerOf(kind="room", id="u1"))
    old, new = config(binding("home", accountId="*")), config(binding("work", accountId="*"))
    found = differ(old, new, person, person, broken)
    assert (found.recent, found.recent_changed) == (2, 2)
    assert found.changes[0].recent == 2 and "u1 on matrix/a" in found.changes[0].who


def test_the_spool_is_read_without_its_texts_and_without_writing(tmp_path: Path) -> None:
    """Only what decides a route is decoded; a spool that is not there, or is none, is no recent messages."""
    path = tmp_path / "spool.sqlite"
    assert read_spool(str(path)) == () and not path.exists()
    message = {"channel": "matrix", "account": "a", "peer": {"kind": "direct", "id": "u"}, "text": "secret"}
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        for number, data in enumerate((encode(message), b"broken")):
            connection.execute(
                "INSERT INTO inbox (n, agent, session_key, origin, channel, account, message_id, message, created_at)"
                " VALUES (?, 'home', 'k', 'o', 'matrix', 'a', ?, ?, 0)",
                (number, str(number), data),
            )
    connection.close()
    before = path.read_bytes()
    assert read_spool(str(path)) == (Seen(channel="matrix", account="a", peer=PeerOf(kind="direct", id="u")),)
    assert path.read_bytes() == before
    path.write_text("no database")
    assert read_spool(str(path)) == ()
