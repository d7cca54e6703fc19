"""`channels login`: gets a login, tries it on the platform, and only then stores it (SPEC 3.3.3)."""

from __future__ import annotations

import os
import re
import select
import sys
from typing import Any

import typer

from protocol.errors import UserError
from protocol.ids import DEFAULT_ACCOUNT_ID, normalize_account_id, normalize_channel
from supervisor.cli import channels as noun
from supervisor.cli import telegram_check
from supervisor.cli.context import Context
from supervisor.config import channels
from supervisor.config.channels import LABELS, label
from supervisor.config.walk import suggest

#: Channels of this build.
SUPPORTED = ("telegram", "irc")
_STDIN_WAIT = 10.0
_MAX_TOKEN = 4096
_BOT_TOKEN = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{1,128}")


def chosen_channel(ctx: Context, name: str) -> str:
    """The channel that is meant. Raises UserError; nothing is changed for one that this build does not have."""
    wanted = normalize_channel(name) or _only_one(ctx)
    if wanted not in LABELS:
        hint = suggest(wanted, list(LABELS)) or "openclaw channels login --channel telegram"
        raise UserError(f"Channel login failed: Error: Unsupported channel: {name}", hint=hint)
    if wanted not in SUPPORTED:
        text = f"Channel login failed: {label(wanted)} is not in this build; it has {' and '.join(SUPPORTED)}"
        raise UserError(text, hint="openclaw channels login --channel telegram")
    return wanted


def _only_one(ctx: Context) -> str:
    configured = [name for name, _ in channels.sections(ctx.load().values.get("channels") or {})]
    if len(configured) != 1:
        listed = ", ".join(configured) or "none configured"
        text = f"Channel login failed: Error: Channel is required ({listed})"
        raise UserError(text, hint="openclaw channels login --channel telegram")
    return configured[0]


def run(
    ctx: Context, channel: str, account: str, *, token: str, given: dict[str, Any], verify: bool, json: bool
) -> None:
    """Log the account in. A login that the platform refuses is not stored."""
    loaded = ctx.load()
    section = loaded.values.get("channels", {}).get(channel)
    present = section if isinstance(section, dict) else {}
    chosen = normalize_account_id(account) if account.strip() else channels.default_account_id(present)
    settings = {**channels.account_settings(channel, present, chosen), **given}
    if channel == "irc":
        fields, who = _irc(settings, given), f"{settings.get('nick')} at {settings.get('host')}, not tried"
    else:
        text = _token(chosen, token, loaded.environ)
        who = telegram_check.login_name(settings, text) if verify else "not verified"
        fields = {**given, "botToken": text}
    stored = noun.store(ctx, channel, chosen, fields, command="channels login")
    line = f'Logged in: {label(channel)} account "{stored}" ({who})'
    noun.told(json, line, channel=channel, account=stored, login=who if verify else "")


def _irc(settings: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    missing = [f"--{key}" for key in ("host", "nick") if not settings.get(key)]
    if missing:
        hint = "openclaw channels login --channel irc --host irc.libera.chat --nick mybot"
        raise UserError(f"Channel login failed: {' and '.join(missing)} is needed for IRC", hint=hint)
    return given


def _token(account: str, token: str, environ: dict[str, str]) -> str:
    """Option, environment, stdin, hidden prompt; the first there is. Raises UserError."""
    named = environ.get("TELEGRAM_BOT_TOKEN", "") if account == DEFAULT_ACCOUNT_ID else ""
    text = (token or environ.get("OPENCLAW_CHANNEL_TOKEN") or named or _asked()).strip()
    if not text:
        hint = f"openclaw channels login --channel telegram --account {account} --token 123456:ABC…"
        raise UserError("Channel login failed: no token: pass --token, or write it to stdin", hint=hint)
    if not _BOT_TOKEN.fullmatch(text):
        text = "Channel login failed: this is not a bot token; @BotFather gives one such as 123456:ABC…"
        raise UserError(text, where="--token", hint="https://t.me/BotFather")
    return text


def _asked() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Bot token (from @BotFather)", hide_input=True))
    ready, _, _ = select.select([sys.stdin], [], [], _STDIN_WAIT)
    return os.read(sys.stdin.fileno(), _MAX_TOKEN).decode("utf-8", "replace") if ready else ""
