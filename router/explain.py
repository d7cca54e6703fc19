"""Why a message goes where it goes: every tier, every binding that was tried, and what follows for the agent. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocol.config import ToolList
from protocol.envelope import Inbound
from protocol.ids import normalize_agent_id, normalize_channel
from protocol.routes import Explained, RoutesAgent, RoutesConfig, Tier, Tried
from protocol.sandbox import is_sandboxed as is_sandboxed_by
from protocol.session_key import canonical_peer
from protocol.tool_policy import ALL_TOOLS, OWNER_ONLY, effective
from router import bindings, broadcast, entry, routing
from router.bindings import Facts, Rule

#: Bindings told of in one tier: those that match, then the nearest misses.
MOST = 100


def explain(
    config: RoutesConfig, message: Inbound, approved: Collection[str], *, account_why: str, most: int = MOST
) -> Explained:
    """The whole decision about one message."""
    asked = route_input(message)
    found, facts = routing.resolve(bindings.table(config), asked), bindings.facts(asked)
    all_rules = bindings.read(config)
    own = [rule for rule in all_rules if rule.channel == facts.channel]
    tiers = trace(own, facts, most)
    agent = agent_of(config, found.agent)
    tools = tools_of(agent, is_sandboxed(config, agent, found.session_key))
    return Explained(
        channel=facts.channel,
        account=facts.account,
        account_why=account_why,
        tiers=tiers,
        others=len(all_rules) - len(own),
        agent=found.agent,
        binding=found.binding,
        matched_by=found.matched_by,
        why=_why(config, found, facts),
        broadcast=listeners(config, message),
        session_key=found.session_key,
        session_why=tuple(session_why(config, found, message)),
        reply=f"{facts.channel}/{facts.account}",
        access=entry.decide(config, message, approved),
        mention=entry.gate(config, message, found.agent),
        tools=tuple(tool for tool in tools if tool not in OWNER_ONLY),
        owner_only=tuple(tool for tool in tools if tool in OWNER_ONLY),
        denied=tuple(tool for tool in ALL_TOOLS if tool not in tools),
        sandboxed=is_sandboxed(config, agent, found.session_key),
        sandbox=sandbox_words(config, agent, found.session_key),
    )


def route_input(message: Inbound) -> routing.RouteInput:
    """What the binding table looks at."""
    parent = message.parent_peer
    return routing.RouteInput(
        channel=normalize_channel(message.channel),
        account=message.account,
        peer=(message.peer.kind, message.peer.id),
        parent_peer=(parent.kind, parent.id) if parent else None,
        guild=message.guild_id or "",
        team=message.team_id or "",
        roles=message.roles,
    )


# --- tiers -------------------------------------------------------------------------------------------------------


def trace(own: Sequence[Rule], message: Facts, most: int = MOST) -> tuple[Tier, ...]:
    """Every tier in order with what was tried in it; `own` are the rules of the message's channel."""
    tiers: list[Tier] = []
    won = False
    for name in bindings.TIERS:
        candidates = bindings.of_tier(own, name)
        if won:
            tiers.append(Tier(name=name, state="not reached", total=len(candidates)))
            continue
        tier = _try(name, candidates, message, most)
        won = tier.state == "won"
        tiers.append(tier)
    default = Tier(name="default", state="not reached" if won else "won")
    return (*tiers, default)


def winner(tiers: Sequence[Tier]) -> int | None:
    """The binding that won; None for the default agent."""
    tier = next(one for one in tiers if one.state == "won")
    return next((one.binding for one in tier.tried if one.matches), None)


def _try(name: str, candidates: Sequence[Rule], message: Facts, most: int) -> Tier:
    if name == bindings.PARENT and message.parent is None:
        return Tier(name=name, state="passed", total=len(candidates))
    missed = [(rule, tuple(bindings.misses(rule, name, message))) for rule in candidates]
    winner = next((rule for rule, why in missed if not why), None)
    # Matches first, then the nearest misses; in config order among equals.
    near = sorted(missed, key=lambda one: (len(one[1]), one[0].order))[:most]
    tried = tuple(
        Tried(binding=rule.order, agent=rule.agent, matches=not why, why=why or _beside(rule, winner))
        for rule, why in near
    )
    return Tier(name=name, state="won" if winner else "passed", tried=tried, total=len(candidates))


