"""Adding and taking away rows of the binding table (RULES 3.5). Pure: lists of plain binding objects in and out.

Works on the authored values and not on structs, so that whatever else stands in a row is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_agent_id

Row = dict[str, Any]


class Conflict(NamedTuple):
    """A row that another agent owns."""

    binding: Row
    owner: str


class Bound(NamedTuple):
    """What became of rows to be added. `bindings` is the new table."""

    bindings: list[Row]
    added: list[Row]
    updated: list[Row]
    skipped: list[Row]
    conflicts: list[Conflict]


class Unbound(NamedTuple):
    """What became of rows to be taken away. `bindings` is the new table."""

    bindings: list[Row]
    removed: list[Row]
    missing: list[Row]
    conflicts: list[Conflict]


def parse_specs(agent_id: str, specs: Iterable[str], known: Collection[str]) -> tuple[list[Row], list[str]]:
    """`channel[:account]` as rows for an agent, and what is wrong with the others. Blank specs are nothing."""
    rows: list[Row] = []
    errors: list[str] = []
    for spec in filter(None, (spec.strip() for spec in specs)):
        channel, colon, account = spec.partition(":")
        channel, account = channel.strip().lower(), account.partition(":")[0].strip()
        if channel not in known:
            errors.append(f'Unknown channel "{channel}".')
        elif colon and not account:
            errors.append(f'Invalid binding "{spec}" (empty account id).')
        else:
            match = {"channel": channel} | ({"accountId": account} if account else {})
            rows.append({"type": "route", "agentId": normalize_agent_id(agent_id), "match": match})
    return rows, errors


def is_route(row: Any) -> bool:
    return isinstance(row, dict) and row.get("type", "route") == "route" and isinstance(row.get("match"), dict)


def owner(row: Row) -> str:
    """The agent a row belongs to."""
    return normalize_agent_id(str(row.get("agentId") or ""))


def describe(row: Row) -> str:
    """One line: `telegram accountId=work peer=group:1`, as the original writes it: without roles."""
    match = row["match"]
    parts = [str(match.get("channel", ""))]
    parts += [f"accountId={match['accountId']}"] if match.get("accountId") else []
    peer = match.get("peer") or {}
    parts += [f"peer={peer.get('kind', '')}:{peer.get('id', '')}"] if peer else []
    parts += [f"{key}={match[key + 'Id']}" for key in ("guild", "team") if match.get(key + "Id")]
    return " ".join(parts)


def describe_fully(row: Row) -> str:
    """`describe` and the roles (SPEC 3.2.2): for lists, where nothing may be hidden."""
    roles = row["match"].get("roles")
    return describe(row) + (f" roles={','.join(map(str, roles))}" if roles else "")


def bind(bindings: Sequence[Row], incoming: Iterable[Row]) -> Bound:
    """Add rows: the same row twice is skipped, another agent's is a conflict, a channel-only row of the same agent is
    given the account in place."""
    routes = [row for row in bindings if is_route(row)]
    result, before = Bound(list(bindings), [], [], [], []), len(routes)
    for row in incoming:
        _bind_one(routes, row, result, before)
    if not result.added and not result.updated:
        return result
    others = [row for row in bindings if not is_route(row)]
    return result._replace(bindings=[*routes, *others])


def _bind_one(routes: list[Row], row: Row, result: Bound, before: int) -> None:
    """Only the first `before` rows can be upgraded: those that stood there already."""
    agent = owner(row)
    same = next((one for one in routes if _identity(one) == _identity(row)), None)
    if same is not None and owner(same) == agent:
        result.skipped.append(row)
    elif same is not None:
        result.conflicts.append(Conflict(row, owner(same)))
    elif (place := _upgradable(routes[:before], row)) is not None:
        account = row["match"]["accountId"].strip()
        routes[place] = {**routes[place], "match": {**routes[place]["match"], "accountId": account}}
        result.updated.append(routes[place])
    else:
        routes.append({**row, "agentId": agent})
        result.added.append(routes[-1])


def _upgradable(routes: Sequence[Row], row: Row) -> int | None:
    """The same agent's otherwise equal row that names no account."""
    if not _account(row):
        return None
    for place, one in enumerate(routes):
        if not _account(one) and owner(one) == owner(row) and _rest(one) == _rest(row):
            return place
    return None


def unbind(bindings: Sequence[Row], outgoing: Iterable[Row]) -> Unbound:
    """Take rows away: the first that is the same and belongs to the same agent."""
    result = Unbound(list(bindings), [], [], [])
    for row in outgoing:
        same = [one for one in result.bindings if is_route(one) and _identity(one) == _identity(row)]
        own = next((one for one in same if owner(one) == owner(row)), None)
        if own is not None:
            result.bindings.remove(own)
            result.removed.append(own)
        elif same:
            result.conflicts.append(Conflict(row, owner(same[0])))
        else:
            result.missing.append(row)
    return result


def unbind_all(bindings: Sequence[Row], agent_id: str) -> Unbound:
    """Take away every route row of one agent, those with a peer too."""
    mine = [row for row in bindings if is_route(row) and owner(row) == normalize_agent_id(agent_id)]
    return Unbound([row for row in bindings if row not in mine], mine, [], [])


def _account(row: Row) -> str:
    return str(row["match"].get("accountId") or "").strip()


def _rest(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same, but for the account."""
    match = row["match"]
    peer = match.get("peer") or {}
    named = (peer.get("kind") or "", peer.get("id") or "", match.get("guildId") or "", match.get("teamId") or "")
    return (str(match.get("channel") or ""), *map(str, named), tuple(sorted(set(map(str, match.get("roles") or ())))))


def _identity(row: Row) -> tuple[Any, ...]:
    return (*_rest(row), _account(row) or DEFAULT_ACCOUNT_ID)
