"""Which commands an agent may run by itself, and whom the others are for: shapes and decisions. Pure.

`exec-approvals.json` is the operator's file; only the supervisor reads and writes it. A worker is told its
`ExecPolicy`, the stricter of that file and of `tools.exec`; the router is told `ElevatedRules` (SPEC 5.7, RULES D9).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from protocol.config import ElevatedTool, ExecTool, Section

Security = Literal["deny", "allowlist", "full"]
Ask = Literal["off", "on-miss", "always"]
#: How far `/elevated` and `agents.defaults.elevatedDefault` go; `on` is the older name of `ask`.
ElevatedMode = Literal["off", "on", "ask", "full"]

#: From the strictest on.
SECURITY: tuple[Security, ...] = ("deny", "allowlist", "full")
ASK: tuple[Ask, ...] = ("always", "on-miss", "off")
_LEVELS: Mapping[ElevatedMode, Literal["off", "ask", "full"]] = {
    "off": "off",
    "on": "ask",
    "ask": "ask",
    "full": "full",
}
#: Programs that only read their input, where `tools.exec.safeBins` names none.
SAFE_BINS = ("cut", "uniq", "head", "tail", "tr", "wc")
#: Seconds a question to the approvers stays open (SPEC 5.7).
EXPIRY = 30 * 60.0
#: The entry of `agents` that is for all of them.
EVERYBODY = "*"
#: Longest pattern and most of them for one agent.
MAX_PATTERN, MAX_PATTERNS = 512, 500


class ExecPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds for the commands of one agent. `allowlist` are bare names and path globs, `~` filled in."""

    security: Security = "full"
    ask: Ask = "off"
    ask_fallback: Security = "deny"
    allowlist: tuple[str, ...] = ()
    safe_bins: tuple[str, ...] = SAFE_BINS


class ElevatedRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may have this agent work outside of its sandbox: senders in `allow_from` of their channel.

    `own` is the agent's list; it can only restrict. `default` is the level of a session that chose none.
    """

    enabled: bool = False
    allow_from: dict[str, tuple[str | int, ...]] = {}
    own: dict[str, tuple[str | int, ...]] | None = None
    default: Literal["off", "ask", "full"] = "ask"


class AllowEntry(Section, frozen=True, kw_only=True):
    """One allowlisted program. All but `pattern` is for people; one with `arg_pattern` is not understood here and
    allows nothing."""

    pattern: str
    id: str | None = None
    source: str | None = None
    command_text: str | None = None
    arg_pattern: str | None = None
    last_used_at: float | None = None
    last_used_command: str | None = None
    last_resolved_path: str | None = None


class AgentApprovals(Section, frozen=True, kw_only=True):
    """The settings of one agent, or `defaults` of all."""

    security: Security | None = None
    ask: Ask | None = None
    ask_fallback: Security | None = None
    auto_allow_skills: bool | None = None
    allowlist: tuple[AllowEntry, ...] | None = None


class ApprovalsFile(Section, frozen=True, kw_only=True):
    """`exec-approvals.json`. `socket` belongs to a helper program of the original and is kept."""

    version: Literal[1]
    socket: Any = None
    defaults: AgentApprovals | None = None
    agents: dict[str, AgentApprovals] | None = None


EMPTY = ApprovalsFile(version=1)


def effective(shared: ExecTool | None, own: ExecTool | None, file: ApprovalsFile, agent: str, home: str) -> ExecPolicy:
    """The stricter of the configuration (the agent's over everybody's) and of the file, key by key."""
    levels = [one for one in ((file.agents or {}).get(agent), (file.agents or {}).get(EVERYBODY), file.defaults) if one]
    wanted = [one for one in (own, shared) if one]
    bins = _first([one.safe_bins for one in wanted])
    return ExecPolicy(
        security=stricter(SECURITY, _first([x.security for x in wanted]), _first([x.security for x in levels])),
        ask=stricter(ASK, _first([x.ask for x in wanted]), _first([x.ask for x in levels])),
        ask_fallback=_first([x.ask_fallback for x in levels]) or "deny",
        allowlist=patterns(levels, home),
        safe_bins=SAFE_BINS if bins is None else bins,
    )


def tightened(policy: ExecPolicy, security: Security | None, ask: Ask | None) -> ExecPolicy:
    """The policy under what one call asks for, which can only make it stricter."""
    return msgspec.structs.replace(
        policy,
        security=stricter(SECURITY, policy.security, security),
        ask=stricter(ASK, policy.ask, ask),
    )


def stricter(scale: Sequence[Any], one: Any, other: Any) -> Any:
    """Of two values the one nearer to the strict end; None says nothing."""
    named = [value for value in (one, other) if value is not None]
    return min(named, key=scale.index) if named else scale[-1]


def patterns(levels: Sequence[AgentApprovals], home: str) -> tuple[str, ...]:
    """The allowlist of an agent: its own entries and those of everybody, each once."""
    entries = [entry for level in levels for entry in level.allowlist or () if entry.arg_pattern is None]
    expanded = [f"{home}/{one.pattern[2:]}" if one.pattern.startswith("~/") else one.pattern for one in entries]
    return tuple(dict.fromkeys(expanded))[:MAX_PATTERNS]


def elevated_rules(
    shared: ElevatedTool | None, own: ElevatedTool | None, default: ElevatedMode | None
) -> ElevatedRules:
    """`tools.elevated`, the agent's `tools.elevated` and `agents.defaults.elevatedDefault`."""
    everybody, agent = shared or ElevatedTool(), own or ElevatedTool()
    return ElevatedRules(
        enabled=everybody.enabled is not False and agent.enabled is not False,
        allow_from=_senders(everybody.allow_from or {}),
        own=None if agent.allow_from is None else _senders(agent.allow_from),
        default=_LEVELS[default or "on"],
    )


def approval_id(turn: str, command: str, workdir: str, *, elevated: bool = False) -> str:
    """The name of one question to the approvers. Both sides know it without asking; asked twice it is the same."""
    text = "\0".join((turn, "elevated" if elevated else "", workdir, command))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def _senders(listed: Mapping[str, tuple[str | int, ...]]) -> dict[str, tuple[str | int, ...]]:
    return {channel.strip().lower(): ids for channel, ids in listed.items()}


def _first(values: Sequence[Any]) -> Any:
    return next((value for value in values if value is not None), None)
