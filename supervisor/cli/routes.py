"""`openclaw routes`: why a message goes where it goes, what is wrong with the bindings, what an edit would change."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from protocol.errors import OpenClawError, UserError
from protocol.routes import Compared, Diff, Explain, Explained, Lint, Linted, RoutesConfig, Seen
from supervisor.cli import context, output, route_message, route_text, router_child
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, noun
from supervisor.config.load import evaluate, load
from supervisor.config.parse import parse, read_text
from supervisor.config.routes import applied, routes_config

app = noun("Explain, check and compare the binding table. No gateway is needed.", no_args_is_help=True)
APPS = {"routes": app}

#: Seconds that a restart waits to be told what it changes, and the lines it takes.
SOON = 10.0
MOST_LINES = 20


@app.command()
def explain(
    file: Annotated[str, typer.Argument(help="A message as JSON, - for standard input; instead of options.")] = "",
    channel: Annotated[str, typer.Option("--channel")] = "",
    account: Annotated[str, typer.Option("--account", help="The channel's default account when omitted.")] = "",
    peer: Annotated[str, typer.Option("--peer", help="The chat: direct:ID, group:ID or channel:ID.")] = "",
    parent: Annotated[str, typer.Option("--parent", help="The chat a thread or topic is in: group:ID.")] = "",
    guild: Annotated[str, typer.Option("--guild", help="Server id.")] = "",
    team: Annotated[str, typer.Option("--team", help="Workspace id.")] = "",
    role: Annotated[list[str], typer.Option("--role", help="A role of the sender; repeatable.")] = [],  # noqa: B006
    sender: Annotated[str, typer.Option("--sender", help="Who wrote; in a direct chat the peer.")] = "",
    text: Annotated[str, typer.Option("--text", help="What was written, for mention patterns.")] = "",
    mentioned: Annotated[
        bool, typer.Option("--mentioned", help="The platform says that the bot is mentioned.")
    ] = False,
    json: Json = False,
) -> None:
    """Show where a message goes, tier by tier, and what follows from it."""
    ctx = context.current()
    options = route_message.Options(
        channel=channel, account=account, peer=peer, parent=parent, guild=guild, team=team, roles=tuple(role),
        sender=sender, text=text, mentioned=mentioned,
    )  # fmt: skip
    message = route_message.from_file(file) if file else route_message.described(options)
    question = Explain(config=_current(ctx), message=message, credentials=str(ctx.paths.credentials))
    found = router_child.ask(question, ctx.environ)
    assert isinstance(found, Explained)
    if json:
        output.document_of(msgspec.to_builtins(found))
    else:
        output.data("\n".join(route_text.explained(message, found)))


@app.command()
def lint(json: Json = False) -> int:
    """Find bindings that never match, contradict each other or cross tenants; exit code 1 for errors and warnings."""
    ctx = context.current()
    found = router_child.ask(Lint(config=_current(ctx)), ctx.environ)
    assert isinstance(found, Linted)
    if json:
        output.document_of(msgspec.to_builtins(found))
    else:
        output.data("\n".join(route_text.linted(found)))
    return 1 if any(finding.severity != "note" for finding in found.findings) else 0


@app.command()
def diff(
    new: Annotated[
        str, typer.Argument(help="The config file to compare with. Omitted: what the gateway runs by.")
    ] = "",
    recent: Annotated[str, typer.Option("--recent", help="Messages to try, one JSON object a line.")] = "",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 when anything changes.")] = False,
    json: Json = False,
) -> int:
    """Show for whom an edit changes the agent, the access or the tools. Nothing is applied."""
    ctx = context.current()
    before, after = _sides(ctx, new)
    messages = route_message.recent(recent) if recent else ()
    found = compare(ctx, before, after, messages, within=router_child.PATIENCE)
    if json:
        output.document_of(msgspec.to_builtins(found))
    else:
        output.data("\n".join(route_text.compared(found)))
    return 1 if exit_code and (found.changes or found.agents) else 0


def compare(
    ctx: Context, old: RoutesConfig, new: RoutesConfig, recent: tuple[Seen, ...] = (), *, within: float
) -> Compared:
    """What changes from one to the other, for generated messages and for recent ones. Raises OpenClawError."""
    spool, credentials = str(ctx.paths.spool), str(ctx.paths.credentials)
    question = Diff(old=old, new=new, recent=recent, spool=spool, credentials=credentials)
    found = router_child.ask(question, ctx.environ, within=within)
    assert isinstance(found, Compared)
    return found


def tell_changes(ctx: Context) -> None:
    """Before a restart: what the file would change, in a few lines on stderr. Never in the way of the restart."""
    try:
        before = applied(ctx.paths, ctx.environ)
        if before is None:
            return
        found = compare(ctx, before, _current(ctx), within=SOON)
    except OpenClawError as error:
        output.say(f"routes diff: {error}")
        return
    if found.changes or found.agents:
        for line in route_text.shortened(route_text.compared(found), MOST_LINES, "openclaw routes diff"):
            output.say(line)


def _sides(ctx: Context, name: str) -> tuple[RoutesConfig, RoutesConfig]:
    if name:
        return _current(ctx), _of_file(ctx, name)
    before = applied(ctx.paths, ctx.environ)
    if before is None:
        raise UserError("no gateway has accepted a configuration yet", hint="openclaw routes diff NEW.json5")
    return before, _current(ctx)


def _current(ctx: Context) -> RoutesConfig:
    loaded = load(ctx.paths, ctx.environ)
    return routes_config(loaded.config, loaded.environ)


def _of_file(ctx: Context, name: str) -> RoutesConfig:
    """Another file, read as if it were the config file. Raises UserError, ConfigInvalid."""
    path = ctx.paths.expand(name)
    text = read_text(path)
    if text is None:
        raise UserError("no such file", where=name)
    elsewhere = type(ctx.paths)(ctx.paths.home, ctx.paths.state, path, ctx.paths.profile)
    loaded = evaluate(parse(text, path), elsewhere, ctx.environ)
    return routes_config(loaded.config, loaded.environ)
