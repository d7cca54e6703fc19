"""`openclaw agents`: the roster and who gets which messages (SPEC 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from protocol.errors import UserError
from protocol.ids import DEFAULT_AGENT_ID, is_valid_agent_id, normalize_agent_id
from supervisor.cli import client, context, output
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, noun
from supervisor.config import agents as rules
from supervisor.config import bindings as rows
from supervisor.config import channels, roster
from supervisor.config.load import Loaded, load

app = noun("Manage isolated agents, their workspaces and bindings.", invoke_without_command=True)
APPS = {"agents": app}

Agent = Annotated[str, typer.Option("--agent", help="Agent id; the default agent when omitted.")]
Bind = Annotated[list[str], typer.Option("--bind", help="channel[:accountId], repeatable; * means every account.")]
TAKEN_OVER = "The running gateway takes it over by itself."
NO_SPEC = "Provide at least one --bind <channel[:accountId]>"


@app.callback()
def default(context_: typer.Context) -> None:
    """`openclaw agents` alone is `agents list`."""
    if context_.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(
    json: Json = False,
    bindings: Annotated[bool, typer.Option("--bindings", help="Show every routing rule, and a table of them.")] = False,
) -> None:
    """Show the agents."""
    from supervisor.cli import agent_list

    agent_list.show(context.current(), json=json, bindings=bindings)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Becomes the agent id.")] = "",
    workspace: Annotated[str, typer.Option("--workspace", help="Folder; default <state>/workspace-<id>.")] = "",
    model: Annotated[str, typer.Option("--model", help="provider/model")] = "",
    agent_dir: Annotated[str, typer.Option("--agent-dir", help="Folder of its auth-profiles.json.")] = "",
    bind: Bind = [],  # noqa: B006  # typer reads the default and never changes it
    non_interactive: Annotated[bool, typer.Option("--non-interactive", help="Ask nothing.")] = False,
    json: Json = False,
) -> None:
    """Add an agent. On a terminal and without options it asks; otherwise it takes the defaults."""
    from supervisor.cli import agent_add

    if non_interactive and not name:
        hint = "openclaw agents add work --workspace ~/.openclaw/workspace-work"
        raise UserError("Agent name is required in non-interactive mode.", hint=hint)
    if non_interactive and not workspace:
        raise UserError(
            "Non-interactive mode requires --workspace. Re-run without flags to use the wizard.",
            hint=f"openclaw agents add {name} --workspace ~/.openclaw/workspace-{normalize_agent_id(name)}",
        )
    asks = not (workspace or model or agent_dir or bind or non_interactive or json)
    wanted = agent_add.Wanted(name=name, workspace=workspace, model=model, agent_dir=agent_dir, bind=tuple(bind))
    agent_add.run(context.current(), wanted, asks=asks, json=json)


@app.command()
def bind(agent: Agent = "", bind: Bind = [], json: Json = False) -> int:  # noqa: B006
    """Give an agent the messages of a channel account."""
    ctx = context.current()
    loaded = ctx.load()
    agent_id, wanted = _target(loaded, agent), _parsed(bind, agent or rules.default_agent_id(loaded.config), NO_SPEC)
    outcome: list[rows.Bound] = []

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        _known(config, agent_id, agent)
        outcome[:] = [rows.bind(config.get("bindings") or [], wanted)]
        return {**config, "bindings": outcome[0].bindings} if outcome[0].bindings else config

    written = ctx.change(mutate, command="agents bind")
    done = outcome[0]
    if json:
        output.document_of({"agentId": agent_id, **bound_json(done)})
    else:
        _tell_bound(ctx, done, written.changed)
    _hint_unconfigured(loaded, [*done.added, *done.updated])
    return 1 if done.conflicts else 0


@app.command()
def unbind(
    agent: Agent = "",
    bind: Bind = [],  # noqa: B006
    all_: Annotated[bool, typer.Option("--all", help="Remove every routing rule of the agent.")] = False,
    json: Json = False,
) -> int:
    """Take the messages of a channel account away from an agent."""
    if all_ and bind:
        raise UserError("Use either --all or --bind, not both.")
    ctx = context.current()
    loaded = ctx.load()
    agent_id = _target(loaded, agent)
    wanted = [] if all_ else _parsed(bind, agent_id, f"{NO_SPEC} or use --all")
    outcome: list[rows.Unbound] = []

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        _known(config, agent_id, agent)
        table = config.get("bindings") or []
        outcome[:] = [rows.unbind_all(table, agent_id) if all_ else rows.unbind(table, wanted)]
        rest = {key: value for key, value in config.items() if key != "bindings"}
        return config | {"bindings": outcome[0].bindings} if outcome[0].bindings else rest

    written = ctx.change(mutate, command="agents unbind")
    done = outcome[0]
    if json:
        output.document_of({"agentId": agent_id, **unbound_json(done)})
    else:
        _tell_unbound(ctx, done, written.changed, agent_id if all_ else "")
    return 1 if done.conflicts else 0


@app.command()
def bindings(agent: Agent = "", json: Json = False) -> None:
    """Show who gets which messages."""
    loaded = context.current().load()
    wanted = _target(loaded, agent) if agent else ""
    table = [row for row in loaded.values.get("bindings") or () if rows.is_route(row)]
    table = [row for row in table if not wanted or rows.owner(row) == wanted]
    if json:
        listed = [(rows.owner(row), row["match"], rows.describe_fully(row)) for row in table]
        output.document_of([{"agentId": one, "match": match, "description": text} for one, match, text in listed])
    elif not table:
        output.data(f'No routing bindings for agent "{wanted}".' if wanted else "No routing bindings.")
    else:
        output.data("Routing bindings:")
        for row in table:
            output.data(f"- {rows.owner(row)} <- {rows.describe_fully(row)}")


@app.command()
def delete(
    agent_id: Annotated[str, typer.Argument(metavar="ID", help="Agent id.")],
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove an agent; its folders go to the trash."""
    from supervisor.cli import agent_delete

    agent_delete.run(context.current(), agent_id, force=force, json=json)


