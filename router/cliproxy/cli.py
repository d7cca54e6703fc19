"""The `cliproxy` command. This build's proxy is started by the gateway and serves its agents' own keys.

Account pools and standing alone come later; until then those commands check what was typed, say so, and change
nothing.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from typer.main import get_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The model proxy of openclaw. `openclaw gateway run` starts it by itself.",
)

Key = Annotated[list[str], typer.Option("--api-key", help="API key, or - to read it from stdin")]
Name = Annotated[str, typer.Option("--name", help="name of the account or pool")]

_SUBSCRIPTION_TOKEN = "sk-ant-oat"
_STRATEGIES = ("round-robin", "random", "fill-first", "least-busy", "least-used", "hash", "sticky")


def _version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        print(f"cliproxy {version('openclaw-supervisor')}")
    except PackageNotFoundError:
        print("cliproxy (not installed)")
    raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit")
    ] = False,
) -> None:
    """Holds the options of the command itself."""


def _fail(message: str, hint: str) -> typer.Exit:
    print(f"error: {message}\n\nhint: {hint}", file=sys.stderr)
    return typer.Exit(1)


def _not_here(what: str) -> typer.Exit:
    return _fail(
        f"this build has no {what} yet; nothing was changed",
        "openclaw config set env.ANTHROPIC_API_KEY YOUR-KEY && openclaw gateway restart",
    )


def _check_keys(keys: list[str]) -> None:
    for key in keys:
        if key.startswith(_SUBSCRIPTION_TOKEN):
            raise _fail(
                "a Claude subscription token (sk-ant-oat…) is no API key, and Anthropic forbids pooling them",
                "xdg-open https://console.anthropic.com/settings/keys",
            )


@app.command("add-account")
def add_account(name: Name, api_key: Key) -> None:
    """Add one API key (not in this build)."""
    _check_keys(api_key)
    raise _not_here(f"account store (account {name!r})")


@app.command("add-pool")
def add_pool(name: Name, api_key: Key, endpoint: Annotated[str, typer.Option("--endpoint")]) -> None:
    """Add a pool of keys with an endpoint of its own (not in this build)."""
    _check_keys(api_key)
    if not endpoint.startswith(("http://", "https://")):
        raise _fail(f"not an http address: {endpoint}", "cliproxy add-pool --endpoint http://localhost:3001 …")
    raise _not_here(f"account pools (pool {name!r})")


@app.command("start")
def start(
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    strategy: Annotated[str, typer.Option("--strategy")] = "round-robin",
) -> None:
    """Serve accounts on a port of its own (not in this build)."""
    if strategy not in _STRATEGIES:
        raise _fail(f"unknown strategy {strategy!r}", f"cliproxy start --strategy {_STRATEGIES[0]}")
    raise _not_here(f"proxy that stands alone (port {port})")


def _later(name: str) -> None:
    @app.command(name, help="(not in this build)")
    def command() -> None:
        raise _not_here("account pools")


for _name in ("stop", "status", "list", "remove-account", "remove-pool", "test", "stats", "logs", "config"):
    _later(_name)


def main() -> int:
    """Entry point of the `cliproxy` script. Exit code 1 for every mistake in what was typed."""
    try:
        result = get_command(app).main(prog_name="cliproxy", standalone_mode=False)
    except Exception as error:
        # The option parser's classes moved between releases: its errors are known by what they offer.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
            return 0
        print(f"error: {describe().rstrip('.')}\n\nhint: cliproxy --help", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0
