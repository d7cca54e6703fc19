"""Where a session's worker runs: what the configuration says, decided. Pure.

Rules: RULES 3.7 (observed on the original), SPEC 2.2 and 5.8. Starting containers belongs to the spawners.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from protocol.config import Sandbox
from protocol.ids import normalize_agent_id
from protocol.session_key import canonical_main_key, main_session_key, owner_of, parse_key

Mode = Literal["off", "non-main", "all"]
Scope = Literal["session", "agent", "shared"]
Access = Literal["none", "ro", "rw"]

#: What Docker cuts a host name to; names of containers stay within.
MAX_NAME = 63
_MAX_SLUG = 32
_UNFIT = re.compile(r"[^a-z0-9._-]+")

#: The place of a worker that runs on the host.
HOST = "host"

DOCKER: Mapping[str, Any] = {
    "image": "openclaw-sandbox:bookworm-slim",
    "containerPrefix": "openclaw-sbx-",
    "workdir": "/workspace",
    "readOnlyRoot": True,
    "tmpfs": ["/tmp", "/var/tmp", "/run"],
    "network": "none",
    "capDrop": ["ALL"],
    "env": {"LANG": "C.UTF-8"},
}
PRUNE: Mapping[str, int] = {"idleHours": 24, "maxAgeDays": 7}


class SandboxSettings(NamedTuple):
    """One agent's sandbox, nothing left open but `workspace_root`: None is the folder of the state root."""

    mode: Mode
    scope: Scope
    backend: str
    workspace_access: Access
    workspace_root: str | None
    docker: Mapping[str, Any]
    prune: Mapping[str, int]


class Seat(NamedTuple):
    """Which worker: its agent, and the place where it works; at each there is one, or two while one takes over."""

    agent: str
    place: str = HOST

    def __str__(self) -> str:
        return self.agent if self.place == HOST else f"{self.agent} in {self.place}"


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the sessions of one agent are worked on. The router and the supervisor ask the same one.

    A **place** is `host`, or the name of a sandbox: the slug of its scope key, fit for folders and containers.
    """

    mode: Mode = "off"
    scope: Scope = "agent"
    tenant: str = ""
    main_key: str | None = None
    session_scope: str | None = None

    def place(self, agent: str, session_key: str) -> str:
        """Where this session of the agent is worked on."""
        sandboxed = is_sandboxed(
            self.mode, agent, session_key, main_key=self.main_key, session_scope=self.session_scope
        )
        return self.sandbox(agent, session_key) if sandboxed else HOST

    def scope_key(self, agent: str, session_key: str) -> str:
        """What the container belongs to; two tenants never share one (ARCHITECTURE 10)."""
        if self.scope == "shared":
            return f"shared:{self.tenant}" if self.tenant else "shared"
        return f"agent:{agent}" if self.scope == "agent" else session_key.strip()

    def sandbox(self, agent: str, session_key: str) -> str:
        """The place of this session, were it sandboxed."""
        key = self.scope_key(agent, session_key)
        return key if key == "shared" else slug(key)

    def fixed(self, agent: str) -> tuple[str, ...]:
        """The places that are there whatever sessions come; those of single sessions are made when one comes."""
        boxes = () if self.mode == "off" or self.scope == "session" else (self.sandbox(agent, ""),)
        return (*(() if self.mode == "all" else (HOST,)), *boxes)


# --- settings ----------------------------------------------------------------------------------------------------


def resolve(own: Sandbox | None, shared: Sandbox | None) -> SandboxSettings:
    """The agent's fields over those of `agents.defaults`, over the built-in ones."""
    own, shared = own or Sandbox(), shared or Sandbox()
    scope = _first(_scope(own), _scope(shared), "agent")
    # Several agents live in a shared container: none of them may shape it alone.
    mine = Sandbox() if scope == "shared" else own
    return SandboxSettings(
        mode=_first(own.mode, shared.mode, "off"),
        scope=scope,
        backend=_first(own.backend, shared.backend, "docker"),
        workspace_access=_first(own.workspace_access, shared.workspace_access, "none"),
        workspace_root=_first(own.workspace_root, shared.workspace_root, None),
        docker=merge_docker(shared.docker or {}, mine.docker or {}),
        prune={**PRUNE, **(shared.prune or {}), **(mine.prune or {})},
    )


def legacy_scope(per_session: bool | None) -> Scope | None:
    """The older `perSession`."""
    return None if per_session is None else "session" if per_session else "shared"


def merge_docker(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key, the agent's over the defaults'; env and ulimits are joined, binds are both."""
    merged = {**DOCKER, **_given(shared), **_given(own)}
    for name in ("env", "ulimits"):
        if joined := {**(shared.get(name) or DOCKER.get(name) or {}), **(own.get(name) or {})}:
            merged[name] = joined
    if binds := [*(shared.get("binds") or ()), *(own.get("binds") or ())]:
        merged["binds"] = binds
    return merged


# --- decision ----------------------------------------------------------------------------------------------------


def session_agent(session_key: str, default_agent: str) -> str:
    """Whose session it is: the agent in the key, else the default one."""
    parsed = parse_key(session_key)
    return normalize_agent_id(parsed.agent) if parsed else default_agent


def is_sandboxed(
    mode: str, agent: str, session_key: str, *, main_key: str | None = None, session_scope: str | None = None
) -> bool:
    """Whether the session's work belongs in a container. Keys are compared as they are, case included."""
    key = session_key.strip()
    if mode != "non-main" or not key:
        return mode == "all" and bool(key)
    main = "global" if session_scope == "global" else main_session_key(agent, main_key)
    return canonical_main_key(agent, key, main_key=main_key, scope=session_scope) != main


# --- names -------------------------------------------------------------------------------------------------------


def scope_key(scope: Scope, session_key: str) -> str:
    """What a container belongs to: everybody, one session, or one agent."""
    if scope == "shared":
        return "shared"
    return session_key.strip() or "main" if scope == "session" else f"agent:{owner_of(session_key)}"


def slug(text: str) -> str:
    """A name for a container or folder: readable, and with a hash, so that no two texts share it by their spelling."""
    text = text.strip() or "session"
    readable = _UNFIT.sub("-", text.lower()).strip("-")[:_MAX_SLUG] or "session"
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def container_name(prefix: str, scope: Scope, key: str) -> str:
    """The container of a scope key."""
    return f"{prefix}{'shared' if scope == 'shared' else slug(key)}"[:MAX_NAME]


def workspace_folder(root: str, scope: Scope, key: str) -> str:
    """The folder a container works in unless it is given the agent's own workspace; `~` in `root` is kept."""
    return root if scope == "shared" else f"{root.rstrip('/')}/{slug(key)}"


def _scope(sandbox: Sandbox) -> Scope | None:
    return sandbox.scope or legacy_scope(sandbox.per_session)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not set. `gpus` is a word for Docker's command line: trimmed, and nothing when blank."""
    given = {key: value for key, value in values.items() if value is not None}
    if isinstance(gpus := given.pop("gpus", None), str) and gpus.strip():
        given["gpus"] = gpus.strip()
    return given


def _first(*values: Any) -> Any:
    """The first that is set; the last is the default."""
    return next((value for value in values if value is not None), values[-1])
