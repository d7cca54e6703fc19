"""The part of the configuration and of the secrets that one process is handed, and nothing else.

A slice has no field for what its process must not know (ARCHITECTURE 1, table "never sees").
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.approvals import ElevatedRules, ExecPolicy
from protocol.config import Binding, GroupChat, Identity, Messages, Session, ToolList
from protocol.sandbox import HOST, Placement


class _Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AgentLink(_Slice, frozen=True, kw_only=True):
    """How one worker of an agent reaches the router. Keys are Z85 text (CURVE, RFC 26/ZeroMQ).

    `router_secret` authenticates the router to this worker, `worker_public` is the one key let in. `place` is where
    the worker lives (`protocol.sandbox`): a sandboxed worker can never be taken for the one on the host.
    """

    agent: str
    place: str = HOST
    socket: str
    router_secret: str
    router_public: str
    worker_public: str


class ToolRules(_Slice, frozen=True, kw_only=True):
    """Which tools an agent may use: `layers` are applied in order, `profile` first, widened by `also` (RULES 3.6).

    `inside` is the layer of sandboxed sessions.
    """

    profile: str = ""
    also: tuple[str, ...] = ()
    layers: tuple[ToolList, ...] = ()
    inside: ToolList = ToolList()


class Reach(_Slice, frozen=True, kw_only=True):
    """How far the tools of agents reach beyond their own session (SPEC 5.5, 6.2). Nothing set means: nowhere.

    `allow` are the agents that may talk to each other when `agent_to_agent` is on, `*` for all. `visibility` is empty
    where nobody configured it. `inside_spawned` clamps sandboxed sessions to their own tree. `same_channel` lets an
    agent write to another conversation on the account it is asked on. `max_hops` bounds chains of agents.
    """

    agent_to_agent: bool = False
    allow: tuple[str, ...] = ()
    visibility: Literal["", "self", "tree", "agent", "all"] = ""
    inside_spawned: bool = True
    same_channel: bool = True
    max_hops: int = 5


class RouterAgent(_Slice, frozen=True, kw_only=True):
    """What the router may know of an agent: for routing, mentions, tool policy and the page; no model, key or file."""

    id: str
    name: str
    max_concurrent: int
    placement: Placement = Placement()
    tools: ToolRules = ToolRules()
    elevated: ElevatedRules = ElevatedRules()
    group_chat: GroupChat = GroupChat()
    identity: Identity = Identity()


class RouterSlice(_Slice, frozen=True, kw_only=True):
    """Everything the router is told. `channels` has its secrets resolved; `token` opens the HTTP port.

    `leaving` are agents that are configured no more: nothing is routed to them, and what they have is still answered.
    `version` counts the slices of one life of the supervisor. Paths are absolute. `heartbeat_seconds` is the pause
    between Pings; three unanswered ones mean silence.
    """

    agents: tuple[RouterAgent, ...]
    default_agent: str
    bindings: tuple[Binding, ...]
    channels: dict[str, Any]
    session: Session
    messages: Messages
    broadcast: dict[str, Any]
    commands: dict[str, Any] = {}
    reach: Reach = Reach()
    spool: str
    credentials: str
    host: str
    port: int
    token: str
    log_level: str = "info"
    heartbeat_seconds: float = 10.0
    leaving: tuple[RouterAgent, ...] = ()
    version: int = 0


class Bind(_Slice, frozen=True, kw_only=True):
    """A path that stays visible behind a cover, at the same place."""

    path: str
    writable: bool = False


class Walls(_Slice, frozen=True, kw_only=True):
    """What a worker on the host locks itself into before it runs anything of its agent (ARCHITECTURE 6).

    `uid` and `gid` are what it becomes, 0 for "stay who you are". With `mounts` it gets a mount namespace of its own
    (`user`: by way of a user namespace): empty folders are laid over `covers`, and `binds` show through. Below `denied`
    nothing can be opened, but for `readable` and `writable` (Landlock). A worker that cannot reach `needed` must not
    start. Sizes in bytes, 0 for no limit.
    """

    uid: int = 0
    gid: int = 0
    mounts: Literal["", "root", "user"] = ""
    covers: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()
    denied: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    max_processes: int = 0
    max_file_size: int = 0


class Limits(_Slice, frozen=True, kw_only=True):
    """What all processes of one agent on the host may use together. `memory` in bytes, `cpus` in processors; 0: none.

    `shares` is its weight against others when processors are short (cpu.shares, 1024 for an ordinary process). `disk`,
    in bytes, is what its folders may hold, also those of its sandboxes.
    """

    memory: int = 0
    disk: int = 0
    pids: int = 0
    cpus: float = 0.0
    shares: int = 0


class WorkerSlice(_Slice, frozen=True, kw_only=True):
    """Everything one worker is told. Paths are absolute; times in seconds.

    `model` is `provider/model`, empty for "whatever there is". `tool_layers` are applied in order, `tool_profile`
    first, widened by `tool_profile_also` (RULES 3.6). The longest of `forbidden_paths` and `allowed_paths` that holds a
    file decides for the file tools; what neither names is open. `worker_secret` and `proxy_token` are this agent's own.
    In a container the paths are those inside; `agent_workspace` is the agent's own one where it may only be read.
    """

    agent: str
    name: str
    place: str = HOST
    workspace: str
    agent_workspace: str = ""
    sessions: str
    link_socket: str
    router_public: str
    worker_public: str
    worker_secret: str
    proxy_socket: str
    proxy_token: str
    model: str = ""
    fallbacks: tuple[str, ...] = ()
    identity: Identity = Identity()
    tool_profile: str = ""
    tool_profile_also: tuple[str, ...] = ()
    tool_layers: tuple[ToolList, ...] = ()
    exec_timeout: int = 1800
    exec_policy: ExecPolicy = ExecPolicy()
    workspace_only: bool = False
    forbidden_paths: tuple[str, ...] = ()
    allowed_paths: tuple[str, ...] = ()
    turn_timeout: int = 600
    max_concurrent: int = 4
    context_tokens: int = 200_000
    bootstrap_max_chars: int = 12_000
    bootstrap_total_max_chars: int = 60_000
    skip_bootstrap: bool = False
    system_prompt_override: str | None = None
    user_timezone: str = ""
    log_level: str = "info"
