"""The schema of `openclaw.json`, for every process that is handed a part of it.

Keys and defaults: SPEC 2. Field names are the file's names in snake_case. Sections of the original that this gateway
does not use are `Any`: accepted and kept. Reading, `$include`, `${VAR}` and secrets belong to `supervisor/config`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

DmPolicy = Literal["pairing", "allowlist", "open", "disabled"]
GroupPolicy = Literal["allowlist", "open", "disabled"]
DmScope = Literal["main", "per-peer", "per-channel-peer", "per-account-channel-peer"]
Ids = tuple[str | int, ...]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
#: 0 lets the system choose, which only tests want.
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Switch = Literal["on", "off"]
Thinking = Literal["off", "minimal", "low", "medium", "high", "xhigh", "adaptive", "max"]
Profile = Literal["minimal", "coding", "messaging", "full"]


class Section(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Base of every config object: camelCase in the file, defaults left out when written."""


class SecretRef(Section, frozen=True, kw_only=True):
    """A secret kept elsewhere: SPEC 1.5."""

    source: Literal["env", "file", "exec"]
    id: str
    provider: str = "default"


Secret = str | SecretRef


class PeerMatch(Section, frozen=True, kw_only=True):
    """The peer of a binding. Kind and id are kept as written; the router normalises them (RULES 3.1)."""

    kind: str = ""
    id: str | int | None = None


class Match(Section, frozen=True, kw_only=True):
    """Which messages a binding is for. Every field that is there must hold."""

    channel: str
    account_id: str | None = None
    peer: PeerMatch | None = None
    guild_id: str | int | None = None
    team_id: str | int | None = None
    roles: tuple[str, ...] | None = None


class BindingSession(Section, frozen=True, kw_only=True):
    dm_scope: DmScope | None = None


class Binding(Section, frozen=True, kw_only=True):
    """One row of the binding table."""

    agent_id: str
    match: Match
    type: Literal["route", "acp"] = "route"
    comment: str | None = None
    session: BindingSession | None = None
    acp: Any = None


class Identity(Section, frozen=True, kw_only=True):
    name: str | None = None
    theme: str | None = None
    emoji: str | None = None
    avatar: str | None = None


class GroupChat(Section, frozen=True, kw_only=True):
    """How an agent behaves in groups. An empty pattern list is a choice; None means "not set"."""

    mention_patterns: tuple[str, ...] | None = None
    history_limit: Positive | None = None
    visible_replies: Literal["automatic", "message_tool"] | None = None


class ModelChoice(Section, frozen=True, kw_only=True):
    primary: str | None = None
    fallbacks: tuple[str, ...] | None = None
    timeout_ms: Positive | None = None


class ToolList(Section, frozen=True, kw_only=True):
    """One layer of tool policy."""

    allow: tuple[str, ...] | None = None
    also_allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None


class SandboxTools(Section, frozen=True, kw_only=True):
    tools: ToolList | None = None


class ProviderTools(ToolList, frozen=True, kw_only=True):
    profile: Profile | None = None


class AgentToAgent(Section, frozen=True, kw_only=True):
    enabled: bool = False
    allow: tuple[str, ...] | None = None


class ExecTool(Section, frozen=True, kw_only=True):
    """`tools.exec`. Times are in seconds unless the name says otherwise."""

    host: Literal["auto", "sandbox", "gateway", "node"] | None = None
    security: Literal["deny", "allowlist", "full"] | None = None
    ask: Literal["off", "on-miss", "always"] | None = None
    node: str | None = None
    path_prepend: tuple[str, ...] | None = None
    safe_bins: tuple[str, ...] | None = None
    background_ms: Natural | None = None
    timeout_sec: Positive | None = None
    cleanup_ms: Natural | None = None
    notify_on_exit: bool | None = None
    notify_on_exit_empty_success: bool | None = None
    strict_inline_eval: bool | None = None
    apply_patch: Any = None


class FsTools(Section, frozen=True, kw_only=True):
    workspace_only: bool | None = None
    allow_cross_agent: bool | None = None


class ElevatedTool(Section, frozen=True, kw_only=True):
    """`tools.elevated`: senders by channel who may have commands run outside of the sandbox."""

    enabled: bool | None = None
    allow_from: dict[str, Ids] | None = None


class AgentTools(ToolList, frozen=True, kw_only=True):
    """`agents.list[].tools`."""

    profile: Profile | None = None
    by_provider: dict[str, ProviderTools] | None = None
    exec: ExecTool | None = None
    fs: FsTools | None = None
    sandbox: SandboxTools | None = None
    elevated: ElevatedTool | None = None
    loop_detection: Any = None


class Tools(AgentTools, frozen=True, kw_only=True):
    """The global `tools` section."""

    agent_to_agent: AgentToAgent | None = None
    sessions: Any = None
    web: Any = None
    media: Any = None
    subagents: Any = None
    message: Any = None
    experimental: Any = None
    sessions_spawn: Any = msgspec.field(default=None, name="sessions_spawn")
    links: Any = None