@app.command("set-identity")
def set_identity(
    agent: Agent = "",
    workspace: Annotated[str, typer.Option("--workspace", help="Find the agent by its workspace.")] = "",
    identity_file: Annotated[str, typer.Option("--identity-file", help="Another file than IDENTITY.md.")] = "",
    from_identity: Annotated[bool, typer.Option("--from-identity", help="Read IDENTITY.md of the workspace.")] = False,
    name: Annotated[str, typer.Option("--name")] = "",
    theme: Annotated[str, typer.Option("--theme")] = "",
    emoji: Annotated[str, typer.Option("--emoji")] = "",
    avatar: Annotated[str, typer.Option("--avatar", help="File in the workspace, https URL or data URI.")] = "",
    json: Json = False,
) -> None:
    """Set an agent's name, theme, emoji or picture, from options or from IDENTITY.md."""
    from supervisor.cli import agent_identity

    given = {"name": name, "theme": theme, "emoji": emoji, "avatar": avatar}
    explicit = {key: value.strip() for key, value in given.items() if value.strip()}
    source = agent_identity.Source(agent, workspace, identity_file)
    agent_identity.run(context.current(), source, {} if from_identity else explicit, json=json)


def not_found(agent: str, known: Sequence[str]) -> UserError:
    from supervisor.config.walk import suggest

    return UserError(f'Agent "{agent}" not found.', hint=suggest(agent, known) or "openclaw agents list")


def _target(loaded: Loaded, agent: str) -> str:
    """The agent a command is about. Raises UserError for one that is not there."""
    known = rules.agent_ids(loaded.config)
    if not agent.strip():
        return rules.default_agent_id(loaded.config)
    if not is_valid_agent_id(agent) or normalize_agent_id(agent) not in known:
        raise not_found(agent, known)
    return normalize_agent_id(agent)


def _known(config: Mapping[str, Any], agent_id: str, agent: str) -> None:
    """Seen again under the lock: another command may have deleted it."""
    known = [roster.id_of(entry) for entry in roster.listed(config)] or [DEFAULT_AGENT_ID]
    if agent_id not in known:
        raise not_found(agent or agent_id, known)


