"""`openclaw sandbox`: which containers there are, why a session is where it is, new ones, the image (SPEC 3.12)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from protocol import control as c
from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from protocol.sandbox import container_name
from protocol.session_key import owner_of
from supervisor.cli import client, context, output, sandbox_view
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, noun
from supervisor.cli.sandbox_view import View, view
from supervisor.config import agents
from supervisor.sandbox import images, listing
from supervisor.sandbox.engine import Engine, EngineError

T = TypeVar("T")

app = noun("List, explain and recreate sandboxes, and build their image.", no_args_is_help=True)
APPS = {"sandbox": app}

NONE = "No sandbox runtimes found."
NONE_FITTING = "No sandbox runtimes found matching the criteria."
WHICH = "Please specify --all, --session <key>, or --agent <id>"

#: Seconds for Docker to list, and to remove what was asked for.
_LISTING, _REMOVING = 90.0, 300.0
Browser = Annotated[bool, typer.Option("--browser", help="Only sandboxes of browsers; this build has none.")]


@app.command("list")
def list_(browser: Browser = False, json: Json = False) -> None:
    """Show every container of this state folder."""
    ctx = context.current()
    found = () if browser else _rows(ctx)
    if json:
        output.document_of({"containers": [_row_json(row) for row in found], "browsers": []})
        return
    for row in found:
        output.data(_row_text(row, time.time()))
    if not found:
        output.data(NONE)
    output.data(f"Total: {len(found)} ({sum(row.running for row in found)} running)")


@app.command()
def recreate(
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    session: Annotated[str, typer.Option("--session", help="The one of this session.")] = "",
    agent: Annotated[str, typer.Option("--agent", help="Those of this agent.")] = "",
    browser: Browser = False,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> None:
    """Remove containers; they come back, new, when they are needed."""
    if not (all_ or session.strip() or agent.strip()):
        raise UserError(WHICH, hint="openclaw sandbox recreate --all")
    ctx = context.current()
    rows = () if browser else _rows(ctx)
    chosen = [row for row in rows if all_ or _belongs(ctx, row, session.strip(), agent.strip())]
    if not chosen:
        output.data(NONE_FITTING)
        return
    for row in chosen:
        output.say(f"  {row.name} ({row.session_key})")
    if not force and not _agreed(len(chosen)):
        raise UserError("aborted: nothing was removed", hint="openclaw sandbox recreate --all --force")
    _remove(ctx, [row.name for row in chosen])
    output.data(f"Removed {len(chosen)} container{'s' * (len(chosen) != 1)}; they come back with the next message.")


@app.command()
def explain(
    session: Annotated[str, typer.Option("--session", help="A session key; the agent's main one when omitted.")] = "",
    agent: Annotated[str, typer.Option("--agent", help="The agent; that of the session key when omitted.")] = "",
    tool: Annotated[list[str], typer.Option("--tool", help="Why is this tool blocked; repeatable.")] = [],  # noqa: B006
    json: Json = False,
) -> int:
    """Show where a session runs and why, what really runs there now, and which layer takes which tool away."""
    ctx = context.current()
    config = ctx.load().config
    known = agents.agent_ids(config)
    chosen = normalize_agent_id(agent) if agent.strip() else _agent_of(session, agents.default_agent_id(config))
    if chosen not in known:
        text = f'Unknown agent id "{chosen}". Use "openclaw agents list" to see configured agents.'
        raise UserError(text, hint="openclaw agents list")
    seen = _with_live(ctx, view(config, ctx.paths, chosen, session, tuple(tool)))
    if json:
        output.document_of(sandbox_view.as_json(seen, config))
    else:
        for line in sandbox_view.lines(seen, config):
            output.data(line)
    return 1 if sandbox_view.proven(seen) is False else 0


@app.command()
def build(
    base: Annotated[str, typer.Option("--base", help="The image to build from.")] = images.BASE,
    tag: Annotated[str, typer.Option("--tag", help="The name it gets.")] = images.TAG,
    wheels: Annotated[str, typer.Option("--wheels", help="A folder of wheels instead of PyPI.")] = "",
    json: Json = False,
) -> None:
    """Build the image that sandboxes are made from."""
    folder = Path(wheels).expanduser().absolute() if wheels.strip() else None
    if folder is not None and not folder.is_dir():
        raise UserError("no such folder of wheels", where=str(folder), hint=f"ls -d {folder}")
    built = images.build(base=base, tag=tag, wheels=folder, say=output.say)
    if json:
        output.document_of({
            "tag": built.tag, "image": built.image, "base": built.base, "version": built.version,
            "protocol": built.protocol, "seconds": round(built.seconds, 1),
        })  # fmt: skip
        return
    output.data(f"Built {built.tag} ({built.image[:19]}) from {built.base} in {built.seconds:.0f} s.")


# --- what there is -------------------------------------------------------------------------------------------------


def _rows(ctx: Context) -> tuple[c.SandboxRow, ...]:
    """From the gateway, which knows what the configuration wants; without one from Docker itself."""
    try:
        with client.connect(ctx.paths, _LISTING) as line:
            found: c.Sandboxes = line.ask(c.ListSandboxes(), c.from_supervisor, c.Sandboxes)
            return found.rows
    except client.NotRunning:
        return _without_gateway(lambda engine: listing.rows(engine, ctx.paths))


def _remove(ctx: Context, names: list[str]) -> None:
    def hear(reply: Any) -> None:
        if isinstance(reply, c.Progress):
            output.say(reply.text)

    try:
        with client.connect(ctx.paths, _REMOVING) as line:
            line.ask(c.RecreateSandboxes(names=tuple(names)), c.from_supervisor, c.Finished, hear=hear)
    except client.NotRunning:
        _without_gateway(lambda engine: listing.remove(engine, ctx.paths, names))


def _without_gateway(work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
    engine = Engine()
    try:
        return asyncio.run(work(engine))
    except EngineError as error:
        message, _, hint = str(error).partition("\nhint: ")
        raise UserError(message, where=engine.host, hint=hint or "docker info") from None
    finally:
        engine.close()


def _belongs(ctx: Context, row: c.SandboxRow, session: str, agent: str) -> bool:
    if agent and normalize_agent_id(agent) not in row.agents:
        return False
    return not session or session == row.session_key or row.name == _container_of(ctx, session)


def _container_of(ctx: Context, session: str) -> str:
    """The container this session is worked on in, by the configuration as it is now."""
    config = ctx.load().config
    owner = owner_of(session)
    settings, placement = agents.sandbox(config, owner), sandbox_view.placement_of(config, owner)
    key = placement.scope_key(owner, session)
    return container_name(str(settings.docker.get("containerPrefix") or ""), settings.scope, key)


def _agreed(number: int) -> bool:
    """Without a terminal nobody can say yes."""
    return sys.stdin.isatty() and bool(typer.confirm(f"Remove {number} container{'s' * (number != 1)}?", default=False))


def _row_json(row: c.SandboxRow) -> dict[str, Any]:
    return {
        "containerName": row.name,
        "backendId": "docker",
        "sessionKey": row.session_key,
        "createdAtMs": row.created_at_ms,
        "lastUsedAtMs": row.last_used_at_ms,
        "image": row.image,
        "configHash": row.config_hash,
        "running": row.running,
        "imageMatch": row.image_match,
        "configMatch": row.config_match,
        "agents": list(row.agents),
        "containerId": row.id,
        "status": row.status,
    }


def _row_text(row: c.SandboxRow, now: float) -> str:
    told = {True: "yes", False: "no", None: "unknown (no gateway)"}
    lines = (
        f"{row.name}",
        f"  status: {'running' if row.running else 'stopped'} ({row.status})",
        "  backend: docker",
        f"  image: {row.image}" + ("" if row.image_match is not False else " (the config wants another one)"),
        f"  config match: {told[row.config_match]}",
        f"  age: {output.age(row.created_at_ms / 1000, now)}",
        f"  idle: {output.age(row.last_used_at_ms / 1000, now)}",
        f"  session: {row.session_key}",
        "",
    )
    return "\n".join(lines)


# --- what really runs ----------------------------------------------------------------------------------------------


def _agent_of(session: str, default: str) -> str:
    return owner_of(session) if session.strip().lower().startswith("agent:") else default


def _with_live(ctx: Context, seen: View) -> View:
    request = c.InspectPlace(agent=seen.agent, session_key=seen.session_key)
    try:
        with client.connect(ctx.paths, _LISTING) as line:
            return sandbox_view.with_live(seen, line.ask(request, c.from_supervisor, c.PlaceFacts), "")
    except UserError as error:
        return sandbox_view.with_live(seen, None, error.message)
