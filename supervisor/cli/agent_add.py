"""`agents add`: the entry, its folders, its bindings (SPEC 3.2.3)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import typer

from protocol.errors import UserError
from protocol.ids import DEFAULT_AGENT_ID, normalize_agent_id
from supervisor.cli import agents as noun
from supervisor.cli import output
from supervisor.cli.context import Context
from supervisor.cli.seed import seed
from supervisor.config import agents as rules
from supervisor.config import bindings as rows
from supervisor.config import channels, roster
from supervisor.config.load import Loaded
from supervisor.config.parse import read_bytes
from supervisor.config.write import write_atomically


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; empty means "the default"."""

    name: str
    workspace: str = ""
    model: str = ""
    agent_dir: str = ""
    bind: tuple[str, ...] = ()
    copy_auth: bool = False


def run(ctx: Context, wanted: Wanted, *, asks: bool, json: bool) -> None:
    """Add the agent. `asks` allows the wizard, which needs a terminal."""
    loaded = ctx.load()
    terminal = asks and sys.stdin.isatty() and sys.stdout.isatty()
    if not wanted.name and not terminal:
        raise UserError("Agent name is required.", hint="openclaw agents add work")
    if terminal:
        wanted = _ask(ctx, loaded, wanted)
    agent_id = _new_id(wanted.name, json)
    parsed = _specs(agent_id, wanted.bind)
    fields = _fields(ctx, agent_id, wanted)
    outcome: list[rows.Bound] = []

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        if agent_id in [roster.id_of(entry) for entry in roster.listed(config)]:
            raise UserError(f'Agent "{agent_id}" already exists.', hint="openclaw agents list")
        outcome[:] = [rows.bind(config.get("bindings") or [], parsed)]
        added = roster.put(config, agent_id, fields)
        return {**added, "bindings": outcome[0].bindings} if outcome[0].bindings else added

    written = ctx.change(mutate, command="agents add")
    sessions = rules.sessions_dir(written.loaded.config, ctx.paths, agent_id)
    _make_folders(ctx, loaded, wanted, agent_id, fields, sessions)
    if json:
        output.document_of({"agentId": agent_id, **_without_none(fields), "bindings": noun.bound_json(outcome[0])})
        noun.tell_conflicts(outcome[0].conflicts)
    else:
        _tell(ctx, agent_id, fields, sessions, outcome[0], terminal)
    noun.hint_restart(ctx, True)


def _fields(ctx: Context, agent_id: str, wanted: Wanted) -> dict[str, Any]:
    workspace, agent_dir = ctx.paths.agent_workspace(agent_id), ctx.paths.agent_dir(agent_id)
    return {
        "name": wanted.name.strip(),
        "workspace": str(ctx.paths.expand(wanted.workspace) if wanted.workspace else workspace),
        "agentDir": str(ctx.paths.expand(wanted.agent_dir) if wanted.agent_dir else agent_dir),
        "model": wanted.model or None,
    }


def _new_id(name: str, json: bool) -> str:
    agent_id = normalize_agent_id(name)
    if agent_id != name.strip():
        (output.say if json else output.data)(f'Normalized agent id to "{agent_id}".')
    if agent_id == DEFAULT_AGENT_ID:
        raise UserError(f'"{DEFAULT_AGENT_ID}" is reserved. Choose another name.', hint="openclaw agents add work")
    return agent_id


def _specs(agent_id: str, specs: tuple[str, ...]) -> list[rows.Row]:
    parsed, errors = rows.parse_specs(agent_id, specs, channels.LABELS)
    if errors:
        raise UserError("\n".join(errors), hint="openclaw agents add work --bind telegram:work")
    return parsed


def _make_folders(
    ctx: Context, loaded: Loaded, wanted: Wanted, agent_id: str, fields: dict[str, Any], sessions: Path
) -> None:
    workspace, agent_dir = Path(fields["workspace"]), Path(fields["agentDir"])
    fresh = not workspace.exists()
    for folder in (workspace, agent_dir, sessions):
        noun.make_private(folder)
    defaults = loaded.config.agents.defaults
    if not (defaults and defaults.skip_bootstrap):
        seed(workspace)
    if fresh:
        _git_init(workspace)
    if wanted.copy_auth:
        source = rules.agent_dir(loaded.config, ctx.paths, rules.default_agent_id(loaded.config)) / "auth-profiles.json"
        write_atomically(agent_dir / "auth-profiles.json", read_bytes(source))


def _git_init(workspace: Path) -> None:
    """A new workspace has a history where git is there; without it nothing is missing."""
    git = shutil.which("git")
    if git:
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        subprocess.run([git, "init", "-q"], cwd=workspace, env=quiet, check=False, timeout=10, capture_output=True)


def _ask(ctx: Context, loaded: Loaded, wanted: Wanted) -> Wanted:
    """The wizard: folder, credentials, model, routes."""
    name = wanted.name or typer.prompt("Agent name")
    agent_id = normalize_agent_id(name)
    workspace = typer.prompt("Workspace directory", default=ctx.short(ctx.paths.agent_workspace(agent_id)))
    default = rules.default_agent_id(loaded.config)
    has_auth = (rules.agent_dir(loaded.config, ctx.paths, default) / "auth-profiles.json").exists()
    copy_auth = has_auth and typer.confirm(f'Copy the credentials of "{default}" to this agent?', default=False)
    wants_model = typer.confirm("Configure a model for this agent now?", default=False)
    model = typer.prompt("Model (provider/model)") if wants_model else ""
    wants_route = typer.confirm("Route selected channels to this agent now?", default=False)
    specs = typer.prompt("Channels (such as telegram:work, separated by spaces)") if wants_route else ""
    return Wanted(name=name, workspace=workspace, model=model, bind=tuple(specs.split()), copy_auth=copy_auth)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _tell(ctx: Context, agent_id: str, fields: dict[str, Any], sessions: Path, done: rows.Bound, wizard: bool) -> None:
    lines = [
        ctx.updated(),
        f"Workspace OK: {ctx.short(fields['workspace'])}",
        f"Sessions OK: {ctx.short(sessions)}",
        f"Agent: {agent_id}",
        f"Workspace: {ctx.short(fields['workspace'])}",
        f"Agent dir: {ctx.short(fields['agentDir'])}",
    ]
    lines += [f"Model: {fields['model']}"] if fields["model"] else []
    lines += noun.block("Added bindings:", done.added) + noun.block("Updated bindings:", done.updated)
    noun.tell(lines)
    noun.tell_conflicts(done.conflicts)
    if wizard:
        output.data(f'Agent "{agent_id}" ready.')
