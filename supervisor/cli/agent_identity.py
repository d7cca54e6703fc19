"""`agents set-identity`: who an agent is to the people it talks to (SPEC 3.2.8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from supervisor.cli import agents as noun
from supervisor.cli import output
from supervisor.cli.agent_list import read_identity
from supervisor.cli.context import Context
from supervisor.config import agents as rules
from supervisor.config import roster
from supervisor.config.load import Loaded


class Source(NamedTuple):
    """Which agent, and where its identity is read."""

    agent: str
    workspace: str
    identity_file: str


def run(ctx: Context, source: Source, explicit: dict[str, str], *, json: bool) -> None:
    """Write `agents.list[].identity`; without explicit fields they are read from the identity file."""
    loaded = ctx.load()
    agent_id = _agent(ctx, loaded, source)
    workspace = rules.workspace(loaded.config, ctx.paths, agent_id)
    file = ctx.paths.expand(source.identity_file) if source.identity_file else workspace / "IDENTITY.md"
    fields = explicit or read_identity(file)
    if not fields:
        hint = 'openclaw agents set-identity --name "Zed"'
        raise UserError(f"No identity data found in {ctx.short(file)}.", hint=hint)

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        entry = next((one for one in roster.listed(config) if roster.id_of(one) == agent_id), {})
        return roster.put(config, agent_id, {"identity": {**(entry.get("identity") or {}), **fields}})

    written = ctx.change(mutate, command="agents set-identity")
    identity = {key: fields[key] for key in ("name", "theme", "emoji", "avatar") if key in fields}
    if json:
        told = {"agentId": agent_id, "identity": identity, "workspace": str(workspace)}
        output.document_of(told | ({} if explicit else {"identityFile": str(file)}))
    else:
        lines = [ctx.updated()] if written.changed else []
        lines += [f"Agent: {agent_id}", *(f"{key.capitalize()}: {value}" for key, value in identity.items())]
        noun.tell([*lines, f"Workspace: {ctx.short(workspace)}"])
    noun.hint_restart(ctx, written.changed)


def _agent(ctx: Context, loaded: Loaded, source: Source) -> str:
    known = rules.agent_ids(loaded.config)
    if source.agent:
        if normalize_agent_id(source.agent) not in known:
            raise noun.not_found(source.agent, known)
        return normalize_agent_id(source.agent)
    folder = ctx.paths.expand(source.workspace) if source.workspace else Path.cwd()
    found = [one for one in known if rules.workspace(loaded.config, ctx.paths, one) == folder]
    if not found:
        text = f"No agent workspace matches {ctx.short(folder)}. Pass --agent to target a specific agent."
        raise UserError(text, hint="openclaw agents list")
    if len(found) > 1:
        text = f"Several agents share {ctx.short(folder)}: {', '.join(found)}. Pass --agent."
        raise UserError(text, hint=f"openclaw agents set-identity --agent {found[0]}")
    return found[0]
