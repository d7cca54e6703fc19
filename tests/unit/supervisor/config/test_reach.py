"""Who may talk to whom, as the configuration says it; what cannot be understood is the narrower."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.config import Config
from protocol.slices import Reach
from supervisor.config.reach import reach


def read(**sections: Any) -> Reach:
    return reach(msgspec.convert(sections, Config))


def test_nothing_configured_reaches_nowhere() -> None:
    assert read() == Reach(max_hops=6)
    assert not Reach().agent_to_agent and Reach().allow == ()


def test_agents_may_talk_where_both_switches_are_set() -> None:
    found = read(tools={"agentToAgent": {"enabled": True, "allow": ["a", "b"]}})
    assert (found.agent_to_agent, found.allow, found.visibility) == (True, ("a", "b"), "")
    assert read(tools={"agentToAgent": {"enabled": True}}).allow == ()


@pytest.mark.parametrize(
    ("asked", "found"), [("all", "all"), (" Agent ", "agent"), ("self", "self"), ("everything", "self"), (5, "self")]
)
def test_visibility(asked: object, found: str) -> None:
    assert read(tools={"sessions": {"visibility": asked}}).visibility == found


@pytest.mark.parametrize(("turns", "hops"), [(0, 1), (3, 4), (99, 6), (-1, 1), ("many", 6), (True, 6)])
def test_chains_are_bounded(turns: object, hops: int) -> None:
    assert read(session={"agentToAgent": {"maxPingPongTurns": turns}}).max_hops == hops


def test_other_chats_and_sandboxes() -> None:
    found = read(
        tools={"message": {"crossContext": {"allowWithinProvider": False}}},
        agents={"defaults": {"sandbox": {"sessionToolsVisibility": "all"}}},
    )
    assert not found.same_channel and not found.inside_spawned
    assert read(tools={"message": {"crossContext": {"allowWithinProvider": "maybe"}}}).same_channel is False
