"""`openclaw gateway`: run, start, stop, restart, status (SPEC 3.4)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from protocol.errors import UserError
from supervisor.cli import context, output
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, missing, noun
from supervisor.config.problems import ConfigInvalid

app = noun("Run, start, stop and restart the gateway.", invoke_without_command=True)
APPS = {"gateway": app}
missing(app, "gateway", "install", "uninstall", "call", "usage-cost", "discover", "stability", "probe")

#: sysexits.h EX_CONFIG: a service manager must not try again.
EX_CONFIG = 78
NO_CONFIG = "Missing config. Run `openclaw setup` or set gateway.mode=local (or pass --allow-unconfigured)."

Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="HTTP port.")]
Where = Annotated[str, typer.Option("--bind", help="loopback, lan, tailnet, auto or custom.")]
Token = Annotated[str, typer.Option("--token", help="Token of the HTTP port. Better: gateway.auth.token.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Debug log, also on the terminal.")]
Unconfigured = Annotated[bool, typer.Option("--allow-unconfigured", help="Start without a config, and write one.")]
BINDS = ("loopback", "lan", "tailnet", "auto", "custom")


@app.callback()
def default(context_: typer.Context) -> None:
    """`openclaw gateway` alone is `gateway run`."""
    if context_.invoked_subcommand is None:
        raise typer.Exit(_run(None, "", "", verbose=False, allow_unconfigured=False))


@app.command()
def run(
    port: Port = None,
    bind: Where = "",
    token: Token = "",
    verbose: Verbose = False,
    allow_unconfigured: Unconfigured = False,
) -> int:
    """Run the gateway in the foreground until it is told to stop."""
    return _run(port, bind, token, verbose=verbose, allow_unconfigured=allow_unconfigured)


def _run(port: int | None, bind: str, token: str, *, verbose: bool, allow_unconfigured: bool) -> int:
    ctx = context.current()
    _check_bind(bind)
    try:
        _prepare(ctx, allow_unconfigured)
    except ConfigInvalid as error:
        heading = f"Invalid config at {ctx.paths.config}:"
        return output.invalid(error, ctx.paths, heading=heading, bullet="-", closing="")
    from supervisor.service import RunOptions, run_gateway  # the whole supervisor: for this command only

    chosen = RunOptions(
        port=port, bind=bind or None, token=token or None, verbose=verbose, allow_unconfigured=allow_unconfigured
    )
    return run_gateway(ctx.paths, chosen, ctx.environ)


def _check_bind(bind: str) -> None:
    if bind and bind not in BINDS:
        raise UserError(f"unknown bind '{bind}'", where="--bind", hint=f"--bind {'|'.join(BINDS)}")


def _prepare(ctx: Context, allow_unconfigured: bool) -> None:
    """What has to be right before anything is started. Raises UserError, 78 where starting is refused."""
    loaded = ctx.load()
    if not loaded.exists and not allow_unconfigured:
        hint = "openclaw gateway run --allow-unconfigured"
        raise UserError(NO_CONFIG, where=ctx.config_name, hint=hint, exit_code=EX_CONFIG)
    if not loaded.exists:
        ctx.change(_local, command="gateway run")


def _local(config: dict[str, Any]) -> dict[str, Any]:
    return config if config else {"gateway": {"mode": "local"}}


@app.command()
def start(
    port: Port = None,
    bind: Where = "",
    verbose: Verbose = False,
    allow_unconfigured: Unconfigured = False,
    json: Json = False,
) -> None:
    """Start the gateway in the background and wait until it is ready."""
    from supervisor.cli import gateway_start

    ctx = context.current()
    _check_bind(bind)
    gateway_start.start(ctx, _options(port, bind, verbose), lambda: _prepare(ctx, allow_unconfigured), json=json)


def _options(port: int | None, bind: str, verbose: bool) -> list[str]:
    chosen = [] if port is None else ["--port", str(port)]
    chosen += ["--bind", bind] if bind else []
    return [*chosen, *(["--verbose"] if verbose else [])]


@app.command()
def stop(json: Json = False) -> None:
    """Let running turns finish, then end the gateway."""
    from supervisor.cli import gateway_start

    gateway_start.stop(context.current(), json=json)


@app.command()
def restart(
    agent: Annotated[list[str], typer.Option("--agent", help="Only this agent's worker; repeatable.")] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Check the configuration, then renew what it changes and every worker; nothing is lost meanwhile."""
    from supervisor.cli import gateway_start

    ctx = context.current()
    gateway_start.restart(ctx, tuple(agent), lambda: _prepare(ctx, False), json=json)


@app.command()
def status(
    json: Json = False,
    require_rpc: Annotated[bool, typer.Option("--require-rpc", help="Exit 1 when no gateway answers.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Every process too.")] = False,
) -> int:
    """Show whether the gateway runs, and where. Works with a broken configuration."""
    from supervisor.cli import gateway_status

    reachable = gateway_status.show(context.current(), deep=deep, json=json)
    return 1 if require_rpc and not reachable else 0


@app.command()
def health(json: Json = False) -> None:
    """Ask the running gateway for its health."""
    from supervisor.cli.status import health as ask

    ask(json=json)
