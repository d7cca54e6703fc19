"""`channels list` and `channels logs`: what needs no gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from protocol.errors import UserError
from supervisor.cli import logs, output
from supervisor.cli.context import Context
from supervisor.config import agents, channels
from supervisor.config.load import Loaded
from supervisor.config.parse import read_bytes


def states(loaded: Loaded) -> dict[str, list[channels.AccountState]]:
    """The accounts of every channel, those of the environment among them, by configuration alone."""
    configured = dict(channels.sections(loaded.values.get("channels") or {}))
    for name, variables in channels.ENVIRONMENT_TOKENS.items():
        if any(loaded.environ.get(variable) for variable in variables.values()):
            configured.setdefault(name, {})
    return {
        name: [
            channels.account_state(name, section, account, loaded.environ)
            for account in channels.configured_accounts(name, section, loaded.environ)
        ]
        for name, section in configured.items()
    }


def show(ctx: Context, *, json: bool) -> None:
    """Print accounts and model logins."""
    loaded = ctx.load()
    found, logins = states(loaded), _logins(ctx, loaded)
    if json:
        chat = {name: [one.account for one in accounts] for name, accounts in found.items()}
        output.document_of({"chat": chat, "auth": logins})
        return
    output.data("Chat channels:")
    for name, accounts in found.items():
        for one in accounts:
            output.data(f"- {channels.label(name)} {one.account}: {flags(one)}")
    if not found:
        output.data("- none")
    output.data("\nAuth providers (OAuth + API keys):")
    for login in logins or [{"id": "none", "type": ""}]:
        output.data(f"- {login['id']}" + (f" ({login['type']}, agent {login['agent']})" if login["type"] else ""))


def flags(one: channels.AccountState) -> str:
    configured = "configured" if one.configured else "not configured"
    return f"{configured}, token={one.source}, {'enabled' if one.enabled else 'disabled'}"


def _logins(ctx: Context, loaded: Loaded) -> list[dict[str, str]]:
    found = []
    for agent in agents.agent_ids(loaded.config):
        file = agents.agent_dir(loaded.config, ctx.paths, agent) / "auth-profiles.json"
        for name, profile in _profiles(file).items():
            if isinstance(profile, dict):
                provider, kind = str(profile.get("provider", "")), str(profile.get("type", ""))
                found.append({"id": str(name), "provider": provider, "type": kind, "agent": agent})
    return found


def _profiles(file: Path) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(read_bytes(file))
    except (OSError, msgspec.DecodeError, RecursionError):
        return {}
    profiles = content.get("profiles") if isinstance(content, dict) else None
    return profiles if isinstance(profiles, dict) else {}


def show_logs(ctx: Context, channel: str, count: int, *, json: bool) -> None:
    """Print the lines of one channel's subsystem, or of all channels."""
    if channel != "all" and channel not in channels.LABELS:
        raise UserError(f"Unknown channel: {channel}", hint="openclaw channels logs --channel all")
    file = logs.log_file(ctx)
    lines = logs.tail(file, 100_000)[0] if file.exists() else []
    entries = [logs.parsed(line) for line in lines]
    mine = [one for one in entries if _is_of(str(one.get("subsystem", "")), channel)][-count:]
    if json:
        kept = ("time", "level", "subsystem", "message")
        listed = [{key: str(one.get(key, "")) for key in kept} for one in mine]
        output.document_of({"file": str(file), "channel": channel, "lines": listed})
        return
    output.data(f"Log file: {ctx.short(file)}")
    for one in mine:
        output.data(logs.shown(msgspec.json.encode(one), json=False))


def _is_of(subsystem: str, channel: str) -> bool:
    """Subsystems are paths such as `gateway/channels/telegram` or `router/telegram/work`."""
    steps = subsystem.replace(".", "/").split("/")
    return channel in steps if channel != "all" else "channels" in steps or any(one in channels.LABELS for one in steps)
