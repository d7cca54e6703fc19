"""`openclaw approvals`: which commands agents may run by themselves, and those that wait for a person (SPEC 3.16)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from protocol import approvals as rules
from protocol import control as c
from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from supervisor.cli import client, context, output
from supervisor.cli.nouns import Json, noun
from supervisor.config import agents as roster
from supervisor.config import approvals
from supervisor.config.parse import parse, read_text
from supervisor.config.problems import ConfigInvalid

app = noun("Decide which commands agents may run by themselves.", no_args_is_help=True)
allowlist = noun("Programs that an agent may run without a question.", no_args_is_help=True)
app.add_typer(allowlist, name="allowlist")
APPS = {"approvals": app}

Agent = Annotated[str, typer.Option("--agent", help="Agent id; * for all agents.")]
Gateway = Annotated[bool, typer.Option("--gateway", help="The gateway's file, which is the only one here.")]
Node = Annotated[str, typer.Option("--node", hidden=True)]
Pattern = Annotated[str, typer.Argument(metavar="PATTERN", help="A program's name, or a path with * and **.")]
Id = Annotated[str, typer.Argument(metavar="ID")]
#: Bytes of a document on stdin.
_MAX_STDIN = 1024 * 1024


@app.command()
def get(agent: Agent = "", gateway: Gateway = False, node: Node = "", json: Json = False) -> None:
    """Show the file, its allowlist, and what holds for each agent."""
    _no_node(node)
    ctx = context.current()
    known, config = _look(ctx), ctx.load().config
    ids = (_agent(agent),) if agent else roster.agent_ids(config)
    policies = {one: approvals.policy(config, ctx.paths, one, known.file) for one in ids}
    if json:
        output.document_of(_as_json(ctx, known, policies))
        return
    print(output.table(["Field", "Value"], _facts(ctx, known)))
    output.data("\nAllowlist")
    print(output.table(["Target", "Agent", "Pattern", "Last used"], _listed(known.file) or [["", "", "none", ""]]))
    output.data("\nEffective Policy")
    rows = [[one, it.security, it.ask, it.ask_fallback, ", ".join(it.safe_bins)] for one, it in policies.items()]
    print(output.table(["Agent", "Security", "Ask", "Ask fallback", "Safe bins"], rows))


@app.command("set")
def set_(
    file: Annotated[str, typer.Option("--file", help="JSON5 file to take.")] = "",
    stdin: Annotated[bool, typer.Option("--stdin", help="Take JSON5 from standard input.")] = False,
    gateway: Gateway = False,
    node: Node = "",
    json: Json = False,
) -> None:
    """Replace the whole file by a JSON5 document; nothing changes when it is not good."""
    _no_node(node)
    if bool(file) == stdin:
        raise UserError("name one source of the new rules", hint="openclaw approvals set --file approvals.json5")
    source = Path("<stdin>") if stdin else Path(file)
    with _complaining(source):
        value = parse(_text(source, stdin), source)
        approvals.checked(value, source)
    _write(lambda _: dict(value), json, "Approvals set")


@allowlist.command()
def add(
    pattern: Pattern, agent: Agent = rules.EVERYBODY, gateway: Gateway = False, node: Node = "", json: Json = False
) -> None:
    """Let an agent run this program without a question."""
    _no_node(node)
    if problem := approvals.pattern_problem(pattern):
        raise UserError(f"{problem}: {pattern}", hint="openclaw approvals allowlist add /usr/bin/git --agent main")
    wanted = _agent(agent)
    _write(lambda value: approvals.allow(value, wanted, [pattern], None), json, f"Allowlisted for {wanted}: {pattern}")


@allowlist.command()
def remove(
    pattern: Pattern, agent: Agent = rules.EVERYBODY, gateway: Gateway = False, node: Node = "", json: Json = False
) -> None:
    """Take a program from an agent's allowlist."""
    _no_node(node)
    wanted, known = _agent(agent), _look(context.current())
    listed = ((known.file.agents or {}).get(wanted) or rules.AgentApprovals()).allowlist or ()
    if pattern not in {one.pattern for one in listed}:
        raise UserError(f"{pattern} is not on the allowlist of {wanted}", hint="openclaw approvals get")
    _write(lambda value: approvals.disallow(value, wanted, pattern), json, f"Removed for {wanted}: {pattern}")


@app.command()
def pending(json: Json = False) -> None:
    """Show the commands that wait for somebody to allow them."""
    with client.attached(context.current().paths) as line:
        found: c.Approvals = line.ask(c.ListApprovals(), c.from_router, c.Approvals)
    if json:
        output.document_of({"pending": [_question_json(one) for one in found.pending]})
    elif not found.pending:
        output.data("No commands wait for approval.")
    for one in () if json else found.pending:
        left = max(0, int(one.expires_at - time.time())) // 60
        where = "on the host, outside of its sandbox" if one.elevated else "where the agent works"
        output.data(f"{one.id}  agent {one.agent}, for {one.channel}:{one.sender}, {left} minutes left")
        output.data(f"  {where}, in {one.workdir or 'the workspace'}")
        output.data("\n".join(f"  | {row}" for row in one.command.split("\n")))