class Sandbox(Section, frozen=True, kw_only=True):
    """`sandbox`, at defaults and per agent."""

    mode: Literal["off", "non-main", "all"] | None = None
    backend: str | None = None
    scope: Literal["session", "agent", "shared"] | None = None
    per_session: bool | None = None
    workspace_access: Literal["none", "ro", "rw"] | None = None
    workspace_root: str | None = None
    session_tools_visibility: Literal["spawned", "all"] | None = None
    docker: dict[str, Any] | None = None
    browser: Any = None
    ssh: Any = None
    prune: dict[str, Natural] | None = None


#: A number of bytes as Docker writes it.
Size = Annotated[str, msgspec.Meta(pattern="^[0-9]+(\\.[0-9]+)?[kmgt]?$", examples=["512m", "2g"])]


class AgentLimits(Section, frozen=True, kw_only=True):
    """`limits`, at defaults and per agent: what all processes of an agent on the host may use together. Ours.

    `memory` in bytes or as `512m`, `2g`; `cpus` in processors; `disk`, written as `memory` is, is what the agent's
    folders may hold. 0 is no limit.
    """

    memory: Natural | Size | None = None
    disk: Natural | Size | None = None
    pids: Natural | None = None
    cpus: Annotated[float, msgspec.Meta(ge=0)] | None = None


class AgentDefaults(Section, frozen=True, kw_only=True):
    """`agents.defaults`."""

    workspace: str | None = None
    model: str | ModelChoice | None = None
    models: dict[str, Any] | None = None
    skills: tuple[str, ...] | None = None
    skip_bootstrap: bool | None = None
    bootstrap_max_chars: Positive | None = None
    bootstrap_total_max_chars: Positive | None = None
    system_prompt_override: str | None = None
    timeout_seconds: Positive | None = None
    max_concurrent: Positive | None = None
    context_tokens: Positive | None = None
    user_timezone: str | None = None
    sandbox: Sandbox | None = None
    limits: AgentLimits | None = None
    group_chat: GroupChat | None = None
    # Accepted and kept; nothing here reads them yet.
    params: Any = None
    image_model: Any = None
    pdf_model: Any = None
    image_generation_model: Any = None
    music_generation_model: Any = None
    video_generation_model: Any = None
    context_injection: Literal["always", "continuation-skip", "never"] | None = None
    bootstrap_prompt_truncation_warning: Any = None
    repo_root: Any = None
    time_format: Literal["auto", "12", "24"] | None = None
    envelope_timezone: Any = None
    envelope_timestamp: Switch | None = None
    envelope_elapsed: Switch | None = None
    thinking_default: Thinking | None = None
    reasoning_default: Literal["on", "off", "stream"] | None = None
    verbose_default: Literal["off", "on", "full"] | None = None
    elevated_default: Literal["off", "on", "ask", "full"] | None = None
    media_max_mb: Any = None
    image_max_dimension_px: Any = None
    block_streaming_default: Switch | None = None
    block_streaming_break: Any = None
    block_streaming_chunk: Any = None
    block_streaming_coalesce: Any = None
    human_delay: Any = None
    typing_mode: Literal["never", "instant", "thinking", "message"] | None = None
    typing_interval_seconds: Any = None
    silent_reply: Any = None
    silent_reply_rewrite: Any = None
    heartbeat: Any = None
    compaction: Any = None
    context_pruning: Any = None
    context_limits: Any = None
    startup_context: Any = None
    subagents: Any = None
    memory_search: Any = None
    cli_backends: Any = None
    agent_runtime: Any = None
    prompt_overlays: Any = None
    embedded_harness: Any = None
    embedded_pi: Any = None


class Agent(Section, frozen=True, kw_only=True):
    """`agents.list[]`."""

    id: str
    default: bool | None = None
    name: str | None = None
    workspace: str | None = None
    agent_dir: str | None = None
    model: str | ModelChoice | None = None
    api_key: Secret | None = None
    skills: tuple[str, ...] | None = None
    skills_mode: Literal["replace", "extend"] | None = None
    identity: Identity | None = None
    group_chat: GroupChat | None = None
    sandbox: Sandbox | None = None
    limits: AgentLimits | None = None
    tools: AgentTools | None = None
    context_tokens: Positive | None = None
    system_prompt_override: str | None = None
    tenant: str | None = None
    params: Any = None
    thinking_default: Thinking | None = None
    reasoning_default: Literal["on", "off", "stream"] | None = None
    fast_mode_default: Any = None
    context_limits: Any = None
    skills_limits: Any = None
    heartbeat: Any = None
    human_delay: Any = None
    subagents: Any = None
    runtime: Any = None
    tts: Any = None
    memory_search: Any = None
    agent_runtime: Any = None
    embedded_pi: Any = None


class Agents(Section, frozen=True, kw_only=True):
    defaults: AgentDefaults | None = None
    list: tuple[Agent, ...] = ()


