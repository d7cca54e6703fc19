"""What changes for whom when one configuration takes the place of another, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from protocol.envelope import Inbound
from protocol.ids import normalize_account_id
from protocol.routes import AgentChange, Change, Compared, Diff, Entry, RoutesAgent, RoutesConfig, Seen
from router import bindings, boundary, broadcast, entry, routing, samples
from router.bindings import ROOM
from router.explain import agent_of, is_sandboxed, sandbox_words, tools_of
from router.prover import Prover
from router.samples import Samples

#: Most generated messages that are tried, and most people named in one group.
MOST_TRIED = 50_000
MOST_NAMED = 5

Approvals = Callable[[str, str], Collection[str]]


class Outcome(NamedTuple):
    """What becomes of a message under one configuration."""

    agent: str
    by: str
    access: Entry
    tools: frozenset[str]


class Side:
    """One of the two configurations."""

    def __init__(self, config: RoutesConfig, approved: Approvals) -> None:
        self.config = config
        self.prover = Prover(config)
        self._table = bindings.table(config)
        self._broadcast = broadcast.build(config.broadcast, [agent.id for agent in config.agents])
        self._approved = approved
        self._agents = {agent.id: agent for agent in config.agents}
        self._tools: dict[tuple[str, bool], frozenset[str]] = {}

    def outcome(self, message: Seen) -> Outcome:
        found = routing.resolve(self._table, samples.route_input(message))
        agent = self._agents.get(found.agent) or RoutesAgent(id=found.agent)
        sandboxed = is_sandboxed(self.config, agent, found.session_key)
        by = "the default agent" if found.binding is None else f"bindings[{found.binding}]"
        came = entry.inbound(message, normalize_account_id(message.account))
        name = found.agent
        if several := broadcast.listeners(self._broadcast, came):
            name, by = " and ".join(several), "broadcast"
        return Outcome(name, by, self._access(came), self._tools_of(agent, sandboxed))

    def _access(self, message: Inbound) -> Entry:
        account = message.account
        settings = self.prover.settings.get((message.channel, account))
        if settings is None:
            return "absent" if message.channel in self.prover.accounts else "closed"
        approved = self._approved(message.channel, account)
        return entry.verdict(self.config, settings, message, approved)

    def _tools_of(self, agent: RoutesAgent, sandboxed: bool) -> frozenset[str]:
        key = (agent.id, sandboxed)
        if key not in self._tools:
            self._tools[key] = frozenset(tools_of(agent, sandboxed))
        return self._tools[key]


def compare(question: Diff, spooled: Iterable[Seen], approved: Approvals) -> Compared:
    """Try generated and recent messages under both configurations, and tell whose answers differ."""
    old, new = Side(question.old, approved), Side(question.new, approved)
    accounts = {
        channel: dict.fromkeys([*old.prover.accounts.get(channel, ()), *new.prover.accounts.get(channel, ())])
        for channel in {**old.prover.accounts, **new.prover.accounts}
    }
    made = samples.Samples([*old.prover.rules, *new.prover.rules], accounts, future=False)
    tried = list(islice(_distinct(boundary.messages(old.prover, new.prover, made, accounts)), MOST_TRIED + 1))
    report = Report(old, new, made)
    for message in tried[:MOST_TRIED]:
        report.add(message, recent=False)
    recent = [message for message in (*question.recent, *spooled) if _is_whole(message)]
    for message in recent:
        report.add(message, recent=True)
    return Compared(
        changes=report.changes(),
        agents=tuple(_agents(question.old, question.new)),
        generated=len(tried[:MOST_TRIED]),
        generated_changed=report.changed[False],
        recent=len(recent),
        recent_changed=report.changed[True],
        complete=len(tried) <= MOST_TRIED,
    )


class _Group:
    """People for whom the same changes."""

    def __init__(self, before: Outcome, after: Outcome) -> None:
        self.before = before
        self.after = after
        self.who: dict[str, None] = {}
        self.recent = 0


class Report:
    """Collects what differs."""

    def __init__(self, old: Side, new: Side, made: Samples) -> None:
        self.changed = {False: 0, True: 0}
        self._old = old
        self._new = new
        self._samples = made
        self._groups: dict[tuple[str, str, str, str], _Group] = {}

    def add(self, message: Seen, *, recent: bool) -> None:
        before, after = self._old.outcome(message), self._new.outcome(message)
        if (before.agent, before.access) == (after.agent, after.access) or _nobody_notices(message, before, after):
            return
        self.changed[recent] += 1
        key = (before.agent, after.agent, before.access, after.access)
        group = self._groups.setdefault(key, _Group(before, after))
        group.recent += recent
        group.who[who(message, self._samples)] = None

    def changes(self) -> tuple[Change, ...]:
        return tuple(_change(group) for group in self._groups.values())


def who(message: Seen, made: Samples) -> str:
    """The people a message stands for: `+1555… on whatsapp/biz`, `everybody else in direct chats on telegram/work`."""
    place = f"on {message.channel}/{message.account}"
    peer, parent = message.peer, message.parent_peer
    id = str(peer.id) if peer else ""
    kind = bindings.KINDS.get(peer.kind if peer else "direct", "direct")
    if parent is not None:
        subject = f"threads of group {parent.id}" if made.is_fresh(message.channel, ROOM, id) else f"thread {id}"
    elif made.is_fresh(message.channel, kind, id):
        subject = "every other group" if kind == ROOM else "everybody else in direct chats"
    else:
        subject = f"group {id}" if kind == ROOM else id
    details = [f"in guild {message.guild_id}"] if message.guild_id else []
    details += [f"in team {message.team_id}"] if message.team_id else []
    details += [f"with role {' and '.join(message.roles)}"] if message.roles else []
    return " ".join([subject, *details, place])


def _nobody_notices(message: Seen, before: Outcome, after: Outcome) -> bool:
    """Who is ignored as before, or writes to an account that nobody has, has no agent to change."""
    direct = message.peer is None or message.peer.kind in ("direct", "dm")
    return before.access == after.access and (before.access == "absent" or (direct and before.access == "ignored"))


def _change(group: _Group) -> Change:
    before, after = group.before, group.after
    # What an agent itself may do otherwise is told once, with the agent.
    gains, loses = _words(before.tools, after.tools) if before.agent != after.agent else ([], [])
    if before.access != after.access:
        gains += [f"access to agent {after.agent}"] if after.access == "allowed" else []
        loses += [f"access to agent {before.agent}"] if before.access == "allowed" else []
    return Change(
        old_agent=before.agent,
        new_agent=after.agent,
        old_access=before.access,
        new_access=after.access,
        old_by=before.by,
        new_by=after.by,
        who=tuple(group.who)[:MOST_NAMED],
        count=len(group.who),
        recent=group.recent,
        gains=tuple(gains),
        loses=tuple(loses),
    )


def _words(before: frozenset[str], after: frozenset[str]) -> tuple[list[str], list[str]]:
    return [f"tool {tool}" for tool in sorted(after - before)], [f"tool {tool}" for tool in sorted(before - after)]


def _agents(old: RoutesConfig, new: RoutesConfig) -> Iterator[AgentChange]:
    """Agents that may do other things than before, whoever writes to them."""
    before, after = ({agent.id for agent in config.agents} for config in (old, new))
    for agent in sorted(before | after):
        if agent not in after:
            yield AgentChange(agent=agent, state="gone")
        elif agent not in before:
            yield AgentChange(agent=agent, state="new")
        elif (changed := _agent_change(agent, old, new)) is not None:
            yield changed


def _agent_change(id: str, old: RoutesConfig, new: RoutesConfig) -> AgentChange | None:
    """Judged for a session that is not the main one: there a sandbox counts soonest."""
    key, one, two = f"agent:{id}:some:other:session", agent_of(old, id), agent_of(new, id)
    tools = [frozenset(tools_of(a, is_sandboxed(c, a, key))) for c, a in ((old, one), (new, two))]
    gains, loses = _words(tools[0], tools[1])
    boxes = [sandbox_words(old, one, key), sandbox_words(new, two, key)]
    sandbox = f"{boxes[0]} → {boxes[1]}" if boxes[0] != boxes[1] else ""
    if not (gains or loses or sandbox):
        return None
    return AgentChange(agent=id, state="changed", gains=tuple(gains), loses=tuple(loses), sandbox=sandbox)


def _distinct(found: Iterable[Seen]) -> Iterator[Seen]:
    seen: set[object] = set()
    for message in found:
        peers = [(peer.kind, str(peer.id)) if peer else None for peer in (message.peer, message.parent_peer)]
        key = (message.channel, message.account, *peers, message.guild_id, message.team_id, message.roles)
        if key not in seen:
            seen.add(key)
            yield message


def _is_whole(message: Seen) -> bool:
    """Whether the peers of a recorded message are peers; other rows are passed over."""
    try:
        entry.inbound(message, normalize_account_id(message.account))
    except ValueError:
        return False
    return True
