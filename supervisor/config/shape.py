"""The two spellings of the agents: `agents.list`, and the original's newer `agents.entries`, a map from id to entry.

Everything else knows the list only: what is read is turned into it, and what is written goes back into the shape it
had. Pure: plain values in and out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.config.problems import Problem

Value = dict[str, Any]


def listed(config: Any) -> Any:
    """The configuration with every agent in `agents.list`, those of the map after those of the list."""
    agents = config.get("agents") if isinstance(config, dict) else None
    entries = agents.get("entries") if isinstance(agents, dict) else None
    if not isinstance(agents, dict) or not isinstance(entries, dict):
        return config
    rows = agents.get("list", [])
    if not isinstance(rows, list):
        return config
    rest = {key: value for key, value in agents.items() if key not in ("entries", "list")}
    return {**config, "agents": {**rest, "list": [*rows, *(_row(key, entry) for key, entry in entries.items())]}}


def _row(key: str, entry: Any) -> Any:
    return {"id": key, **entry} if isinstance(entry, dict) else entry


def restored(config: Value, authored: Mapping[str, Any]) -> Value:
    """A listed configuration in the shape of `authored`: agents that were in its map are again, new ones join them
    unless it has a list too."""
    before = authored.get("agents")
    entries = before.get("entries") if isinstance(before, dict) else None
    agents = config.get("agents")
    if not isinstance(before, dict) or not isinstance(entries, dict) or listed(authored) is authored:
        return config
    rows = agents.get("list", []) if isinstance(agents, dict) else []
    own = {row.get("id") for row in before.get("list", []) if isinstance(row, dict)}
    as_map = [row for row in rows if row.get("id") in entries or ("list" not in before and row.get("id") not in own)]
    as_list = [row for row in rows if row not in as_map]
    rest = {key: value for key, value in agents.items() if key != "list"} if isinstance(agents, dict) else {}
    shaped = {"entries": {str(row["id"]): _entry(row, entries.get(str(row["id"]))) for row in as_map}}
    order = {key: None for key in before}
    result = {**rest, **shaped, **({"list": as_list} if "list" in before else {})}
    return {**config, "agents": {key: result[key] for key in (*order, *result) if key in result}}


def _entry(row: Value, old: Any) -> Value:
    """The id stands in the key; it is repeated only where it was."""
    if isinstance(old, dict) and "id" in old:
        return row
    return {key: value for key, value in row.items() if key != "id"}


def place(problem: Problem, config: Any) -> Problem:
    """A problem of the listed configuration, with the path it has in `config`."""
    agents = config.get("agents") if isinstance(config, dict) else None
    if listed(config) is config or not isinstance(agents, dict):
        return problem
    steps = problem.path.split(".")
    if steps[:2] != ["agents", "list"]:
        return problem
    keys, before = list(agents["entries"]), len(agents.get("list", []))
    if len(steps) == 2:
        path = "agents.entries"
    elif (number := int(steps[2]) - before) < 0:
        return problem
    else:
        path = ".".join(["agents", "entries", keys[number], *steps[3:]])
    return Problem(path, problem.message, problem.hint, problem.key)
