"""What of a configuration decides routes, without its secrets: what `openclaw routes` asks the router about.

Pure but for `applied`, which reads what the running gateway decides by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.config import AgentDefaults, AgentTools, Config, Identity
from protocol.errors import UserError
from protocol.paths import Paths
from protocol.routes import RoutesAgent, RoutesConfig
from protocol.tool_layers import inside, profile, profile_also, tool_layers
from supervisor.config import agents
from supervisor.config.channels import ENVIRONMENT_TOKENS, LABELS
from supervisor.config.load import evaluate
from supervisor.config.parse import parse, read_text
from supervisor.config.redact import REDACTED, is_secret
from supervisor.config.secretrefs import is_ref
from supervisor.config.slices import group_chat


def routes_config(config: Config, environ: Mapping[str, str]) -> RoutesConfig:
    """The part of a configuration that decides routes."""
    return RoutesConfig(
        agents=tuple(_agent(config, one) for one in agents.agent_ids(config)),
        default_agent=agents.default_agent_id(config),
        bindings=config.bindings,
        channels=_channels(config.channels, environ),
        session=config.session,
        messages=config.messages,
        broadcast=config.broadcast,
        known_channels=tuple(LABELS),
        listed=bool(config.agents.list),
    )


def applied(paths: Paths, environ: Mapping[str, str]) -> RoutesConfig | None:
    """What the running gateway decides by: the copy of the last configuration it accepted (SPEC 1.6). None where there
    is none, or none that can be read any more."""
    try:
        text = read_text(paths.config.with_name(f"{paths.config.name}.last-good"))
        if text is None:
            return None
        loaded = evaluate(parse(text, paths.config), paths, environ)
    except UserError:
        return None
    return routes_config(loaded.config, loaded.environ)


def _agent(config: Config, agent_id: str) -> RoutesAgent:
    entry, sandbox = agents.entry(config, agent_id), agents.sandbox(config, agent_id)
    own, model = entry.tools or AgentTools(), agents.model(config, agent_id)[0]
    return RoutesAgent(
        id=agent_id,
        name=agents.display_name(entry),
        tenant=(entry.tenant or "").strip(),
        group_chat=group_chat(entry, config.agents.defaults or AgentDefaults()),
        identity=entry.identity or Identity(),
        tool_profile=profile(config.tools, own),
        tool_profile_also=profile_also(config.tools, own),
        tool_layers=tool_layers(config.tools, own, model),
        sandbox_tools=inside(config.tools, own),
        sandbox_mode=sandbox.mode,
        sandbox_scope=sandbox.scope,
        workspace_access=sandbox.workspace_access,
    )


def _channels(channels: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The sections without secrets; a token of the environment makes an account as one in the file does."""
    found = {name: _hidden(section) for name, section in channels.items()}
    for channel, variables in ENVIRONMENT_TOKENS.items():
        given = {key: REDACTED for key, name in variables.items() if environ.get(name)}
        section = found.get(channel) or {}
        if given and isinstance(section, dict):
            found[channel] = {**given, **section}
    return found


def _hidden(value: Any, key: str = "") -> Any:
    if value and is_secret(key) and (isinstance(value, str) or is_ref(value)):
        return REDACTED
    if isinstance(value, dict):
        return {str(name): _hidden(inner, str(name)) for name, inner in value.items()}
    return [_hidden(inner, key) for inner in value] if isinstance(value, list) else value
