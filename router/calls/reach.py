"""Which sessions a session may see and talk to (SPEC 6.2). Pure.

Three walls, and a session must be inside of all of them: the tenant, which no other setting can open; agents, opened
by `tools.agentToAgent`; and `tools.sessions.visibility`. The words are those of the original.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from protocol.ids import normalize_agent_id
from protocol.session_key import canonical_main_key, main_session_key, parse_key, store_key
from protocol.slices import Reach

Action = Literal["list", "history", "send", "status"]

_WHAT = {"list": "listing", "history": "history", "send": "messaging", "status": "status"}
_OPENS = {"list": "visibility", "history": "access", "send": "sends", "status": "access"}


class Session(NamedTuple):
    """One session of one agent; `sandboxed` when it is worked on in a container."""

    agent: str
    key: str
    tenant: str = ""
    is_main: bool = False
    sandboxed: bool = False


def resolve(asked: str, own: str, own_key: str, main_key: str | None) -> tuple[str, str]:
    """Agent and full key of what somebody of agent `own` named: a full key, `current`, `main`, or a short form."""
    text = asked.strip().lower()
    if text in ("current", own_key.lower()):
        return own, own_key
    parsed = parse_key(text)
    agent = normalize_agent_id(parsed.agent) if parsed else own
    key = f"agent:{agent}:{parsed.rest}" if parsed else store_key(own, text, main_key)
    return agent, canonical_main_key(agent, key, main_key=main_key)


def is_main(agent: str, key: str, main_key: str | None) -> bool:
    """Whether this is where the agent's direct chats meet."""
    return key == main_session_key(agent, main_key)


def refusal(reach: Reach, action: Action, asks: Session, target: Session) -> str:
    """Why `asks` may not do this with `target`; empty when it may. Whether the target exists plays no part."""
    level = _level(reach, asks)
    if asks.agent != target.agent:
        return _between_agents(reach, action, level, asks, target)
    if level == "self" and asks.key != target.key:
        return f"Session {action} visibility is restricted to the current session (tools.sessions.visibility=self)."
    if level in ("", "tree") and asks.key != target.key:
        return (
            f"Session {action} visibility is restricted to the current session tree (tools.sessions.visibility=tree)."
        )
    return ""


def same_tenant(asks: Session, target: Session) -> bool:
    """Agents of different clients do not exist for each other (ARCHITECTURE 10); the house is a client of its own."""
    return asks.tenant == target.tenant


def _level(reach: Reach, asks: Session) -> str:
    """A sandboxed session sees no further than its own tree."""
    if asks.sandboxed and reach.inside_spawned and reach.visibility != "self":
        return "tree"
    return reach.visibility


def _between_agents(reach: Reach, action: Action, level: str, asks: Session, target: Session) -> str:
    if level not in ("", "all"):
        return _not_across(action)
    if not reach.agent_to_agent:
        what, opens = _WHAT[action], _OPENS[action]
        return f"Agent-to-agent {what} is disabled. Set tools.agentToAgent.enabled=true to allow cross-agent {opens}."
    if not all(_is_allowed(reach, agent) for agent in (asks.agent, target.agent)):
        return f"Agent-to-agent {_WHAT[action]} denied by tools.agentToAgent.allow."
    # Nobody said how far sessions are seen: the two switches open other agents' main sessions, and nothing else.
    return "" if level == "all" or target.is_main else _not_across(action)


def _is_allowed(reach: Reach, agent: str) -> bool:
    return any(name.strip() == "*" or normalize_agent_id(name) == agent for name in reach.allow)


def _not_across(action: Action) -> str:
    return f"Session {action} visibility is restricted. Set tools.sessions.visibility=all to allow cross-agent access."
