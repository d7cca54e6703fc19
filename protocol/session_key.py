"""Session keys: which conversation a message belongs to, and what a key says (RULES 3.3).

A key is `agent:<agent>:<rest>`. Keys made here are lower case; keys that come from outside (operators, old files) are
read with `parse_key`, `key_shape` and brought into form with `store_key` and `canonical_main_key`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from protocol.config import DmScope
from protocol.ids import (
    DEFAULT_AGENT_ID,
    DEFAULT_MAIN_KEY,
    normalize_account_id,
    normalize_agent_id,
    normalize_main_key,
)

UNKNOWN = "unknown"
#: The one session of everybody under `session.scope: "global"`.
GLOBAL_KEY = "global"
_THREAD = ":thread:"
_ANY_THREAD = re.compile(f"(?={_THREAD})", re.IGNORECASE | re.ASCII)

Shape = Literal["missing", "agent", "malformed_agent", "legacy_or_alias"]


class ParsedKey(NamedTuple):
    """The owner as written in the key (lower case, not normalised), and what follows it."""

    agent: str
    rest: str


class Thread(NamedTuple):
    """A key without its thread, and the thread; None where it has none."""

    base: str
    thread: str | None


class ThreadKeys(NamedTuple):
    """The session of a thread, and the one it comes from where there is one."""

    session: str
    parent: str | None


# --- making keys -------------------------------------------------------------------------------------------------


def main_session_key(agent: str, main_key: str | None = None) -> str:
    """Where an agent's direct chats collapse to."""
    return f"agent:{normalize_agent_id(agent)}:{normalize_main_key(main_key)}"


def peer_session_key(
    agent: str,
    channel: str,
    account: str | None,
    kind: str,
    peer: str,
    *,
    dm_scope: DmScope = "main",
    main_key: str | None = None,
    identity_links: Mapping[str, Any] | None = None,
) -> str:
    """The key of one conversation. A direct one without a peer id is the main session."""
    head, peer = f"agent:{normalize_agent_id(agent)}", peer.strip().lower()
    channel = channel.strip().lower() or UNKNOWN
    if (kind.strip().lower() or "direct") not in ("direct", "dm"):
        return f"{head}:{channel}:{kind.strip().lower()}:{peer or UNKNOWN}"
    if dm_scope == "main" or not peer:
        return main_session_key(agent, main_key)
    peer = canonical_peer(channel, peer, identity_links or {})
    if dm_scope == "per-peer":
        return f"{head}:direct:{peer}"
    if dm_scope == "per-channel-peer":
        return f"{head}:{channel}:direct:{peer}"
    return f"{head}:{channel}:{normalize_account_id(account)}:direct:{peer}"


def conversation_key(
    agent: str,
    channel: str,
    account: str | None,
    peer: tuple[str, str] | None,
    *,
    dm_scope: DmScope = "main",
    main_key: str | None = None,
    identity_links: Mapping[str, Any] | None = None,
) -> str:
    """The key of the conversation with `peer` (kind, id). A peer without an id is not nobody: it is `unknown`."""
    kind, id = peer or ("direct", "")
    return peer_session_key(
        agent,
        channel,
        account,
        kind,
        id if id.strip() or peer is None else UNKNOWN,
        dm_scope=dm_scope,
        main_key=main_key,
        identity_links=identity_links,
    )


def canonical_peer(channel: str, peer: str, links: Mapping[str, Any]) -> str:
    """The name under which `session.identityLinks` joins this peer with others; the first name in config order."""
    candidates = {peer, f"{channel}:{peer}"}
    for name, entries in links.items():
        known = entries if isinstance(entries, list | tuple) else ()
        if name.strip() and candidates & {entry.strip().lower() for entry in known if isinstance(entry, str)}:
            return name.strip().lower()
    return peer


def group_history_key(channel: str, account: str | None, kind: str, peer: str) -> str:
    """Where the unanswered messages of a group wait; unlike a session key it belongs to an account, not an agent."""
    channel = channel.strip().lower() or UNKNOWN
    return f"{channel}:{normalize_account_id(account)}:{kind}:{peer.strip().lower() or UNKNOWN}"


def thread_session_keys(
    base: str, thread: str | None, *, parent: str | None = None, use_suffix: bool = True
) -> ThreadKeys:
    """The key of a thread inside the conversation `base`, and the session it may inherit from.

    Without a thread, `base` itself and no parent. `use_suffix` is false where the platform's peer id is the thread.
    """
    thread = (thread or "").strip().lower()
    if not thread:
        return ThreadKeys(base, None)
    return ThreadKeys(f"{base}{_THREAD}{thread}" if use_suffix else base, parent)


# --- reading keys ------------------------------------------------------------------------------------------------


def parse_key(text: str | None) -> ParsedKey | None:
    """The owner and the rest, or None for what is no agent's key."""
    parts = [part for part in (text or "").strip().lower().split(":") if part]
    return ParsedKey(parts[1], ":".join(parts[2:])) if len(parts) >= 3 and parts[0] == "agent" else None


def owner_of(text: str | None) -> str:
    """The agent a key belongs to; `main` for what is no agent's key."""
    parsed = parse_key(text)
    return normalize_agent_id(parsed.agent) if parsed else DEFAULT_AGENT_ID


def key_shape(text: str | None) -> Shape:
    """What kind of text somebody gave as a session key."""
    text = (text or "").strip()
    if not text:
        return "missing"
    if parse_key(text):
        return "agent"
    return "malformed_agent" if text.lower().startswith("agent:") else "legacy_or_alias"


def split_thread(text: str | None) -> Thread:
    """The conversation a thread's key belongs to, case kept; the last `:thread:` counts."""
    text = (text or "").strip()
    # Not in the whole text's lower case: that of some letters is longer than they are.
    at = max((found.start() for found in _ANY_THREAD.finditer(text)), default=-1)
    base, thread = text[:at].strip(), text[at + len(_THREAD) :].strip()
    return Thread(base, thread) if at > 0 and base and thread else Thread(text, None)


def request_key(text: str | None) -> str | None:
    """The key as its own agent would name it: without `agent:<id>:`. None for nothing."""
    parsed = parse_key(text)
    return parsed.rest if parsed else (text or "").strip() or None


def store_key(agent: str, request: str | None, main_key: str | None = None) -> str:
    """The full key of what a request named: `main`, a short form, or a full key of any agent."""
    text = (request or "").strip()
    lowered = text.lower()
    if not text or lowered == DEFAULT_MAIN_KEY:
        return main_session_key(agent, main_key)
    if parsed := parse_key(text):
        return f"agent:{parsed.agent}:{parsed.rest}"
    return lowered if lowered.startswith("agent:") else f"agent:{normalize_agent_id(agent)}:{lowered}"


def canonical_main_key(agent: str, text: str, *, main_key: str | None = None, scope: str | None = None) -> str:
    """Every spelling of an agent's main session as one key (or `global`); other keys trimmed, otherwise as they are."""
    text, agent, name = text.strip(), normalize_agent_id(agent), normalize_main_key(main_key)
    owners = {agent, DEFAULT_AGENT_ID}
    aliases = {DEFAULT_MAIN_KEY, name} | {f"agent:{owner}:{rest}" for owner in owners for rest in (name, "main")}
    if text not in aliases:
        return text
    return GLOBAL_KEY if scope == "global" else f"agent:{agent}:{name}"
