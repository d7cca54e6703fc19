"""Whom a command of an agent concerns: who may allow it, who owns the gateway, who may leave the sandbox. Pure.

Decided on the message that the platform brought, never on what a worker says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from protocol.accounts import account_settings, default_account_id, sections
from protocol.approvals import ElevatedRules
from protocol.envelope import Address, Inbound
from protocol.slices import RouterAgent, RouterSlice
from router import commands

#: Owners who are asked about one command, at most.
MAX_OWNERS = 5
#: Accounts' settings and who was let in there.
Approved = Callable[[str, str], Collection[str]]


class Rights:
    """By one configuration at a time. `approved` are the senders that pairing let in to an account."""

    def __init__(self, approved: Approved) -> None:
        self._approved = approved
        self._agents: dict[str, RouterAgent] = {}
        self._sections: dict[str, Mapping[str, Any]] = {}
        self._commands: Mapping[str, Any] = {}

    def update(self, slice: RouterSlice) -> None:
        """Decide by this configuration from now on."""
        self._agents = {agent.id: agent for agent in (*slice.agents, *slice.leaving)}
        self._sections = dict(sections(slice.channels))
        self._commands = slice.commands

    def may_approve(self, message: Inbound) -> bool:
        """Whether the sender may allow commands: somebody who may give orders, and whom no agent speaks for."""
        if message.relayed is not None:
            return False
        settings = self._settings(message)
        approved = self._approved(message.channel, message.account) if settings is not None else ()
        return self.is_owner(message) or (
            settings is not None and commands.may_command(self._commands, settings, message, approved)
        )

    def is_owner(self, message: Inbound) -> bool:
        return message.relayed is None and commands.is_owner(self._commands, message)

    def owners(self, message: Inbound) -> tuple[Address, ...]:
        """Where the owners are reached: `channel:id` by that channel, a bare id by the channel of the message."""
        found: dict[Address, None] = {}
        for entry in self._commands.get("ownerAllowFrom") or ():
            channel, _, id = str(entry).strip().rpartition(":")
            if channel not in self._sections:
                channel, id = message.channel, str(entry).strip()
            if id and id != "*" and channel in self._sections:
                found[Address(channel, self._account(channel, message), id)] = None
        return tuple(found)[:MAX_OWNERS]

    def elevated(self, agent: str) -> ElevatedRules:
        """The agent's rules; those of an agent that is gone let nobody out."""
        known = self._agents.get(agent)
        return known.elevated if known else ElevatedRules()

    def closed_gates(self, agent: str, message: Inbound) -> tuple[str, ...]:
        """What keeps this sender from leaving the sandbox, by the names of the settings; empty when nothing does."""
        rules = self.elevated(agent)
        found = [] if rules.enabled else ["enabled (tools.elevated.enabled, agents.list[].tools.elevated.enabled)"]
        if message.relayed is not None:
            found.append("sender (the message comes from another agent)")
        if not commands.is_named(message, rules.allow_from.get(message.channel)):
            found.append(f"allowFrom (tools.elevated.allowFrom.{message.channel})")
        if rules.own is not None and not commands.is_named(message, rules.own.get(message.channel)):
            found.append(f"allowFrom (agents.list[].tools.elevated.allowFrom.{message.channel})")
        return tuple(found)

    def _settings(self, message: Inbound) -> dict[str, Any] | None:
        section = self._sections.get(message.channel)
        return account_settings(section, message.account, message.channel) if section is not None else None

    def _account(self, channel: str, message: Inbound) -> str:
        return message.account if channel == message.channel else default_account_id(self._sections[channel])
