"""What may stand in `channels.<id>` (SPEC 2.4), as structs for the one walker.

Telegram and IRC are complete, since they run in this build. The others are the documented keys; channels without a row
in the table are checked for the common keys only, and their own keys are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from protocol.config import DmPolicy, GroupPolicy, Ids, Secret, Section, ToolList
from supervisor.config.channels import LABELS, SPECIAL
from supervisor.config.problems import Problem, dotted
from supervisor.config.walk import suggest, walk, wrong_type

Positive = Annotated[int, msgspec.Meta(gt=0)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Visibility = Literal["all", "allowlist", "allowlist_quote"]


class Group(Section, frozen=True, kw_only=True):
    """`groups.<id>` and `groups.<id>.topics.<id>`."""

    require_mention: bool | None = None
    enabled: bool | None = None
    group_policy: GroupPolicy | None = None
    allow_from: Ids | None = None
    skills: tuple[str, ...] | None = None
    system_prompt: str | None = None
    tools: ToolList | None = None
    tools_by_sender: dict[str, ToolList] | None = None
    agent_id: str | None = None
    ingest: Any = None


class TopicGroup(Group, frozen=True, kw_only=True):
    """A group with topics, which only Telegram has."""

    topics: dict[str, Group] | None = None
    disable_audio_preflight: bool | None = None
    error_policy: Literal["always", "once", "silent"] | None = None
    error_cooldown_ms: Natural | None = None


class Streaming(Section, frozen=True, kw_only=True):
    mode: Literal["off", "partial", "block", "progress"] | None = None
    preview: Any = None
    block: Any = None
    chunk_mode: Any = None
    native_transport: Any = None


class Retry(Section, frozen=True, kw_only=True):
    attempts: Positive | None = None
    min_delay_ms: Natural | None = None
    max_delay_ms: Natural | None = None
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class Heartbeat(Section, frozen=True, kw_only=True):
    show_ok: bool | None = None
    show_alerts: bool | None = None
    use_indicator: bool | None = None


class Bridge(Section, frozen=True, kw_only=True):
    """A program of the operator's that connects the platform (router/channels/bridge/STATUS.md)."""

    socket: str


class Common(Section, frozen=True, kw_only=True):
    """Every channel, at its root and in `accounts.<id>`."""

    enabled: bool | None = None
    name: str | None = None
    dm_policy: DmPolicy | None = None
    allow_from: Ids | None = None
    group_policy: GroupPolicy | None = None
    group_allow_from: Ids | None = None
    groups: dict[str, Group] | None = None
    direct: dict[str, Any] | None = None
    dms: dict[str, Any] | None = None
    default_to: str | int | None = None
    history_limit: Natural | None = None
    dm_history_limit: Natural | None = None
    text_chunk_limit: Positive | None = None
    chunk_mode: Literal["length", "newline"] | None = None
    streaming: str | bool | Streaming | None = None
    block_streaming: bool | None = None
    block_streaming_coalesce: dict[str, Any] | None = None
    reply_to_mode: Literal["off", "first", "all", "batched"] | None = None
    media_max_mb: Annotated[float, msgspec.Meta(gt=0)] | None = None
    response_prefix: str | None = None
    ack_reaction: str | dict[str, Any] | None = None
    reaction_level: Literal["off", "ack", "minimal", "extensive"] | None = None
    reaction_notifications: Literal["off", "own", "all", "allowlist"] | None = None
    commands: dict[str, Any] | None = None
    config_writes: bool | None = None
    heartbeat: Heartbeat | None = None
    health_monitor: dict[str, Any] | None = None
    retry: Retry | None = None
    proxy: str | None = None
    context_visibility: Visibility | None = None
    bridge: Bridge | None = None
    markdown: dict[str, Any] | None = None
    capabilities: Any = None