def _beside(rule: Rule, winner: Rule | None) -> tuple[str, ...]:
    if winner is None or winner.order == rule.order:
        return ()
    return (f"matches too, but bindings[{winner.order}] is earlier",)


def _why(config: RoutesConfig, found: routing.Resolution, facts: Facts) -> str:
    if found.binding is None:
        return f"no binding matches, so it is the default agent's, {found.agent}"
    written = config.bindings[found.binding].agent_id.strip()
    if config.listed and written and found.agent == config.default_agent:
        known = {agent.id for agent in config.agents}
        if normalize_agent_id(written) not in known:
            return f'bindings[{found.binding}] names the unknown agent "{written}": the default agent, {found.agent}'
    return f"bindings[{found.binding}] is the first that matches in the first tier that has one ({found.matched_by})"


# --- session -----------------------------------------------------------------------------------------------------


def session_why(config: RoutesConfig, found: routing.Resolution, message: Inbound) -> list[str]:
    """Why the conversation has this key."""
    if message.peer.kind != "direct":
        return ["a group has a session of its own, whatever dmScope says"]
    scope, why = _scope(config, found)
    if scope == "main":
        key = f', session.mainKey "{config.session.main_key}"' if config.session.main_key else ""
        return [f"{why}: all direct chats share the agent's main session{key}"]
    peer = message.peer.id.strip().lower()
    name = canonical_peer(message.channel, peer, config.session.identity_links or {})
    linked = [f'session.identityLinks knows {message.channel}:{peer} as "{name}"'] if name != peer else []
    return [f"{why}: a session for each person", *linked]


def _scope(config: RoutesConfig, found: routing.Resolution) -> tuple[str, str]:
    binding = config.bindings[found.binding] if found.binding is not None else None
    if binding and binding.session and binding.session.dm_scope:
        return binding.session.dm_scope, f"$.bindings[{found.binding}].session.dmScope = {binding.session.dm_scope}"
    if config.session.dm_scope:
        return config.session.dm_scope, f"$.session.dmScope = {config.session.dm_scope}"
    return "main", "session.dmScope is not set"


def listeners(config: RoutesConfig, message: Inbound) -> tuple[str, ...]:
    """The agents of a broadcast group, which the binding table is not asked about."""
    table = broadcast.build(config.broadcast, [agent.id for agent in config.agents])
    return broadcast.listeners(table, message)


# --- what the agent may do ---------------------------------------------------------------------------------------


def agent_of(config: RoutesConfig, agent: str) -> RoutesAgent:
    return next((one for one in config.agents if one.id == agent), RoutesAgent(id=agent))


def is_sandboxed(config: RoutesConfig, agent: RoutesAgent, session_key: str) -> bool:
    """Whether the configuration wants this session's work in a container (RULES 3.7)."""
    session = config.session
    return is_sandboxed_by(
        agent.sandbox_mode, agent.id, session_key, main_key=session.main_key, session_scope=session.scope
    )


def sandbox_words(config: RoutesConfig, agent: RoutesAgent, session_key: str) -> str:
    if agent.sandbox_mode == "off":
        return "off: on this machine, no container"
    if not is_sandboxed(config, agent, session_key):
        return "non-main: this is the agent's main session, so no container"
    where = {"session": "one for each session", "agent": "the agent's own", "shared": "one for all that share"}
    return f"{agent.sandbox_mode}: in a container ({where[agent.sandbox_scope]}), workspace {agent.workspace_access}"


def tools_of(agent: RoutesAgent, sandboxed: bool) -> list[str]:
    """The tools the policy leaves to an agent, sorted; `cron`, `gateway` and `nodes` are among them."""
    layers: tuple[ToolList, ...] = agent.tool_layers
    if sandboxed and agent.sandbox_tools is not None:
        layers = (*layers, agent.sandbox_tools)
    return sorted(effective(ALL_TOOLS, agent.tool_profile, layers, agent.tool_profile_also))