class Session(Section, frozen=True, kw_only=True):
    """`session`."""

    scope: Literal["per-sender", "global"] | None = None
    dm_scope: DmScope | None = None
    identity_links: dict[str, Any] | None = None
    main_key: str | None = None
    store: str | None = None
    reset: Any = None
    reset_by_type: Any = None
    reset_by_channel: Any = None
    reset_triggers: tuple[str, ...] | None = None
    idle_minutes: Any = None
    typing_mode: Literal["never", "instant", "thinking", "message"] | None = None
    typing_interval_seconds: Any = None
    parent_fork_max_tokens: Any = None
    send_policy: Any = None
    agent_to_agent: Any = None
    thread_bindings: Any = None
    maintenance: Any = None


class Messages(Section, frozen=True, kw_only=True):
    """`messages`."""

    response_prefix: str | None = None
    message_prefix: str | None = None
    group_chat: GroupChat | None = None
    queue: Any = None
    inbound: Any = None
    ack_reaction: str | None = None
    ack_reaction_scope: Any = None
    remove_ack_after_reply: Any = None
    status_reactions: Any = None
    suppress_tool_errors: Any = None
    tts: Any = None


ModelApi = Literal[
    "openai-completions",
    "openai-responses",
    "openai-codex-responses",
    "anthropic-messages",
    "google-generative-ai",
    "github-copilot",
    "bedrock-converse-stream",
    "ollama",
    "azure-openai-responses",
]


class ModelProvider(Section, frozen=True, kw_only=True):
    """`models.providers.<id>`."""

    base_url: str | None = None
    api_key: Secret | None = None
    api: ModelApi | None = None
    auth: Literal["api-key", "token", "oauth", "aws-sdk"] | None = None
    auth_header: bool | None = None
    headers: dict[str, Secret] | None = None
    timeout_seconds: Positive | None = None
    context_window: Positive | None = None
    context_tokens: Positive | None = None
    max_tokens: Positive | None = None
    models: tuple[dict[str, Any], ...] | None = None


class Models(Section, frozen=True, kw_only=True):
    mode: Literal["merge", "replace"] | None = None
    pricing: Any = None
    providers: dict[str, ModelProvider] | None = None


class GatewayAuth(Section, frozen=True, kw_only=True):
    mode: Literal["none", "token", "password", "trusted-proxy"] | None = None
    token: Secret | None = None
    password: Secret | None = None
    allow_tailscale: Any = None
    rate_limit: Any = None
    trusted_proxy: Any = None


class Gateway(Section, frozen=True, kw_only=True):
    """`gateway`."""

    mode: Literal["local", "remote"] | None = None
    port: Port | None = None
    bind: Literal["auto", "lan", "loopback", "custom", "tailnet"] | None = None
    custom_bind_host: str | None = None
    auth: GatewayAuth | None = None
    remote: Any = None
    reload: Any = None
    tls: Any = None
    control_ui: Any = None
    http: Any = None
    trusted_proxies: Any = None
    allow_real_ip_fallback: Any = None
    tools: Any = None
    channel_health_check_minutes: Any = None
    channel_stale_event_threshold_minutes: Any = None
    channel_max_restarts_per_hour: Any = None
    nodes: Any = None


class Logging(Section, frozen=True, kw_only=True):
    """`logging`. Sizes in bytes."""

    level: Literal["silent", "fatal", "error", "warn", "info", "debug", "trace"] | None = None
    file: str | None = None
    max_file_bytes: Positive | None = None
    console_level: str | None = None
    console_style: Literal["pretty", "compact", "json"] | None = None
    redact_sensitive: Literal["off", "tools"] | None = None
    redact_patterns: tuple[str, ...] | None = None


class Config(Section, frozen=True, kw_only=True):
    """The whole file after `$include`, `${VAR}` and defaults."""

    agents: Agents = Agents()
    bindings: tuple[Binding, ...] = ()
    channels: dict[str, Any] = {}
    session: Session = Session()
    messages: Messages = Messages()
    models: Models = Models()
    tools: Tools = Tools()
    gateway: Gateway = Gateway()
    logging: Logging = Logging()
    broadcast: dict[str, Any] = {}
    env: dict[str, Any] = {}
    commands: Any = None
    skills: Any = None
    secrets: Any = None
    auth: Any = None
    schema: Any = msgspec.field(default=None, name="$schema")
    meta: Any = None
    wizard: Any = None
    diagnostics: Any = None
    cli: Any = None
    update: Any = None
    browser: Any = None
    ui: Any = None
    acp: Any = None
    node_host: Any = None
    audio: Any = None
    media: Any = None
    approvals: Any = None
    cron: Any = None
    hooks: Any = None
    web: Any = None
    discovery: Any = None
    canvas_host: Any = None
    talk: Any = None
    memory: Any = None
    mcp: Any = None
    plugins: Any = None
    surfaces: Any = None
    proxy: Any = None
