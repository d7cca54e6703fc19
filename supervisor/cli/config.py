"""`openclaw config`: read, change and check the configuration (SPEC 2.9, 3.7)."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from protocol.errors import UserError
from supervisor.cli import config_batch, context, output
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, missing, noun
from supervisor.config import edit
from supervisor.config.load import Loaded
from supervisor.config.parse import parse, read_text, resolve_includes
from supervisor.config.problems import ConfigInvalid
from supervisor.config.redact import REDACTED, hide, keep_hidden
from supervisor.config.shape import restored

app = noun("Read, change and check the configuration.", no_args_is_help=True)
APPS = {"config": app}
missing(app, "config", "edit", "patch", "apply")

_STEP = re.compile(r"""(?:^|\.)(?P<bare>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<quote>["'])(?P<quoted>.*?)(?P=quote)\]""")
#: Maps whose entries are not dropped by mistake (SPEC 3.7).
_PROTECTED = re.compile(
    r"agents\.defaults\.models|models\.providers|models\.providers\.[^.]+\.models|plugins\.entries|auth\.profiles"
)
Place = Annotated[str, typer.Argument(metavar="PATH", help="Such as agents.list[1].id or channels.telegram.enabled.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check only, write nothing.")]


def steps_of(path: str) -> edit.Path:
    """`agents.list[1].id` as its steps. Raises UserError."""
    steps: list[str | int] = []
    position = 0
    for found in _STEP.finditer(path):
        if found.start() != position:
            break
        steps.append(int(found["index"]) if found["index"] else found["bare"] or found["quoted"] or "")
        position = found.end()
    if not steps or position != len(path):
        raise UserError(f"not a config path: {path}", hint="openclaw config get 'agents.list[0].id'")
    return tuple(steps)


@app.command()
def get(path: Place, json: Json = False) -> None:
    """Print what the configuration says at a path; secrets are not shown."""
    ctx = context.current()
    value = _lookup(hide(_values(ctx)), path)
    if json or isinstance(value, dict | list) or value is None:
        output.document_of(value)
    else:
        output.data(str(value).lower() if isinstance(value, bool) else str(value))


def _values(ctx: Context) -> Any:
    """The resolved values in the shape of the file; of a configuration with mistakes, what it says."""
    text = read_text(ctx.paths.config)
    authored = resolve_includes(parse(text or "{}", ctx.paths.config), ctx.paths.config)
    try:
        return restored(ctx.load().values, authored)
    except ConfigInvalid:
        return authored


def _lookup(value: Any, path: str) -> Any:
    try:
        return edit.lookup(value, steps_of(path))
    except edit.PathMissing:
        raise UserError(f"Config path not found: {path}") from None


@app.command("set")
def set_(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Such as gateway.port.")] = "",
    value: Annotated[str | None, typer.Argument(help="JSON5, or else a plain string.")] = None,
    strict_json: Annotated[bool, typer.Option("--strict-json", help="Refuse what is not JSON5.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The same as --strict-json.")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Merge an object into what is there.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Allow entries of a protected map to vanish.")] = False,
    dry_run: DryRun = False,
    batch_json: Annotated[str, typer.Option("--batch-json", help='[{"path": …, "value": …}, …], all or none.')] = "",
    batch_file: Annotated[str, typer.Option("--batch-file", help="A file that holds such a list; - is stdin.")] = "",
    ref_source: Annotated[str, typer.Option("--ref-source", help="env, file or exec: store a reference.")] = "",
    ref_provider: Annotated[str, typer.Option("--ref-provider")] = "default",
    ref_id: Annotated[str, typer.Option("--ref-id", help="Name of the variable, pointer or secret.")] = "",
) -> None:
    """Change values in the file, one or a whole list at once; comments and layout stay."""
    if batch_json or batch_file:
        changes = config_batch.parse(batch_json or config_batch.read(batch_file))
    elif ref_source or ref_id:
        changes = [config_batch.reference(path, ref_source, ref_provider, ref_id)]
    else:
        changes = [config_batch.Change(path, _value(_given(path, value), strict=strict_json or json))]

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        for one in changes:
            config = _set(config, one, merge=merge, replace=replace)
        return config

    told = f"Updated {changes[0].path}" if len(changes) == 1 else f"Updated {len(changes)} paths"
    _changed(context.current(), mutate, told, "config set", dry_run)


def _given(path: str, value: str | None) -> str:
    if not path or value is None:
        raise UserError("usage: openclaw config set <path> <value>", hint="openclaw config set gateway.port 18789")
    return value


def _set(config: dict[str, Any], one: config_batch.Change, *, merge: bool, replace: bool) -> dict[str, Any]:
    steps = steps_of(one.path)
    old = _old(config, steps)
    wanted = keep_hidden(_merged(old, one.value) if merge else one.value, old)
    if not replace:
        _refuse_loss(one.path, old, wanted)
    try:
        changed: dict[str, Any] = edit.replace(config, steps, wanted)
    except edit.PathMissing as error:
        raise UserError(f"Config path not found: {one.path} (there is no item {error})") from None
    return changed


@app.command()
def unset(path: Place, dry_run: DryRun = False) -> None:
    """Remove what stands at a path."""
    steps = steps_of(path)

    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        try:
            changed: dict[str, Any] = edit.remove(config, steps)
        except edit.PathMissing:
            raise UserError(f"Config path not found: {path}") from None
        return changed

    _changed(context.current(), mutate, f"Removed {path}", "config unset", dry_run)


def _changed(ctx: Context, mutate: Any, told: str, command: str, dry_run: bool) -> None:
    try:
        written = ctx.change(mutate, command=command, dry_run=dry_run, as_written=True)
    except ConfigInvalid as error:
        raise _refused(error) from None
    if dry_run:
        output.data(f"Dry run: {told[0].lower()}{told[1:]} would be {'written' if written.changed else 'no change'}.")
    elif not written.changed:
        output.data(f"{told}: nothing changed.")
    else:
        output.data(f"{told}. {_next(ctx)}")


def _next(ctx: Context) -> str:
    """What is left to do. A gateway that does not run reads the file when it starts."""
    from supervisor.cli import agents, client

    taken_over = client.is_running(ctx.paths) and agents.follows(ctx)
    return agents.TAKEN_OVER if taken_over else "Restart the gateway to apply."


def _refused(error: ConfigInvalid) -> UserError:
    first = error.problems[0]
    more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
    message = f"Config validation failed: {first.path}: {first.message}{more}"
    return UserError(message, where=error.where, hint=first.hint or None)


def _value(text: str, *, strict: bool) -> Any:
    import json5  # a single value, so that the library's speed does not matter

    try:
        return json5.loads(text)
    except (ValueError, RecursionError) as error:
        if strict:
            raise UserError(f"not JSON5: {str(error).removeprefix('<string>:')}", hint="omit --strict-json") from None
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError("the value is not UTF-8 text") from None
        return text


def _old(config: Any, steps: edit.Path) -> Any:
    try:
        return edit.lookup(config, steps)
    except edit.PathMissing:
        return None


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _refuse_loss(path: str, old: Any, new: Any) -> None:
    dotted = ".".join(str(step) for step in steps_of(path))
    if _PROTECTED.fullmatch(dotted) and isinstance(old, dict) and isinstance(new, dict) and old.keys() - new.keys():
        lost = ", ".join(sorted(old.keys() - new.keys()))
        raise UserError(f"this would remove {lost} from {path}", hint=f"openclaw config set --merge {path} …")


@app.command()
def validate(json: Json = False) -> int:
    """Check the file and tell everything that is wrong with it."""
    ctx = context.current()
    if read_text(ctx.paths.config) is None:
        raise UserError(f"Config file not found: {ctx.config_name}", hint="openclaw agents add work")
    try:
        loaded = ctx.load()
    except ConfigInvalid as error:
        return _report(ctx, error, json)
    _valid(ctx, loaded, json)
    return 0


def _valid(ctx: Context, loaded: Loaded, json: bool) -> None:
    if json:
        output.document_of({"valid": True, "path": str(ctx.paths.config), "warnings": list(loaded.warnings)})
    else:
        output.data(f"Config valid: {ctx.config_name}")


def _report(ctx: Context, error: ConfigInvalid, json: bool) -> int:
    if json:
        issues = [
            {"path": one.path, "message": one.message} | ({"hint": one.hint} if one.hint else {})
            for one in error.problems
        ]
        output.document_of({"valid": False, "path": str(ctx.paths.config), "issues": issues})
        return 1
    heading = f"Config invalid at {ctx.config_name}:"
    closing = "Run `openclaw doctor` to repair, or fix the keys above manually."
    return output.invalid(error, ctx.paths, heading=heading, bullet="  ×", closing=closing)


@app.command()
def file(json: Json = False) -> None:
    """Print the path of the config file."""
    ctx = context.current()
    if json:
        output.document_of({"path": str(ctx.paths.config), "exists": ctx.paths.config.exists()})
    else:
        output.data(str(ctx.paths.config))


@app.command()
def schema(json: Json = True) -> None:
    """Print the JSON Schema of the configuration."""
    from supervisor.config.jsonschema import schema as whole

    output.document_of(whole())


__all__ = ["APPS", "REDACTED", "steps_of"]
