"""Which keys differ between two readings of the configuration: names for people, never values. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocol.ids import normalize_agent_id

#: How deep a difference is named: `channels.telegram.accounts.work`, not each key of it.
_DEPTH = 4
#: More names than this tell a person nothing.
_MOST = 8


def changed_paths(old: Any, new: Any) -> tuple[str, ...]:
    """The paths that differ, sorted; agents by their id (`agents.list.ops`)."""
    return tuple(sorted(dict.fromkeys(".".join(path) for path in _differences(old, new, ()))))


def summary(paths: tuple[str, ...]) -> str:
    """The paths as one short text."""
    more = f", and {len(paths) - _MOST} more" if len(paths) > _MOST else ""
    return ", ".join(paths[:_MOST]) + more or "nothing"


def _differences(old: Any, new: Any, at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if old == new:
        return
    if at == ("agents", "list"):
        old, new = _by_id(old), _by_id(new)
    inner = isinstance(old, dict) and isinstance(new, dict) and len(at) < _DEPTH
    if not inner:
        yield at
        return
    before = len(old.keys() & new.keys())
    for key in (*old, *(key for key in new if key not in old)):
        yield from _differences(old.get(key), new.get(key), (*at, str(key)))
    if before == len(old) == len(new) and list(old) != list(new) and at == ("agents", "list"):
        yield at  # only their order differs, and the first one is the default


def _by_id(agents: Any) -> Any:
    """The list of agents as an object, where it is one."""
    if not isinstance(agents, list) or not all(isinstance(one, dict) for one in agents):
        return agents
    return {normalize_agent_id(str(one.get("id"))): one for one in agents}
