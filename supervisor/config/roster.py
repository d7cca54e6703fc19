"""Adding an agent to the configuration and taking one out (RULES 3.4). Pure: the authored value in, a new one out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from protocol.ids import DEFAULT_AGENT_ID, normalize_agent_id
from supervisor.config.bindings import owner

Value = dict[str, Any]


class Pruned(NamedTuple):
    """The configuration without an agent, and how much went with it."""

    config: Value
    bindings: int
    allowed: int


def listed(config: Mapping[str, Any]) -> list[Value]:
    """The entries of `agents.list`."""
    agents = config.get("agents")
    entries = agents.get("list") if isinstance(agents, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def id_of(entry: Mapping[str, Any]) -> str:
    return normalize_agent_id(str(entry.get("id") or ""))


def put(config: Value, agent_id: str, fields: Mapping[str, Any]) -> Value:
    """`config` with the agent's entry made or updated in place; fields that are None stay as they are.

    The first agent of an empty list is `main`, so that the default agent does not change.
    """
    wanted, entries = normalize_agent_id(agent_id), listed(config)
    given = {key: value.strip() if key == "name" else value for key, value in fields.items() if value is not None}
    if any(id_of(entry) == wanted for entry in entries):
        place = next(index for index, entry in enumerate(entries) if id_of(entry) == wanted)
        entries[place] = {**entries[place], **given}
    else:
        first = [{"id": DEFAULT_AGENT_ID}] if not entries and wanted != DEFAULT_AGENT_ID else []
        entries = [*entries, *first, {"id": wanted, **given}]
    return {**config, "agents": {**(config.get("agents") or {}), "list": entries}}


def prune(config: Value, agent_id: str) -> Pruned:
    """`config` without the agent, its bindings and its place in `tools.agentToAgent.allow`; emptied lists vanish."""
    wanted = normalize_agent_id(agent_id)
    entries = listed(config)
    bindings = [row for row in config.get("bindings") or () if isinstance(row, dict)]
    kept = [row for row in bindings if owner(row) != wanted]
    result = _with_list(config, "agents", "list", [entry for entry in entries if id_of(entry) != wanted])
    result = {key: value for key, value in result.items() if key != "bindings"} | ({"bindings": kept} if kept else {})
    return _disallow(_ordered(result, config), wanted, len(bindings) - len(kept))


def _disallow(config: Value, agent_id: str, bindings: int) -> Pruned:
    tools = config.get("tools")
    pair = tools.get("agentToAgent") if isinstance(tools, dict) else None
    allowed = pair.get("allow") if isinstance(pair, dict) else None
    if not isinstance(tools, dict) or not isinstance(allowed, list):
        return Pruned(config, bindings, 0)
    left = [one for one in allowed if one != agent_id]
    inner = _with_list(tools, "agentToAgent", "allow", left)
    return Pruned({**config, "tools": inner}, bindings, len(allowed) - len(left))


def _with_list(value: Value, section: str, key: str, items: list[Any]) -> Value:
    inner = value.get(section)
    if not isinstance(inner, dict) or key not in inner:
        return value
    rest = {name: one for name, one in inner.items() if name != key}
    return {**value, section: rest | ({key: items} if items else {})}


def _ordered(value: Value, like: Mapping[str, Any]) -> Value:
    return {key: value[key] for key in like if key in value}
