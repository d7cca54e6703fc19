"""`openclaw channels`: accounts on chat platforms (SPEC 3.3)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from protocol.errors import UserError
from protocol.ids import normalize_account_id, normalize_channel
from supervisor.cli import context, output
from supervisor.cli.context import Context
from supervisor.cli.nouns import Json, missing, noun
from supervisor.config import accounts as rules
from supervisor.config import channels
from supervisor.config.channels import LABELS, label
from supervisor.config.walk import suggest

app = noun("Manage chat channels and accounts.", no_args_is_help=True)
APPS = {"channels": app}
missing(app, "channels", "capabilities", "resolve")

Channel = Annotated[str, typer.Option("--channel", help="Channel id, such as telegram or irc.")]
Account = Annotated[str, typer.Option("--account", help="Account id; the channel's default account when omitted.")]
Token = Annotated[str, typer.Option("--token", "--bot-token", help="Bot token; else from stdin or a hidden prompt.")]
TokenFile = Annotated[str, typer.Option("--token-file", help="File that holds the token.")]
Host = Annotated[str, typer.Option("--host", help="IRC server.")]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="IRC port.")]
Nick = Annotated[str, typer.Option("--nick", help="IRC nickname.")]
Tls = Annotated[bool | None, typer.Option("--tls/--no-tls", help="IRC over TLS (default).")]
Rooms = Annotated[list[str], typer.Option("--join", help="IRC channel to join, repeatable.")]
Name = Annotated[str, typer.Option("--name", help="Display name of the account.")]
ApiRoot = Annotated[str, typer.Option("--api-root", help="Telegram: another Bot API server.")]


@app.command("list")
def list_(json: Json = False, usage: Annotated[bool, typer.Option("--usage/--no-usage", hidden=True)] = True) -> None:
    """Show the configured accounts and logins of model providers."""
    from supervisor.cli import channel_list

    channel_list.show(context.current(), json=json)


@app.command()
def status(
    probe: Annotated[bool, typer.Option("--probe", help="Try every login on its platform now.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", min=100, help="Milliseconds for each probe.")] = 10_000,
    json: Json = False,
) -> None:
    """Show what each account does at the moment."""
    from supervisor.cli import channel_status

    channel_status.show(context.current(), probe=probe, timeout=timeout / 1000, json=json)


@app.command()
def login(
    channel: Channel = "",
    account: Account = "",
    token: Token = "",
    host: Host = "",
    port: Port = None,
    nick: Nick = "",
    tls: Tls = None,
    join: Rooms = [],  # noqa: B006
    api_root: ApiRoot = "",
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Store the login without trying it.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", hidden=True)] = False,
    json: Json = False,
) -> None:
    """Log an account in: Telegram by bot token, IRC by server and nickname."""
    from supervisor.cli import channel_login

    ctx = context.current()
    wanted = channel_login.chosen_channel(ctx, channel)
    given = _irc(host, port, nick, tls, join) if wanted == "irc" else _not_irc(host, nick)
    if api_root:
        given["apiRoot"] = api_root
    channel_login.run(ctx, wanted, account, token=token, given=given, verify=not no_verify, json=json)


@app.command()
def add(
    channel: Channel = "",
    account: Account = "",
    name: Name = "",
    token: Token = "",
    token_file: TokenFile = "",
    use_env: Annotated[bool, typer.Option("--use-env", help="Take the token of the default account from env.")] = False,
    host: Host = "",
    port: Port = None,
    nick: Nick = "",
    tls: Tls = None,
    join: Rooms = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Add or update an account without trying it."""
    wanted = _known(channel)
    ctx = context.current()
    given = _irc(host, port, nick, tls, join) if wanted == "irc" else _not_irc(host, nick)
    given |= {"name": name} if name else {}
    given |= {"tokenFile": str(ctx.paths.expand(token_file))} if token_file else {}
    given |= {channels.TOKEN_KEYS[wanted][0]: token} if token and wanted in channels.TOKEN_KEYS else {}
    if not given and not use_env:
        hint = f"openclaw channels login --channel {wanted}"
        raise UserError("nothing to add: pass --token, --token-file, --use-env or --name", hint=hint)
    stored = store(ctx, wanted, account, given, command="channels add")
    told(json, f'Added {label(wanted)} account "{stored}".', channel=wanted, account=stored)


