"""Broadcast groups: one message for several agents, each with a session of its own (SPEC 6.1). Pure.

Asked after access and before the binding table, which a broadcast overrides. Keys of the `broadcast` section are peer
ids or `<channel>:<peerId>`; of two that fit, the one with the channel wins. A thread belongs to its parent's group.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from protocol.config import Session
from protocol.envelope import Inbound, Peer
from protocol.ids import normalize_agent_id
from protocol.session_key import conversation_key

_STRATEGY = "strategy"


class Table(NamedTuple):
    """The section, read once. `unknown` are (key, agent id) pairs that lead nowhere and are left out."""

    groups: Mapping[str, tuple[str, ...]]
    sequential: bool
    unknown: tuple[tuple[str, str], ...]


def build(section: Mapping[str, Any], agents: Collection[str]) -> Table:
    """Read the `broadcast` section; `agents` are the configured ids."""
    groups: dict[str, tuple[str, ...]] = {}
    unknown: list[tuple[str, str]] = []
    for key, listed in section.items():
        if key == _STRATEGY or not isinstance(listed, list | tuple):
            continue
        ids = dict.fromkeys(normalize_agent_id(str(one)) for one in listed)
        unknown += [(key, one) for one in ids if one not in agents]
        if known := tuple(one for one in ids if one in agents):
            groups[key.strip()] = known
    return Table(groups, section.get(_STRATEGY) == "sequential", tuple(unknown))


def listeners(table: Table, message: Inbound) -> tuple[str, ...]:
    """The agents of this conversation's broadcast group in config order, () where it has none."""
    return next((group for key in _keys(message) if (group := table.groups.get(key))), ())


def addressed(agents: Sequence[str], named: Collection[str]) -> tuple[str, ...]:
    """Who runs once the message passed the mention gate: those whose patterns were in it, else everybody."""
    return tuple(one for one in agents if one in named) or tuple(agents)


def session_key(agent: str, message: Inbound, session: Session) -> str:
    """The conversation's key for one of the agents, as the binding table would make it."""
    return conversation_key(
        agent,
        message.channel,
        message.account,
        (message.peer.kind, message.peer.id),
        dm_scope=session.dm_scope or "main",
        main_key=session.main_key,
        identity_links=session.identity_links,
    )


def _keys(message: Inbound) -> Iterator[str]:
    for peer in (message.peer, message.parent_peer):
        if isinstance(peer, Peer) and (id := peer.id.strip()):
            yield f"{message.channel}:{id}"
            yield id
