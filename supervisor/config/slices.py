"""Cuts the configuration into what each process may know (ARCHITECTURE 1, 2.15). Never raises for a single secret."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from protocol.approvals import EMPTY as NO_APPROVALS
from protocol.approvals import ApprovalsFile
from protocol.config import Agent, AgentDefaults, AgentTools, Config, GroupChat, Identity, ModelProvider
from protocol.paths import Paths
from protocol.sandbox import Placement
from protocol.slices import RouterAgent, RouterSlice, ToolRules, WorkerSlice
from protocol.slices_proxy import PROVIDER_VARIABLES, AgentSlice, ProviderSlice, ProxySlice
from protocol.tool_layers import inside, profile, profile_also, tool_layers
from supervisor.config import agents, approvals
from supervisor.config.agents import agent_ids, default_agent_id
from supervisor.config.channels import resolve_channels
from supervisor.config.environ import overlay
from supervisor.config.places import Places
from supervisor.config.reach import reach
from supervisor.config.secretrefs import SecretMissing, Vault

__all__ = ["LinkKeys", "agent_ids", "default_agent_id", "proxy_slice", "router_slice", "worker_slice"]

Warn = Callable[[str], None]
#: Ports on 127.0.0.1 where a local model server is looked for; set and empty means nowhere.
PORTS_VARIABLE = "OPENCLAW_LOCAL_MODEL_PORTS"
_VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,127}")


class LinkKeys(msgspec.Struct, frozen=True):
    """The keys minted for one worker's link: CURVE, as Z85 text."""

    router_secret: str
    router_public: str
    worker_secret: str
    worker_public: str

    def __repr__(self) -> str:
        return f"LinkKeys({self.worker_public!r})"


def _be_silent(_: str) -> None:
    pass


def router_slice(
    config: Config,
    paths: Paths,
    environ: Mapping[str, str],
    *,
    token: str,
    host: str,
    port: int,
    warn: Warn = _be_silent,
) -> RouterSlice:
    """What the router is told. An account whose secret cannot be had loses it and is named through `warn`."""
    everything = overlay(paths, environ, config.env)
    vault = Vault(config.secrets, paths, everything)
    return RouterSlice(
        agents=tuple(_router_agent(config, one) for one in agent_ids(config)),
        default_agent=default_agent_id(config),
        bindings=config.bindings,
        channels=resolve_channels(config.channels, vault, everything, paths, warn),
        session=config.session,
        messages=config.messages,
        broadcast=config.broadcast,
        commands=config.commands if isinstance(config.commands, dict) else {},
        reach=reach(config),
        spool=str(paths.spool),
        credentials=str(paths.credentials),
        host=host,
        port=port,
        token=token,
        log_level=log_level(config, environ),
    )


def worker_slice(
    config: Config,
    paths: Paths,
    agent_id: str,
    proxy_token: str,
    places: Places | None = None,
    file: ApprovalsFile = NO_APPROVALS,
) -> WorkerSlice:
    """What one agent's worker on the host is told: its own things only, and without the keys of its link.

    Whoever cuts many hands in the `places` of this configuration. `file` is exec-approvals.json.
    """
    entry, defaults = agents.entry(config, agent_id), config.agents.defaults or AgentDefaults()
    primary, fallbacks = agents.model(config, agent_id)
    own_tools = entry.tools or AgentTools()
    places = places or Places(config, paths)
    cross_agent = _first(_fs(own_tools, "allow_cross_agent"), _fs(config.tools, "allow_cross_agent"), False)
    return WorkerSlice(
        agent=agent_id,
        name=agents.display_name(entry),
        workspace=str(agents.workspace(config, paths, agent_id)),
        sessions=str(agents.sessions_dir(config, paths, agent_id)),
        link_socket=str(paths.link_socket(agent_id)),
        router_public="",
        worker_public="",
        worker_secret="",
        proxy_socket=str(paths.proxy_socket),
        proxy_token=proxy_token,
        model=primary,
        fallbacks=fallbacks,
        identity=entry.identity or Identity(),
        tool_profile=profile(config.tools, own_tools),
        tool_profile_also=profile_also(config.tools, own_tools),
        tool_layers=tool_layers(config.tools, own_tools, primary),
        exec_policy=approvals.policy(config, paths, agent_id, file),
        exec_timeout=_first(_exec_timeout(own_tools), _exec_timeout(config.tools), 1800),
        workspace_only=_first(_fs(own_tools, "workspace_only"), _fs(config.tools, "workspace_only"), False),
        forbidden_paths=places.forbidden(agent_id, cross_agent),
        allowed_paths=places.allowed(agent_id, cross_agent),
        turn_timeout=_first(defaults.timeout_seconds, 600),
        max_concurrent=_first(defaults.max_concurrent, 4),
        context_tokens=_first(entry.context_tokens, defaults.context_tokens, 200_000),
        bootstrap_max_chars=_first(defaults.bootstrap_max_chars, 12_000),
        bootstrap_total_max_chars=_first(defaults.bootstrap_total_max_chars, 60_000),
        skip_bootstrap=_first(defaults.skip_bootstrap, False),
        system_prompt_override=_first(entry.system_prompt_override, defaults.system_prompt_override, None),
        user_timezone=_first(defaults.user_timezone, ""),
        log_level=config.logging.level or "info",
    )


def placement(config: Config, agent_id: str) -> Placement:
    """Where the sessions of an agent are worked on."""
    settings = agents.sandbox(config, agent_id)
    return Placement(
        mode=settings.mode,
        scope=settings.scope,
        tenant=(agents.entry(config, agent_id).tenant or "").strip(),
        main_key=config.session.main_key,
        session_scope=config.session.scope,
    )