@app.command()
def remove(
    channel: Channel = "",
    account: Account = "",
    delete: Annotated[bool, typer.Option("--delete", help="Remove the entry instead of disabling it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Disable an account, or remove it from the configuration."""
    ctx, wanted = context.current(), _known(channel)
    chosen = _existing(ctx, wanted, account)
    if not delete and not yes:
        _confirm(f'Disable {label(wanted)} account "{chosen}"? (keeps config)')

    def mutate(section: dict[str, Any]) -> dict[str, Any] | None:
        return rules.drop(section, chosen) if delete else rules.put(wanted, section, chosen, {"enabled": False})

    change_section(ctx, wanted, mutate, "channels remove")
    done = "Deleted" if delete else "Disabled"
    told(json, f'{done} {label(wanted)} account "{chosen}".', channel=wanted, account=chosen)


@app.command()
def logout(channel: Channel = "", account: Account = "", json: Json = False) -> None:
    """Forget the login of an account; its policies stay."""
    ctx, wanted = context.current(), _known(channel)
    if wanted not in (*channels.TOKEN_KEYS, "irc"):
        raise UserError(f"Channel {wanted} does not support logout in this build", hint="openclaw channels list")
    chosen = _existing(ctx, wanted, account)
    change_section(ctx, wanted, lambda section: rules.forget_login(wanted, section, chosen), "channels logout")
    told(json, f'Logged out {label(wanted)} account "{chosen}".', channel=wanted, account=chosen)


@app.command()
def logs(
    channel: Channel = "all",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000)] = 200,
    json: Json = False,
) -> None:
    """Show the log lines of channels; works without a gateway."""
    from supervisor.cli import channel_list

    channel_list.show_logs(context.current(), normalize_channel(channel) or "all", lines, json=json)


def _irc(host: str, port: int | None, nick: str, tls: bool | None, join: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {"host": host, "port": port, "nick": nick, "tls": tls, "channels": join}
    return {key: value for key, value in given.items() if value not in (None, "", [])}


def _not_irc(host: str, nick: str) -> dict[str, Any]:
    if host or nick:
        raise UserError("--host and --nick are for --channel irc", hint="--channel irc")
    return {}


def _known(channel: str) -> str:
    wanted = normalize_channel(channel)
    if not wanted:
        raise UserError("Channel is required", hint="--channel telegram")
    if wanted not in LABELS:
        raise UserError(f"Unknown channel: {channel}", hint=suggest(wanted, list(LABELS)) or "--channel telegram")
    return wanted


def store(ctx: Context, channel: str, account: str, fields: dict[str, Any], *, command: str) -> str:
    """Write an account, enabled; its id. The default account when none is named."""
    section = ctx.load().values.get("channels", {}).get(channel)
    present = section if isinstance(section, dict) else {}
    chosen = normalize_account_id(account) if account.strip() else channels.default_account_id(present)
    change_section(ctx, channel, lambda old: rules.put(channel, old, chosen, {"enabled": True, **fields}), command)
    return chosen


def change_section(ctx: Context, channel: str, mutate: Any, command: str) -> None:
    """Change one channel's section; None takes it out."""

    def whole(config: dict[str, Any]) -> dict[str, Any]:
        present = config.get("channels")
        before = present if isinstance(present, dict) else {}
        section = mutate(before.get(channel) or {})
        kept = {key: value for key, value in before.items() if key != channel or section is not None}
        return {**config, "channels": kept if section is None else {**kept, channel: section}}

    ctx.change(whole, command=command)


def _existing(ctx: Context, channel: str, account: str) -> str:
    loaded = ctx.load()
    section = loaded.values.get("channels", {}).get(channel)
    known = channels.account_ids(section) if isinstance(section, dict) else ()
    chosen = account.strip() or (channels.default_account_id(section) if isinstance(section, dict) else "default")
    found = next((one for one in known if normalize_account_id(one) == normalize_account_id(chosen)), None)
    if found is None:
        hint = suggest(chosen, known) or "openclaw channels list"
        raise UserError(f'Account "{chosen}" not found for {channel}.', hint=hint)
    return found


def _confirm(question: str) -> None:
    import sys

    if not sys.stdin.isatty():
        raise UserError("Non-interactive session. Re-run with --yes or --delete.", hint="--yes")
    if not typer.confirm(question, default=False):
        raise UserError("aborted")


def told(json: bool, text: str, **fields: Any) -> None:
    """One line for people, or an object for programs; and what to do when a gateway runs."""
    from supervisor.cli.agents import hint_restart

    if json:
        output.document_of({"ok": True, "message": text, **fields})
    else:
        output.data(text)
    hint_restart(context.current(), True)
