"""`openclaw doctor`: finds what is wrong, says what to type, and mends what is safe (SPEC 3.11).

Works on any configuration and without a gateway: a check that fails itself is a finding like the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
import typer

from protocol.errors import UserError
from supervisor.cli import context, output
from supervisor.cli import isolation as attacks
from supervisor.cli.checkup import disk, logins, running, sandboxes, settings
from supervisor.cli.checkup.facts import Facts, gather
from supervisor.cli.checkup.finding import Finding, error
from supervisor.cli.checkup.mend import Mended, mend
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, noun
from supervisor.config.version import VERSION

app = noun("Find what is wrong and mend what is safe.")
APPS = {"doctor": app}

Check = Callable[[Facts], Iterator[Finding]]
#: In the order in which they are shown; the title is what is fine when nothing is found.
CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("config", "the configuration is valid", settings.valid),
    ("legacy", "no old spellings", settings.outdated),
    ("advice", "nothing odd in the configuration", settings.odd),
    ("default-account", "channels with several accounts name their default", settings.default_account),
    ("bindings", "bindings name configured accounts", settings.bound_accounts),
    ("gateway-auth", "the gateway's port is guarded", settings.gateway_door),
    ("accounts", "channel accounts have their logins", logins.accounts),
    ("pairing", "pairing files can be read", logins.pairing_files),
    ("model-keys", "agents have model keys", logins.model_keys),
    ("sessions", "nobody reads another one's conversation", logins.shared_sessions),
    ("folders", "agents have their folders and first files", disk.folders),
    ("workspaces", "agents' folders lie apart", disk.apart),
    ("permissions", "private files are private", disk.rights),
    ("sandboxes", "sandboxes that are asked for can be had", sandboxes.containers),
    ("disk", "there is room on the disk", disk.room),
    ("leftovers", "nothing left over", disk.leftovers),
    ("crashes", "nothing crashed since yesterday", disk.crashes),
    ("gateway", "a gateway runs and answers", running.reachable),
    ("processes", "all processes are well", running.processes),
    ("connections", "accounts are connected", running.connected),
    ("queue", "no message is stranded", running.queue),
)
#: Checks that mean nothing without a gateway.
_NEED_GATEWAY = frozenset({"processes", "connections", "queue"})
_MARKS = {"error": ("✗", "31"), "warning": ("!", "33"), "note": ("·", "36")}


class Diagnosis(msgspec.Struct, frozen=True):
    """What every check found, by its id."""

    found: tuple[tuple[str, Finding], ...]
    skipped: frozenset[str] = frozenset()

    def count(self, level: str) -> int:
        return sum(one.level == level for _, one in self.found)

    @property
    def mendable(self) -> list[Finding]:
        return [one for _, one in self.found if one.repair is not None]


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", "--repair", help="Mend what is safe, after a backup.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before mending.")] = False,
    non_interactive: Annotated[bool, typer.Option("--non-interactive", help="Ask nothing.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Try every login on its platform now.")] = False,
    isolation: Annotated[bool, typer.Option("--isolation", help="Have every worker attack its walls.")] = False,
    agent: Annotated[str, typer.Option("--agent", help="With --isolation: only this agent's workers.")] = "",
    json: Json = False,
) -> int:
    """Look at the configuration, the disk and the running gateway; exit 1 when errors are left."""
    ctx = context.current()
    if isolation:
        return attacks.run(ctx, agent, json=json)
    if agent:
        raise UserError("--agent belongs to --isolation", hint=f"openclaw doctor --isolation --agent {agent}")
    seen = examine(gather(ctx, deep=deep))
    mended = Mended()
    if fix and seen.mendable and _agreed(seen, ask=not (yes or non_interactive or json)):
        mended = mend(ctx, [one.repair for one in seen.mendable if one.repair is not None])
        seen = examine(gather(ctx, deep=deep))
    if json:
        output.document_of(_as_json(ctx, seen, mended))
    else:
        _show(ctx, seen, mended, fix=fix)
    return 1 if seen.count("error") or mended.failed else 0


def examine(facts: Facts) -> Diagnosis:
    """Run every check. A check that fails is told, and the others go on."""
    found: list[tuple[str, Finding]] = []
    skipped = _NEED_GATEWAY if facts.live.status is None else frozenset()
    for name, _, check in CHECKS:
        if name not in skipped:
            found += [(name, one) for one in _safely(name, check, facts)]
    return Diagnosis(tuple(found), skipped)


def _safely(name: str, check: Check, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(facts))
    except UserError as problem:
        found.append(error(f"{name} could not be checked: {problem.message}", where=problem.where or ""))
    except Exception as problem:
        text = f"{name} could not be checked: {type(problem).__name__}: {str(problem)[:200]}"
        found.append(error(text, hint="openclaw --log-level debug doctor"))
    return found


def _agreed(seen: Diagnosis, *, ask: bool) -> bool:
    if not ask or not sys.stdin.isatty():
        return True
    for one in seen.mendable:
        output.say(f"  {_line(one)}")
    return bool(typer.confirm(f"Mend {_things(len(seen.mendable))}?", default=True))


def _things(number: int) -> str:
    return "1 thing" if number == 1 else f"{number} things"


def _line(one: Finding) -> str:
    return f"{one.message} ({one.where})" if one.where else one.message


def _show(ctx: Context, seen: Diagnosis, mended: Mended, *, fix: bool) -> None:
    output.data(f"OpenClaw doctor {VERSION}")
    for name, title, _ in CHECKS:
        found = [one for check, one in seen.found if check == name]
        if not found and name not in seen.skipped:
            output.data(f"✓ {title}")
        for one in found:
            _show_finding(ctx, one)
    if fix:
        for text in mended.done:
            output.data(f"mended: {_short(ctx, text)}")
        for text in mended.failed:
            output.data(f"could not: {_short(ctx, text)}")
    output.data(_summary(seen, mended, fix=fix))


def _show_finding(ctx: Context, one: Finding) -> None:
    mark, code = _MARKS[one.level]
    print(f"{output.colour(mark, code)} {output.clean(_short(ctx, one.message))}")
    if one.where:
        output.data(f"  at {_short(ctx, one.where)}")
    if one.hint:
        output.data(f"  hint: {_short(ctx, one.hint)}")


def _short(ctx: Context, text: str) -> str:
    """Paths for people: the home is `~`."""
    home = str(ctx.paths.home)
    return text.replace(f"{home}/", "~/") if len(home) > 1 else text


def _summary(seen: Diagnosis, mended: Mended, *, fix: bool) -> str:
    errors, warnings = seen.count("error"), seen.count("warning")
    parts = [f"{errors} error{'s' * (errors != 1)}", f"{warnings} warning{'s' * (warnings != 1)}"]
    text = f"\n{' and '.join(parts)}." if errors or warnings else "\nEverything is fine."
    if not fix and seen.mendable:
        return f"{text} {_things(len(seen.mendable))} can be mended: openclaw doctor --fix"
    return f"{text} {_things(len(mended.done))} mended." if mended.done else text


def _as_json(ctx: Context, seen: Diagnosis, mended: Mended) -> dict[str, Any]:
    return {
        "ok": not seen.count("error") and not mended.failed,
        "version": VERSION,
        "config": {"path": str(ctx.paths.config), "exists": ctx.paths.config.exists()},
        "errors": seen.count("error"),
        "warnings": seen.count("warning"),
        "findings": list(map(_finding_json, seen.found)),
        "mended": list(mended.done),
        "failed": list(mended.failed),
    }


def _finding_json(item: tuple[str, Finding]) -> dict[str, Any]:
    name, one = item
    told = {"where": one.where, "hint": one.hint}
    kept = {key: value for key, value in told.items() if value}
    return {"check": name, "level": one.level, "message": one.message, **kept, "fixable": one.repair is not None}
