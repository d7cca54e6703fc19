"""How the nouns are declared: one place for what all of them share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from protocol.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def noun(help_text: str, **more: Any) -> typer.Typer:
    """A command with sub-commands. Plain help: no markup, no shell completion options."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **more,
    )


def missing(app: typer.Typer, noun_name: str, *names: str) -> None:
    """Sub-commands of the original that this build does not have: told plainly, exit code 1."""
    for name in names:
        settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
        app.command(name, hidden=True, context_settings=settings)(_absent(f"{noun_name} {name}"))


def _absent(command: str) -> Any:
    def absent(context: typer.Context) -> None:
        raise UserError(f"'{command}' is not implemented in this build", hint=f"openclaw {command.split()[0]} --help")

    return absent
