"""Agents enter and leave the configuration with everything that is theirs."""

from __future__ import annotations

from supervisor.config.roster import prune, put


def test_the_first_agent_added_does_not_become_the_default() -> None:
    """`main` is written before it."""
    assert put({}, "work", {"name": " W ", "model": None}) == {
        "agents": {"list": [{"id": "main"}, {"id": "work", "name": "W"}]}
    }


def test_an_agent_that_is_there_is_updated_in_place() -> None:
    """Its other keys stay."""
    config = {"agents": {"defaults": {}, "list": [{"id": "Work", "tools": {}}, {"id": "b"}]}}
    assert put(config, "work", {"name": "W"})["agents"]["list"][0] == {"id": "Work", "tools": {}, "name": "W"}


def test_an_agent_takes_its_bindings_and_permissions_along() -> None:
    """Emptied lists vanish."""
    config = {
        "agents": {"list": [{"id": "work"}]},
        "bindings": [{"agentId": "Work", "match": {"channel": "irc"}}],
        "tools": {"agentToAgent": {"enabled": True, "allow": ["work"]}},
    }
    assert prune(config, "work") == ({"agents": {}, "tools": {"agentToAgent": {"enabled": True}}}, 1, 1)