class Telegram(Common, frozen=True, kw_only=True):
    bot_token: Secret | None = None
    token_file: str | None = None
    api_root: str | None = None
    groups: dict[str, TopicGroup] | None = None  # type: ignore[assignment]  # the file's shape differs here
    webhook_url: str | None = None
    webhook_secret: Secret | None = None
    webhook_path: str | None = None
    webhook_host: str | None = None
    webhook_port: Port | None = None
    webhook_cert_path: str | None = None
    custom_commands: tuple[dict[str, Any], ...] | None = None
    link_preview: bool | None = None
    network: dict[str, Any] | None = None
    timeout_seconds: Positive | None = None
    polling_stall_threshold_ms: Annotated[int, msgspec.Meta(ge=30_000, le=600_000)] | None = None
    actions: dict[str, Any] | None = None
    error_policy: Literal["always", "once", "silent"] | None = None
    error_cooldown_ms: Natural | None = None
    exec_approvals: Any = None
    thread_bindings: Any = None
    trusted_local_file_roots: Any = None
    auto_topic_label: Any = None


class NickServ(Section, frozen=True, kw_only=True):
    enabled: bool | None = None
    service: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    register: bool | None = None
    register_email: str | None = None


class Sasl(Section, frozen=True, kw_only=True):
    enabled: bool | None = None
    mechanism: Literal["plain", "external"] | None = None
    username: str | None = None
    password: Secret | None = None
    password_file: str | None = None


class Irc(Common, frozen=True, kw_only=True):
    host: str | None = None
    port: Port | None = None
    tls: bool | None = None
    tls_insecure: bool | None = None
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    nick: str | None = None
    username: str | None = None
    realname: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    channels: tuple[str, ...] | None = None
    nickserv: NickServ | None = None
    sasl: Sasl | None = None
    mention_patterns: tuple[str, ...] | None = None
    dangerously_allow_name_matching: bool | None = None
    flood_burst: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    flood_interval: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Room(Section, frozen=True, kw_only=True):
    """A channel of a Discord guild or a Slack workspace. `allow` is the documented spelling of `enabled`."""

    allow: bool | None = None
    enabled: bool | None = None
    require_mention: bool | None = None
    ignore_other_mentions: bool | None = None
    allow_bots: Any = None
    users: Ids | None = None
    roles: Ids | None = None
    skills: tuple[str, ...] | None = None
    system_prompt: str | None = None
    tools: ToolList | None = None
    tools_by_sender: dict[str, ToolList] | None = None
    auto_thread: Any = None
    auto_thread_name: Any = None
    auto_archive_duration: Any = None
    include_thread_starter: bool | None = None


class Guild(Section, frozen=True, kw_only=True):
    slug: str | None = None
    require_mention: bool | None = None
    ignore_other_mentions: bool | None = None
    users: Ids | None = None
    roles: Ids | None = None
    reaction_notifications: Literal["off", "own", "all", "allowlist"] | None = None
    tools: ToolList | None = None
    tools_by_sender: dict[str, ToolList] | None = None
    channels: dict[str, Room] | None = None


class Discord(Common, frozen=True, kw_only=True):
    token: Secret | None = None
    guilds: dict[str, Guild] | None = None
    dm: dict[str, Any] | None = None
    allow_bots: bool | Literal["mentions"] | None = None
    max_lines_per_message: Positive | None = None
    intents: dict[str, Any] | None = None
    thread_bindings: Any = None
    actions: dict[str, Any] | None = None
    exec_approvals: Any = None
    activity: Any = None
    activity_type: Any = None
    activity_url: Any = None
    status: Any = None
    auto_presence: Any = None
    dangerously_allow_name_matching: bool | None = None
    application_id: str | int | None = None
    voice: Any = None
    ui: Any = None
    pluralkit: Any = None
    agent_components: Any = None
    slash_command: Any = None


class WhatsApp(Common, frozen=True, kw_only=True):
    auth_dir: str | None = None
    send_read_receipts: bool | None = None
    self_chat_mode: bool | None = None
    message_prefix: str | None = None
    debounce_ms: Natural | None = None
    actions: dict[str, Any] | None = None


