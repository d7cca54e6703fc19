"""Session keys: which conversation a message belongs to (RULES 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.config import DmScope
from protocol.ids import normalize_account_id, normalize_agent_id, normalize_main_key


def main_session_key(agent: str, main_key: str | None = None) -> str:
    """Where an agent's direct chats collapse to."""
    return f"agent:{normalize_agent_id(agent)}:{normalize_main_key(main_key)}"


def peer_session_key(
    agent: str,
    channel: str,
    account: str,
    kind: str,
    peer: str,
    *,
    dm_scope: DmScope = "main",
    main_key: str | None = None,
    identity_links: Mapping[str, Any] | None = None,
) -> str:
    """The key of one conversation."""
    head, peer = f"agent:{normalize_agent_id(agent)}", peer.strip().lower()
    channel = channel.strip().lower() or "unknown"
    if kind != "direct":
        return f"{head}:{channel}:{kind}:{peer or 'unknown'}"
    if dm_scope == "main" or not peer:
        return main_session_key(agent, main_key)
    peer = canonical_peer(channel, peer, identity_links or {})
    if dm_scope == "per-peer":
        return f"{head}:direct:{peer}"
    if dm_scope == "per-channel-peer":
        return f"{head}:{channel}:direct:{peer}"
    return f"{head}:{channel}:{normalize_account_id(account)}:direct:{peer}"


def canonical_peer(channel: str, peer: str, links: Mapping[str, Any]) -> str:
    """The name under which `session.identityLinks` joins this peer with others."""
    candidates = {peer, f"{channel}:{peer}"}
    for name, entries in links.items():
        known = entries if isinstance(entries, list | tuple) else ()
        if name.strip() and candidates & {entry.strip().lower() for entry in known if isinstance(entry, str)}:
            return name.strip().lower()
    return peer