@app.command()
def resolve(
    id: Id,
    decision: Annotated[str, typer.Argument(metavar="allow-once|allow-always|deny")],
    json: Json = False,
) -> None:
    """Decide on a command that waits."""
    known: dict[str, Any] = {"allow-once": "allow-once", "allow-always": "allow-always", "deny": "deny"}
    if decision not in known:
        raise UserError(f"unknown decision '{decision}'", hint=f"openclaw approvals resolve {id} allow-once")
    with client.attached(context.current().paths) as line:
        done: c.Decided = line.ask(c.DecideApproval(id=id, decision=known[decision]), c.from_router, c.Decided)
    if json:
        output.document_of({"id": id, "decision": decision, "text": done.text})
    else:
        output.data(done.text)


def _write(mutate: approvals.Change, json: bool, told: str) -> None:
    ctx = context.current()
    with _complaining(approvals.file_of(ctx.paths)):
        known = approvals.change(ctx.paths, mutate)
    if json:
        output.document_of(_file_json(ctx, known))
    else:
        output.data(f"{told}\nUpdated {ctx.short(approvals.file_of(ctx.paths))}")


def _look(ctx: context.Context) -> approvals.Known:
    with _complaining(approvals.file_of(ctx.paths)):
        return approvals.look(ctx.paths)


@contextmanager
def _complaining(source: Path) -> Iterator[None]:
    """Rules that are not good are told in full, as those of this file and not of the configuration."""
    try:
        yield
    except ConfigInvalid as error:
        text = "\n".join(["exec approvals invalid", *output.problem_lines(error, "  -")])
        raise UserError(text, where=str(source), hint="openclaw approvals get --json") from None


def _text(source: Path, stdin: bool) -> str:
    if not stdin:
        text = read_text(source)
        if text is None:
            raise UserError("no such file", where=str(source), hint="openclaw approvals get --json")
        return text
    data = sys.stdin.buffer.read(_MAX_STDIN + 1)
    if len(data) > _MAX_STDIN:
        raise UserError(f"larger than {_MAX_STDIN} bytes", where=str(source))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start})", where=str(source)) from None


def _agent(name: str) -> str:
    return name if name == rules.EVERYBODY else normalize_agent_id(name)


def _no_node(node: str) -> None:
    if node:
        raise UserError("there are no nodes in this build", hint="openclaw approvals get --gateway")


def _facts(ctx: context.Context, known: approvals.Known) -> list[list[str]]:
    file, defaults = known.file, known.file.defaults
    named = [("security", "security"), ("ask", "ask"), ("askFallback", "ask_fallback")]
    said = [f"{name}={value}" for name, field in named if (value := getattr(defaults, field, None))]
    socket = file.socket.get("path") if isinstance(file.socket, dict) else None
    return [
        ["Target", "gateway"],
        ["Path", ctx.short(approvals.file_of(ctx.paths))],
        ["Exists", "yes" if known.hash else "no"],
        ["Hash", known.hash or "none"],
        ["Version", str(file.version)],
        ["Socket", str(socket or "none")],
        ["Defaults", ", ".join(said) or "none"],
        ["Agents", str(len(file.agents or {}))],
        ["Allowlist", str(len(_listed(file)))],
    ]


def _listed(file: rules.ApprovalsFile) -> list[list[str]]:
    now = time.time()
    return [
        ["gateway", agent, one.pattern, output.age((one.last_used_at or 0) / 1000, now)]
        for agent, own in (file.agents or {}).items()
        for one in own.allowlist or ()
    ]


def _file_json(ctx: context.Context, known: approvals.Known) -> dict[str, Any]:
    path = str(approvals.file_of(ctx.paths))
    return {"path": path, "exists": bool(known.hash), "hash": known.hash or None, "file": known.value}


def _as_json(ctx: context.Context, known: approvals.Known, policies: dict[str, rules.ExecPolicy]) -> dict[str, Any]:
    effective = [
        {
            "agentId": agent,
            "security": one.security,
            "ask": one.ask,
            "askFallback": one.ask_fallback,
            "allowlist": list(one.allowlist),
            "safeBins": list(one.safe_bins),
        }
        for agent, one in policies.items()
    ]
    return {"target": "gateway", **_file_json(ctx, known), "effectivePolicy": effective}


def _question_json(one: c.Approval) -> dict[str, Any]:
    return {
        "id": one.id,
        "agentId": one.agent,
        "channel": one.channel,
        "sender": one.sender,
        "command": one.command,
        "workdir": one.workdir,
        "elevated": one.elevated,
        "askedAtMs": int(one.asked_at * 1000),
        "expiresAtMs": int(one.expires_at * 1000),
    }