def _parsed(specs: Sequence[str], agent_id: str, none_given: str) -> list[rows.Row]:
    wanted, errors = rows.parse_specs(agent_id, specs, channels.LABELS)
    if errors:
        raise UserError("\n".join(errors), hint=_spec_hint(errors[0]))
    if not wanted:
        raise UserError(f"{none_given}.", hint="openclaw agents bind --agent work --bind telegram:work")
    return wanted


def _spec_hint(error: str) -> str:
    from supervisor.config.walk import suggest

    close = suggest(error.split('"')[1], list(channels.LABELS)) if error.startswith("Unknown channel") else ""
    return close or "openclaw agents bind --agent work --bind telegram:work"


def bound_json(done: rows.Bound) -> dict[str, list[str]]:
    lists = {"added": done.added, "updated": done.updated, "skipped": done.skipped}
    return {key: [rows.describe(row) for row in value] for key, value in lists.items()} | _conflicts(done.conflicts)


def unbound_json(done: rows.Unbound) -> dict[str, list[str]]:
    lists = {"removed": done.removed, "missing": done.missing}
    return {key: [rows.describe(row) for row in value] for key, value in lists.items()} | _conflicts(done.conflicts)


def _conflicts(conflicts: Sequence[rows.Conflict]) -> dict[str, list[str]]:
    return {"conflicts": [f"{rows.describe(one.binding)} (agent={one.owner})" for one in conflicts]}


def _tell_bound(ctx: Context, done: rows.Bound, changed: bool) -> None:
    if changed:
        output.data(ctx.updated())
    told = block("Added bindings:", done.added) + block("Updated bindings:", done.updated)
    if not told:
        output.data("No new bindings added.")
    tell(told + block("Already present:", done.skipped))
    tell_conflicts(done.conflicts)
    hint_restart(ctx, changed)


def _tell_unbound(ctx: Context, done: rows.Unbound, changed: bool, all_of: str) -> None:
    if changed:
        output.data(ctx.updated())
    if all_of and not done.removed:
        output.data(f'No bindings to remove for agent "{all_of}".')
        return
    tell(block("Removed bindings:", done.removed) or ["No bindings removed."])
    tell(block("Not found:", done.missing))
    tell_conflicts(done.conflicts, "Not removed, claimed by another agent:")
    hint_restart(ctx, changed)


def block(title: str, found: Sequence[rows.Row]) -> list[str]:
    return [title, *(f"- {rows.describe_fully(row)}" for row in found)] if found else []


def tell(lines: Sequence[str]) -> None:
    for line in lines:
        output.data(line)


def tell_conflicts(
    conflicts: Sequence[rows.Conflict], title: str = "Skipped bindings already claimed by another agent:"
) -> None:
    if conflicts:
        output.say(title)
        for one in conflicts:
            output.say(f"- {rows.describe_fully(one.binding)} (agent={one.owner})")


def hint_restart(ctx: Context, changed: bool) -> None:
    """What a running gateway makes of a change: nothing by itself where the operator switched that off."""
    if changed and client.is_running(ctx.paths):
        output.say(TAKEN_OVER if follows(ctx) else "hint: openclaw gateway restart")


def follows(ctx: Context) -> bool:
    """Whether a gateway of this configuration applies changes of the file by itself (`gateway.reload.mode`)."""
    reload = load(ctx.paths, ctx.environ).config.gateway.reload
    return not (isinstance(reload, dict) and reload.get("mode") == "off")


def _hint_unconfigured(loaded: Loaded, found: Sequence[rows.Row]) -> None:
    """A binding to an account that is not there yet is fine, and easily forgotten."""
    for row in found:
        channel, account = row["match"]["channel"], str(row["match"].get("accountId") or "")
        section = loaded.values.get("channels", {}).get(channel)
        if account == "*" or (isinstance(section, dict) and (not account or account in channels.account_ids(section))):
            continue
        login = f"openclaw channels login --channel {channel}" + (f" --account {account}" if account else "")
        output.say(f"{channels.label(channel)} {account or 'default'} is not configured yet\nhint: {login}")


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter. Raises UserError."""
    try:
        for one in (*reversed(folder.parents), folder):
            one.mkdir(exist_ok=True, mode=0o700)  # mkdir's own `parents` ignores the mode
    except OSError as error:
        raise UserError(f"cannot make the folder: {error.strerror}", where=str(folder)) from None
