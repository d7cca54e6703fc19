"""Who the agents are and where their things lie (RULES 3.4). Pure: nothing here touches the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from protocol.config import Agent, Config, ModelChoice
from protocol.ids import DEFAULT_AGENT_ID, normalize_agent_id
from protocol.paths import Paths
from protocol.sandbox import SandboxSettings, resolve


class _Index(NamedTuple):
    """The entries of one configuration by normalised id, and the default one's id."""

    of: tuple[Agent, ...]
    entries: Mapping[str, Agent]
    default: str


#: Of the configuration asked about last: one reading asks many times, and a thousand agents must not cost a million.
_last = _Index((), {}, DEFAULT_AGENT_ID)


def _index(config: Config) -> _Index:
    global _last
    index, listed = _last, config.agents.list
    if index.of is not listed:
        entries: dict[str, Agent] = {}
        for agent in listed:
            entries.setdefault(normalize_agent_id(agent.id), agent)
        chosen = next((agent for agent in listed if agent.default), listed[0] if listed else None)
        _last = index = _Index(listed, entries, normalize_agent_id(chosen.id) if chosen else DEFAULT_AGENT_ID)
    return index


def agent_ids(config: Config) -> tuple[str, ...]:
    """Normalised ids in config order, each once; `main` alone where none is configured."""
    return tuple(_index(config).entries) or (DEFAULT_AGENT_ID,)


def default_agent_id(config: Config) -> str:
    """The first agent marked `default`, else the first, else `main`."""
    return _index(config).default


def entry(config: Config, agent_id: str) -> Agent:
    """The agent's own entry; the first of several, an empty one for an agent that is not listed."""
    wanted = normalize_agent_id(agent_id)
    return _index(config).entries.get(wanted) or Agent(id=wanted)


def display_name(agent: Agent) -> str:
    """What people call it: its name, its identity's name, its id."""
    identity = agent.identity.name if agent.identity else None
    return (agent.name or "").strip() or (identity or "").strip() or normalize_agent_id(agent.id)


def workspace(config: Config, paths: Paths, agent_id: str) -> Path:
    """The folder an agent works in."""
    own = (entry(config, agent_id).workspace or "").strip()
    if own:
        return paths.expand(own)
    shared = ((config.agents.defaults and config.agents.defaults.workspace) or "").strip()
    wanted = normalize_agent_id(agent_id)
    if wanted == default_agent_id(config):
        return paths.expand(shared) if shared else paths.default_workspace
    return paths.expand(shared) / wanted if shared else paths.agent_workspace(wanted)


def agent_dir(config: Config, paths: Paths, agent_id: str) -> Path:
    """Where its auth-profiles.json lies; never shown to a worker."""
    own = (entry(config, agent_id).agent_dir or "").strip()
    return paths.expand(own) if own else paths.agent_dir(normalize_agent_id(agent_id))


def sessions_dir(config: Config, paths: Paths, agent_id: str) -> Path:
    """Where its transcripts lie: `session.store` names the sessions.json in it and must hold `{agentId}`."""
    wanted, store = normalize_agent_id(agent_id), (config.session.store or "").strip()
    if "{agentId}" not in store:
        return paths.sessions(wanted)
    return paths.expand(store.replace("{agentId}", wanted)).parent


def model(config: Config, agent_id: str) -> tuple[str, tuple[str, ...]]:
    """The model an agent uses, empty for "whatever there is", and its fallbacks, aliases resolved (SPEC 5.9.1).

    An agent with a model of its own does not inherit the default's fallbacks.
    """
    defaults = config.agents.defaults
    own = entry(config, agent_id).model or (defaults.model if defaults else None)
    choice = ModelChoice(primary=own) if isinstance(own, str) else own or ModelChoice()
    known = _aliases(config)
    fallbacks = tuple(known.get(name, name) for name in choice.fallbacks or ())
    primary = (choice.primary or "").strip()
    return known.get(primary, primary), fallbacks


def _aliases(config: Config) -> Mapping[str, str]:
    models = (config.agents.defaults and config.agents.defaults.models) or {}
    return {str(one["alias"]): name for name, one in models.items() if isinstance(one, dict) and one.get("alias")}


def sandbox(config: Config, agent_id: str) -> SandboxSettings:
    """The agent's sandbox: its own fields over the defaults'."""
    shared = config.agents.defaults
    return resolve(entry(config, agent_id).sandbox, shared.sandbox if shared else None)
