"""What one configuration decides by: its table, its accounts, its mention patterns. Made once, never changed.

A batch is judged by one of these from beginning to end, so no message is decided half by the old and half by the new.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from protocol.accounts import account_ids, account_settings, default_account_id, sections
from protocol.session_key import main_session_key
from protocol.slices import RouterAgent, RouterSlice
from router import mentions, routing

log = logging.getLogger(__name__)

#: Channel and account.
AccountKey = tuple[str, str]


class Rules(NamedTuple):
    """`accounts` are those to run, with their settings; `patterns` are the mention patterns of each agent."""

    slice: RouterSlice
    table: routing.Table
    accounts: Mapping[AccountKey, Mapping[str, Any]]
    patterns: Mapping[str, tuple[str, ...]]

    def main_key(self, agent: str) -> str:
        """The session where an agent's direct chats and its operator meet."""
        return main_session_key(agent, self.slice.session.main_key)


def build(slice: RouterSlice) -> Rules:
    """The rules of a configuration."""
    table = routing.build(
        slice.bindings,
        agents=[agent.id for agent in slice.agents],
        default_agent=slice.default_agent,
        default_accounts={name: default_account_id(section) for name, section in sections(slice.channels)},
        session=slice.session,
    )
    return Rules(slice, table, _accounts(slice), {agent.id: _patterns(slice, agent) for agent in slice.agents})


def _accounts(slice: RouterSlice) -> dict[AccountKey, Mapping[str, Any]]:
    found: dict[AccountKey, Mapping[str, Any]] = {}
    for name, section in sections(slice.channels):
        for account in account_ids(section):
            settings = account_settings(section, account)
            if settings.get("enabled") is not False:
                found[name, account] = settings
    return found


def _patterns(slice: RouterSlice, agent: RouterAgent) -> tuple[str, ...]:
    found = mentions.patterns(agent.group_chat, slice.messages.group_chat, agent.identity)
    for pattern in mentions.refused(found):
        log.warning("agent %s: mention pattern %r cannot be used (RE2) and is left out", agent.id, pattern)
    return found
