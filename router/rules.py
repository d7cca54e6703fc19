"""What one configuration decides by: its table, accounts, mention patterns, broadcasts. Made once, never changed. Pure.

A batch is judged by one of these from beginning to end, so no message is decided half by the old and half by the new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from protocol.accounts import account_ids, account_settings, default_account_id, sections
from protocol.envelope import Address, Inbound, Peer, PeerKind, Sender
from protocol.session_key import main_session_key
from protocol.slices import RouterAgent, RouterSlice
from router import broadcast, commands, history, mentions, routing, threads

#: Channel and account.
AccountKey = tuple[str, str]


class Target(NamedTuple):
    """An agent that hears a conversation; `why` is for the log."""

    agent: str
    session_key: str
    why: str


class Rules:
    """Which agents hear a message, by which patterns they are called, and which accounts run.

    `problems` are warnings for the log: what is configured and cannot be used.
    """

    def __init__(self, slice: RouterSlice) -> None:
        self.slice = slice
        self.agents: dict[str, RouterAgent] = {agent.id: agent for agent in slice.agents}
        self.accounts = _accounts(slice.channels)
        self.patterns = {
            agent.id: mentions.patterns(agent.group_chat, slice.messages.group_chat, agent.identity)
            for agent in slice.agents
        }
        self._table = routing.build(
            slice.bindings,
            agents=self.agents.keys(),
            default_agent=slice.default_agent,
            default_accounts={name: default_account_id(section) for name, section in sections(slice.channels)},
            session=slice.session,
        )
        self._groups = broadcast.build(slice.broadcast, self.agents.keys())
        self.sequential = self._groups.sequential
        self.problems = [*self._pattern_problems(), *self._group_problems()]

    def __repr__(self) -> str:
        return f"<Rules {self._table!r}, {len(self._groups.groups)} broadcast groups>"

    def main_key(self, agent: str) -> str:
        """The session where an agent's direct chats and its operator meet."""
        return main_session_key(agent, self.slice.session.main_key)

    def settings(self, channel: str, account: str, current: Mapping[str, Any]) -> Mapping[str, Any]:
        """An account's settings. One that this configuration does not have is on its way out: `current` still hold."""
        return self.accounts.get((channel, account), current)

    def targets(self, message: Inbound) -> tuple[Target, ...]:
        """Who hears this conversation: the agents of a broadcast group, else the one of the binding table."""
        if group := broadcast.listeners(self._groups, message):
            keys = ((agent, broadcast.session_key(agent, message, self.slice.session)) for agent in group)
            return tuple(Target(agent, threads.session_key(key, message), "broadcast") for agent, key in keys)
        found = routing.resolve(self._table, route_input(message))
        return (Target(found.agent, threads.session_key(found.session_key, message), found.matched_by),)

    def answering(self, channel: str, account: str, peer: str) -> frozenset[str]:
        """The agents that may be meant by what is written in a conversation, whatever kind it is of."""
        kinds: tuple[PeerKind, ...] = ("direct", "group", "channel")
        reply, nobody = Address(channel, account, peer), Sender("")
        written = (
            Inbound(
                channel=channel,
                account=account,
                message_id="",
                peer=Peer(kind, peer),
                sender=nobody,
                text="",
                at=0.0,
                reply=reply,
            )
            for kind in kinds
        )
        return frozenset(target.agent for one in written for target in self.targets(one))

    def command(self, message: Inbound) -> commands.Command | None:
        """The command that a message is, unless commands in texts are switched off."""
        return None if self.slice.commands.get("text") is False else commands.parse(message.text, message.mentioned)

    def history_limit(self, settings: Mapping[str, Any], channel: str, agent: str) -> int:
        """How many unanswered messages of a group are kept for this agent."""
        own, shared = self.agents[agent].group_chat, self.slice.messages.group_chat
        return history.limit_of(
            channel, settings.get("historyLimit"), own.history_limit, shared.history_limit if shared else None
        )

    def _pattern_problems(self) -> list[str]:
        return [
            f"agent {agent}: mention pattern {pattern!r} cannot be used (RE2) and is left out"
            for agent, wanted in self.patterns.items()
            for pattern in mentions.refused(wanted)
        ]

    def _group_problems(self) -> list[str]:
        return [f"broadcast.{key}: there is no agent {agent}; it is left out" for key, agent in self._groups.unknown]


def route_input(message: Inbound) -> routing.RouteInput:
    """What the binding table looks at."""
    parent = message.parent_peer
    return routing.RouteInput(
        channel=message.channel,
        account=message.account,
        peer=(message.peer.kind, message.peer.id),
        parent_peer=(parent.kind, parent.id) if parent else None,
        guild=message.guild_id or "",
        team=message.team_id or "",
        roles=message.roles,
    )


def _accounts(channels: Mapping[str, Any]) -> dict[AccountKey, Mapping[str, Any]]:
    """The accounts to run, with their settings."""
    found: dict[AccountKey, Mapping[str, Any]] = {}
    for name, section in sections(channels):
        for account in account_ids(section):
            settings = account_settings(section, account, name)
            if settings.get("enabled") is not False:
                found[name, account] = settings
    return found
