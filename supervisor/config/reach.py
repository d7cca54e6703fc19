"""How far tools reach into other sessions and agents, as the router is told it (SPEC 5.5, 6.2). Pure.

What cannot be understood counts as the narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from protocol.config import AgentDefaults, Config, Sandbox
from protocol.slices import Reach

_LEVELS: Mapping[str, Literal["self", "tree", "agent", "all"]] = {
    "self": "self",
    "tree": "tree",
    "agent": "agent",
    "all": "all",
}
#: Most sessions that one thing may wander through (`session.agentToAgent.maxPingPongTurns`, 0 to 5).
MAX_HOPS = 5


def reach(config: Config) -> Reach:
    """How far tools reach."""
    between, sandbox = config.tools.agent_to_agent, (config.agents.defaults or AgentDefaults()).sandbox or Sandbox()
    return Reach(
        agent_to_agent=bool(between and between.enabled),
        allow=tuple(between.allow or ()) if between else (),
        visibility=_visibility(config.tools.sessions),
        inside_spawned=sandbox.session_tools_visibility != "all",
        same_channel=_mapping(_mapping(config.tools.message).get("crossContext")).get("allowWithinProvider", True)
        is True,
        max_hops=_hops(_mapping(config.session.agent_to_agent).get("maxPingPongTurns")),
    )


def _visibility(sessions: Any) -> Literal["", "self", "tree", "agent", "all"]:
    asked = _mapping(sessions).get("visibility")
    return "" if asked is None else _LEVELS.get(str(asked).strip().lower(), "self")


def _hops(value: Any) -> int:
    """One more than the turns that answer: the first message is a hop, too."""
    turns = value if isinstance(value, int) and not isinstance(value, bool) else MAX_HOPS
    return 1 + min(max(turns, 0), MAX_HOPS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
