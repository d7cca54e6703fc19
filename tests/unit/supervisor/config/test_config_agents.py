"""Who the agents are and where their things lie; the vectors in tests/contract hold the rules in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from protocol.config import Config
from protocol.paths import Paths
from supervisor.config import agents

PATHS = Paths.from_environ({"HOME": "/home/tester", "OPENCLAW_STATE_DIR": "/srv/oc"})


def config(**sections: Any) -> Config:
    return msgspec.convert(sections, Config)


def test_without_a_list_there_is_main() -> None:
    """And it works in the state folder, wherever that is."""
    assert (agents.agent_ids(config()), agents.default_agent_id(config())) == (("main",), "main")
    assert agents.workspace(config(), PATHS, "main") == Path("/srv/oc/workspace")
    assert agents.agent_dir(config(), PATHS, "main") == Path("/srv/oc/agents/main/agent")


def test_sessions_follow_the_store_template() -> None:
    """It names the file, so its folder is meant; without the agent in it all would share one."""
    assert agents.sessions_dir(config(session={"store": "/x/{agentId}/sessions.json"}), PATHS, "a") == Path("/x/a")
    assert agents.sessions_dir(config(session={"store": "/x/s.json"}), PATHS, "a") == Path("/srv/oc/agents/a/sessions")


def test_an_agents_sandbox_fields_stand_over_the_defaults() -> None:
    """Field by field."""
    defaults = {"sandbox": {"mode": "all", "scope": "shared"}}
    both = {"defaults": defaults, "list": [{"id": "a", "sandbox": {"scope": "agent"}}]}
    found = agents.sandbox(config(agents=both), "a")
    assert (found.mode, found.scope) == ("all", "agent")
