"""Rows of the binding table come and go by the rules; the vectors in tests/contract hold them in full."""

from __future__ import annotations

from typing import Any

from supervisor.config.bindings import bind, describe_fully, parse_specs, unbind


def row(agent: str, channel: str, account: str = "", **match: Any) -> dict[str, Any]:
    return {"agentId": agent, "match": {"channel": channel, **({"accountId": account} if account else {}), **match}}


def test_a_channel_only_row_is_given_the_account_in_place() -> None:
    """Position and comment stay; another agent's row is left alone."""
    table = [{**row("work", "telegram"), "comment": "mine"}, row("main", "irc")]
    done = bind(table, [row("work", "telegram", "a")])
    assert done.bindings == [{**row("work", "telegram", "a"), "comment": "mine"}, row("main", "irc")]
    assert (len(done.updated), done.added, done.conflicts) == (1, [], [])
    assert bind([row("main", "telegram")], [row("work", "telegram", "a")]).added == [row("work", "telegram", "a")]


def test_a_row_of_another_agent_is_a_conflict() -> None:
    """A missing account is the account `default`."""
    done = bind([row("main", "telegram")], [row("work", "telegram", "default")])
    assert [one.owner for one in done.conflicts] == ["main"] and done.bindings == [row("main", "telegram")]


def test_a_row_is_taken_away_from_its_owner_only() -> None:
    """What is not there is told."""
    table = [row("main", "irc"), row("work", "irc", "b")]
    done = unbind(table, [row("work", "irc", "b"), row("work", "irc"), row("work", "slack")])
    assert (done.bindings, done.removed) == ([row("main", "irc")], [row("work", "irc", "b")])
    assert [one.owner for one in done.conflicts] == ["main"] and done.missing == [row("work", "slack")]


def test_a_row_is_described_in_one_line() -> None:
    """Every field that is there."""
    full = row("a", "discord", "x", peer={"kind": "group", "id": 5}, guildId="g", teamId="t", roles=["r", "s"])
    assert describe_fully(full) == "discord accountId=x peer=group:5 guild=g team=t roles=r,s"


def test_all_mistakes_of_a_command_are_found() -> None:
    """Before anything is written."""
    rows, errors = parse_specs("Work", [" Telegram : A ", "irc:", "nope"], {"telegram", "irc"})
    assert rows == [{"type": "route", **row("work", "telegram", "A")}]
    assert errors == ['Invalid binding "irc:" (empty account id).', 'Unknown channel "nope".']