class Slack(Common, frozen=True, kw_only=True):
    bot_token: Secret | None = None
    app_token: Secret | None = None
    user_token: Secret | None = None
    user_token_read_only: bool | None = None
    signing_secret: Secret | None = None
    mode: Literal["socket", "http"] | None = None
    webhook_path: str | None = None
    channels: dict[str, Room] | None = None
    dm: dict[str, Any] | None = None
    thread: dict[str, Any] | None = None
    slash_command: dict[str, Any] | None = None
    require_mention: bool | None = None
    allow_bots: Any = None
    actions: dict[str, Any] | None = None
    reply_to_mode_by_chat_type: Any = None
    reaction_allowlist: Ids | None = None
    dangerously_allow_name_matching: bool | None = None
    typing_reaction: Any = None
    exec_approvals: Any = None


class Signal(Common, frozen=True, kw_only=True):
    account: str | None = None
    account_uuid: str | None = None
    cli_path: str | None = None
    http_url: str | None = None
    http_host: str | None = None
    http_port: Port | None = None
    auto_start: bool | None = None
    startup_timeout_ms: Natural | None = None
    receive_mode: Any = None
    ignore_attachments: bool | None = None
    ignore_stories: bool | None = None
    send_read_receipts: bool | None = None
    reaction_allowlist: Ids | None = None
    actions: dict[str, Any] | None = None


class IMessage(Common, frozen=True, kw_only=True):
    cli_path: str | None = None
    db_path: str | None = None
    remote_host: str | None = None
    service: str | None = None
    region: str | None = None
    include_attachments: bool | None = None
    attachment_roots: Any = None
    remote_attachment_roots: Any = None
    probe_timeout_ms: Natural | None = None
    actions: dict[str, Any] | None = None


class ChannelDefaults(Section, frozen=True, kw_only=True):
    """`channels.defaults`."""

    group_policy: GroupPolicy | None = None
    context_visibility: Visibility | None = None
    heartbeat: Heartbeat | None = None


_SCHEMAS: dict[str, type[Common]] = {
    "telegram": Telegram,
    "irc": Irc,
    "discord": Discord,
    "whatsapp": WhatsApp,
    "slack": Slack,
    "signal": Signal,
    "imessage": IMessage,
}
_ROOT_ONLY = ("accounts", "defaultAccount")


def struct_of(channel: str) -> type[Common]:
    """What an account of a channel may hold; `Common` stands for "that, and keys of its own"."""
    return _SCHEMAS.get(channel, Common)


def problems(channels: Any) -> Iterator[Problem]:
    """What is wrong in the `channels` section."""
    if not isinstance(channels, dict):
        return  # said by the walk over the whole
    for name, section in channels.items():
        if name == "defaults":
            yield from walk(section, ChannelDefaults, ("channels", name))
        elif name == "modelByChannel":
            yield from walk(section, dict[str, dict[str, str]], ("channels", name))
        elif name not in LABELS:
            hint = suggest(name, [*LABELS, *SPECIAL])
            yield Problem(dotted(("channels", name)), f"unknown channel id: {name}", hint)
        else:
            yield from _channel(name, section)


def _channel(name: str, section: Any) -> Iterator[Problem]:
    at = ("channels", name)
    if not isinstance(section, dict):
        yield wrong_type("object", section, at)
        return
    yield from _settings(name, {key: value for key, value in section.items() if key not in _ROOT_ONLY}, at)
    yield from walk(section.get("defaultAccount", ""), str, (*at, "defaultAccount"))
    accounts = section.get("accounts", {})
    if not isinstance(accounts, dict):
        yield wrong_type("object", accounts, (*at, "accounts"))
        return
    for account, settings in accounts.items():
        yield from _settings(name, settings, (*at, "accounts", account))


def _settings(name: str, settings: Any, at: tuple[str, ...]) -> Iterator[Problem]:
    schema = struct_of(name)
    if schema is Common and isinstance(settings, dict):
        known = {field.encode_name for field in msgspec.structs.fields(Common)}
        settings = {key: value for key, value in settings.items() if key in known}
    yield from walk(settings, schema, at)