def tool_rules(config: Config, agent_id: str) -> ToolRules:
    """The tool policy of an agent, for those who check it."""
    own = agents.entry(config, agent_id).tools or AgentTools()
    primary, _ = agents.model(config, agent_id)
    return ToolRules(
        profile=profile(config.tools, own),
        also=profile_also(config.tools, own),
        layers=tool_layers(config.tools, own, primary),
        inside=inside(config.tools, own),
    )


def proxy_slice(
    config: Config,
    paths: Paths,
    tokens: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    warn: Warn = _be_silent,
) -> ProxySlice:
    """What the cliproxy is told. Its environment holds provider variables only."""
    everything = overlay(paths, environ, config.env)
    vault = Vault(config.secrets, paths, everything)
    providers = config.models.providers or {}
    return ProxySlice(
        socket=str(paths.proxy_socket),
        agents=tuple(_proxy_agent(config, paths, one, tokens[one], vault, warn) for one in agent_ids(config)),
        providers=tuple(_provider(name, one, vault, warn) for name, one in providers.items()),
        environ={name: everything[name] for name in _provider_variables(providers) if everything.get(name)},
        auth_order=_auth_order(config.auth),
        local_ports=_local_ports(environ.get(PORTS_VARIABLE, everything.get(PORTS_VARIABLE)), warn),
        log_level=log_level(config, environ),
    )


def log_level(config: Config, environ: Mapping[str, str]) -> str:
    """OPENCLAW_LOG_LEVEL, else `logging.level`, else info."""
    return environ.get("OPENCLAW_LOG_LEVEL", "").strip().lower() or config.logging.level or "info"


def _router_agent(config: Config, agent_id: str) -> RouterAgent:
    entry, defaults = agents.entry(config, agent_id), config.agents.defaults or AgentDefaults()
    return RouterAgent(
        id=agent_id,
        name=agents.display_name(entry),
        max_concurrent=_first(defaults.max_concurrent, 4),
        placement=placement(config, agent_id),
        tools=tool_rules(config, agent_id),
        elevated=approvals.elevated(config, agent_id),
        group_chat=group_chat(entry, defaults),
        identity=entry.identity or Identity(),
    )


def group_chat(entry: Agent, defaults: AgentDefaults) -> GroupChat:
    """How an agent behaves in groups: its own settings over the defaults'."""
    own, shared = entry.group_chat or GroupChat(), defaults.group_chat or GroupChat()
    return GroupChat(
        mention_patterns=_first(own.mention_patterns, shared.mention_patterns, None),
        history_limit=_first(own.history_limit, shared.history_limit, None),
        visible_replies=_first(own.visible_replies, shared.visible_replies, None),
    )


def _exec_timeout(tools: AgentTools) -> int | None:
    return tools.exec.timeout_sec if tools.exec else None


def _fs(tools: AgentTools | None, field: str) -> bool | None:
    return getattr(tools.fs, field) if tools and tools.fs else None


def _first(*values: Any) -> Any:
    """The first that is set; the last is the default."""
    return next((value for value in values if value is not None), values[-1])


def _proxy_agent(config: Config, paths: Paths, agent_id: str, token: str, vault: Vault, warn: Warn) -> AgentSlice:
    key, problem = agents.entry(config, agent_id).api_key, ""
    try:
        value = vault.value(key) if key is not None else ""
    except SecretMissing as error:
        value, problem = "", f"agents.list: apiKey of agent {agent_id} {error}"
        warn(problem)
    return AgentSlice(
        agent=agent_id,
        token_sha256=hashlib.sha256(token.encode()).hexdigest(),
        agent_dir=str(agents.agent_dir(config, paths, agent_id)),
        api_key=value,
        api_key_problem=problem,
    )


def _provider(name: str, provider: ModelProvider, vault: Vault, warn: Warn) -> ProviderSlice:
    def resolve(what: str, secret: Any) -> str:
        try:
            return vault.value(secret) if secret is not None else ""
        except SecretMissing as error:
            warn(f"models.providers.{name}.{what} {error}")
            return ""

    return ProviderSlice(
        id=name,
        base_url=provider.base_url or "",
        api_key=resolve("apiKey", provider.api_key),
        api=provider.api or "",
        headers={key: resolve(f"headers.{key}", value) for key, value in (provider.headers or {}).items()},
        models=tuple(str(model["id"]) for model in provider.models or () if model.get("id")),
    )


def _provider_variables(providers: Mapping[str, ModelProvider]) -> Iterable[str]:
    """The known ones, and those a provider names as its key (SPEC 2.8, ENV_NAME)."""
    named = (one.api_key for one in providers.values())
    return dict.fromkeys(
        (*PROVIDER_VARIABLES, *(name for name in named if isinstance(name, str) and _VARIABLE_NAME.fullmatch(name)))
    )


def _auth_order(auth: Any) -> dict[str, tuple[str, ...]]:
    order = auth.get("order") if isinstance(auth, dict) else None
    pairs = order.items() if isinstance(order, dict) else ()
    return {str(name): tuple(map(str, ids)) for name, ids in pairs if isinstance(ids, list)}


def _local_ports(text: str | None, warn: Warn) -> tuple[int, ...]:
    """OPENCLAW_LOCAL_MODEL_PORTS: `1234,8000`, empty for none, unset for the well-known ones."""
    if text is None:
        return (11434, 8080, 1234, 8000)
    listed = [part.strip() for part in text.split(",") if part.strip()]
    good = tuple(int(part) for part in listed if part.isdecimal() and 0 < int(part) < 65536)
    if len(good) != len(listed):
        warn(f"OPENCLAW_LOCAL_MODEL_PORTS: {text!r} is not a list of ports such as 1234,8000")
    return good
