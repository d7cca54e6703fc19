"""Which containers are ours, asked of Docker by label: for `openclaw sandbox list` and `recreate`.

With a gateway its desk asks, which also knows what the configuration wants; without one the command line asks here
directly. The registry only adds when each was used last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from protocol.control import SandboxRow
from protocol.paths import Paths
from supervisor.sandbox.engine import Engine, Gone
from supervisor.sandbox.profile import AGENTS, CONFIG_HASH, CREATED, OWNER, SESSION_KEY
from supervisor.sandbox.registry import FILE, Registry, read
from supervisor.sandbox.spec import owner_of


class Wanted(msgspec.Struct, frozen=True):
    """What the configuration wants of one container now."""

    image: str
    config_hash: str


async def rows(engine: Engine, paths: Paths, wanted: Mapping[str, Wanted] | None = None) -> tuple[SandboxRow, ...]:
    """Every container of this state root, by name. `wanted` is None where nobody knows the configuration.

    Raises EngineError.
    """
    filters = {"label": [f"{OWNER}={owner_of(paths.state)}"]}
    found = await engine.call(lambda client: client.containers(all=True, filters=filters))
    known = {entry.container_name: entry for entry in read(paths.state / "sandbox" / FILE)}
    listed = []
    for one in found:
        row = _row(one)
        if entry := known.get(row.name):
            row = msgspec.structs.replace(row, last_used_at_ms=entry.last_used_at_ms, image=entry.image)
        listed.append(_matched(row, wanted))
    return tuple(sorted(listed, key=lambda row: row.name))


async def remove(engine: Engine, paths: Paths, names: Iterable[str]) -> list[str]:
    """Remove containers of ours and their entries; returns the names of those that were there. Raises EngineError."""
    ours = {row.name: row for row in await rows(engine, paths)}
    removed, registry = [], Registry(paths.state / "sandbox")
    for name in names:
        if name in ours:
            await _remove_one(engine, ours[name].id)
            registry.forget(name)
            removed.append(name)
    return removed


async def _remove_one(engine: Engine, id: str) -> None:
    try:
        await engine.call(lambda client: client.remove_container(id, force=True, v=True))
    except Gone:
        return


def _row(one: Mapping[str, Any]) -> SandboxRow:
    labels = one.get("Labels") or {}
    name = str((one.get("Names") or ["/?"])[0]).lstrip("/")
    created = str(labels.get(CREATED, ""))
    agents = str(labels.get(AGENTS, ""))
    return SandboxRow(
        name=name,
        id=str(one.get("Id", "")),
        session_key=str(labels.get(SESSION_KEY, "")),
        created_at_ms=int(created) if created.isdecimal() else int(one.get("Created", 0)) * 1000,
        last_used_at_ms=0,
        image=str(one.get("Image", "")),
        config_hash=str(labels.get(CONFIG_HASH, "")),
        running=one.get("State") == "running",
        status=str(one.get("Status") or one.get("State") or ""),
        agents=tuple(agent for agent in agents.split(",") if agent),
    )


def _matched(row: SandboxRow, wanted: Mapping[str, Wanted] | None) -> SandboxRow:
    if wanted is None:
        return row
    one = wanted.get(row.name)
    return msgspec.structs.replace(
        row,
        image_match=one is not None and one.image == row.image,
        config_match=one is not None and one.config_hash == row.config_hash,
    )
