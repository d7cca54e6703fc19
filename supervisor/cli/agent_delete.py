"""`agents delete`: out of the configuration, and its folders into the trash (SPEC 3.2.7)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from protocol.errors import UserError
from protocol.ids import DEFAULT_AGENT_ID, normalize_agent_id
from supervisor.cli import agents as noun
from supervisor.cli import output
from supervisor.cli.context import Context
from supervisor.cli.trash import move_to_trash
from supervisor.config import agents as rules
from supervisor.config import roster
from supervisor.config.load import Loaded


def run(ctx: Context, name: str, *, force: bool, json: bool) -> None:
    """Delete the agent. Asks on a terminal; elsewhere `force` is needed."""
    loaded = ctx.load()
    agent_id = normalize_agent_id(name)
    if agent_id == DEFAULT_AGENT_ID:
        raise UserError(f'"{DEFAULT_AGENT_ID}" cannot be deleted.')
    known = [roster.id_of(entry) for entry in roster.listed(loaded.values)]
    if agent_id not in known:
        raise noun.not_found(name, known)
    if not force and not _confirmed(agent_id):
        raise UserError("aborted")
    folders = _folders(ctx, loaded, agent_id)
    shared = _shares_workspace(ctx, loaded, agent_id)
    pruned: list[roster.Pruned] = []

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        pruned[:] = [roster.prune(config, agent_id)]
        return pruned[0].config

    ctx.change(mutate, command="agents delete")
    gone = {key: folder for key, folder in folders.items() if not (key == "workspace" and shared)}
    told = [_discard(ctx, folder) for folder in gone.values() if folder.exists()]
    if json:
        for line in told:
            output.say(line)
        output.document_of(_report(agent_id, folders, pruned[0], shared))
    else:
        with_whom = f"Kept workspace (shared with {', '.join(shared)}): {ctx.short(folders['workspace'])}"
        kept = [with_whom] if shared else []
        noun.tell([ctx.updated(), *told, *kept, f"Deleted agent: {agent_id}"])
    noun.hint_restart(ctx, True)


def _confirmed(agent_id: str) -> bool:
    if not sys.stdin.isatty():
        hint = f"openclaw agents delete {agent_id} --force"
        raise UserError("Non-interactive session. Re-run with --force.", hint=hint)
    return typer.confirm(f'Delete agent "{agent_id}"? Its workspace and sessions go to the trash.', default=False)


def _folders(ctx: Context, loaded: Loaded, agent_id: str) -> dict[str, Path]:
    return {
        "workspace": rules.workspace(loaded.config, ctx.paths, agent_id),
        "agentDir": rules.agent_dir(loaded.config, ctx.paths, agent_id),
        "sessionsDir": rules.sessions_dir(loaded.config, ctx.paths, agent_id),
    }


def _shares_workspace(ctx: Context, loaded: Loaded, agent_id: str) -> list[str]:
    """Agents whose workspace is the same, inside this one, or around it."""
    own = rules.workspace(loaded.config, ctx.paths, agent_id)
    places = {one: rules.workspace(loaded.config, ctx.paths, one) for one in rules.agent_ids(loaded.config)}
    return [
        one
        for one, place in places.items()
        if one != agent_id and (place.is_relative_to(own) or own.is_relative_to(place))
    ]


def _discard(ctx: Context, folder: Path) -> str:
    """Never the state folder, the home or what holds them, whatever the configuration names."""
    if ctx.paths.state.is_relative_to(folder) or ctx.paths.home.is_relative_to(folder):
        return f"Failed to move to Trash (manual delete): {ctx.short(folder)}"
    if move_to_trash(folder, ctx.paths.home, ctx.environ) is None:
        return f"Failed to move to Trash (manual delete): {ctx.short(folder)}"
    return f"Moved to Trash: {ctx.short(folder)}"


def _report(agent_id: str, folders: dict[str, Path], pruned: roster.Pruned, shared: list[str]) -> dict[str, Any]:
    kept = {"workspaceRetained": True, "workspaceRetainedReason": "shared", "workspaceSharedWith": shared}
    return {
        "agentId": agent_id,
        **{key: str(folder) for key, folder in folders.items()},
        "removedBindings": pruned.bindings,
        "removedAllow": pruned.allowed,
        **(kept if shared else {}),
    }
