"""What of a configuration decides routes, without its secrets: what `openclaw routes` asks the router about.

Pure but for `applied`, the copy of what the running gateway decides by.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.codec import MAX_MESSAGE
from protocol.config import AgentDefaults, AgentTools, Config, Identity, ToolList
from protocol.paths import Paths
from protocol.routes import RoutesAgent, RoutesConfig
from protocol.tool_policy import sandbox_layer
from supervisor.config import agents
from supervisor.config.channels import ENVIRONMENT_TOKENS, LABELS
from supervisor.config.redact import REDACTED, is_secret
from supervisor.config.secretrefs import is_ref
from supervisor.config.slices import group_chat, profile_also, tool_layers


def routes_config(config: Config, environ: Mapping[str, str]) -> RoutesConfig:
    """The part of a configuration that decides routes."""
    return RoutesConfig(
        agents=tuple(_agent(config, one) for one in agents.agent_ids(config)),
        default_agent=agents.default_agent_id(config),
        bindings=config.bindings,
        channels=_channels(config.channels, environ),
        session=config.session,
        messages=config.messages,
        known_channels=tuple(LABELS),
        listed=bool(config.agents.list),
    )


def applied_file(paths: Paths) -> Path:
    """Where the running gateway keeps what it decides by."""
    return paths.run / "applied.json"


def save_applied(paths: Paths, applied: RoutesConfig) -> None:
    """Keep what the gateway decides by from now on. Raises OSError."""
    file = applied_file(paths)
    beside = file.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(applied))
    beside.replace(file)


def load_applied(paths: Paths) -> RoutesConfig | None:
    """What the gateway decides by, or None where it never said so or said it in the words of another version."""
    try:
        with applied_file(paths).open("rb") as stream:
            return msgspec.json.decode(stream.read(MAX_MESSAGE), type=RoutesConfig)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _agent(config: Config, agent_id: str) -> RoutesAgent:
    entry, sandbox = agents.entry(config, agent_id), agents.sandbox(config, agent_id)
    own, model = entry.tools or AgentTools(), agents.model(config, agent_id)[0]
    return RoutesAgent(
        id=agent_id,
        name=agents.display_name(entry),
        tenant=(entry.tenant or "").strip(),
        group_chat=group_chat(entry, config.agents.defaults or AgentDefaults()),
        identity=entry.identity or Identity(),
        tool_profile=own.profile or config.tools.profile or "",
        tool_profile_also=profile_also(config.tools, own),
        tool_layers=tuple(tool_layers(config.tools, own, model)),
        sandbox_tools=sandbox_layer(_sandbox_tools(own), _sandbox_tools(config.tools)),
        sandbox_mode=sandbox.mode or "off",
        sandbox_scope=sandbox.scope or "agent",
        workspace_access=sandbox.workspace_access or "none",
    )


def _sandbox_tools(tools: AgentTools) -> ToolList | None:
    return tools.sandbox.tools if tools.sandbox else None


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
