"""`channels status`: what each account does now, or what the configuration says while no gateway runs (SPEC 3.3.2)."""

from __future__ import annotations

import time
from typing import Any

from protocol import control as c
from protocol.errors import UserError
from supervisor.cli import channel_list, client, endpoint, output
from supervisor.cli.context import Context
from supervisor.config import channels
from supervisor.config.load import Loaded


def show(ctx: Context, *, probe: bool, timeout: float, json: bool) -> None:
    """Print it. A gateway that cannot be reached is no error: the configuration is shown then."""
    loaded = ctx.load()
    if probe and not json:
        output.data("Checking channel status (probe)…")
    try:
        accounts = ask(ctx, probe=probe, timeout=timeout)
    except UserError as error:
        _show_config_only(ctx, loaded, error, json)
        return
    if json:
        output.document_of(_as_json(loaded, accounts))
        return
    output.data("Gateway reachable.")
    now = time.time()
    for one in accounts:
        source = _source(loaded, one)
        output.data(f"- {channels.label(one.channel)} {one.account}: {', '.join(_flags(one, source, now))}")
    if not accounts:
        output.data("- no channel accounts; add one: openclaw channels login --channel telegram")


def ask(ctx: Context, *, probe: bool, timeout: float) -> tuple[c.AccountStatus, ...]:
    """The accounts of the running gateway, sorted. Raises UserError."""
    with client.attached(ctx.paths) as line:
        line.wait_for(timeout * 2 + client.QUICK if probe else client.QUICK)
        found: c.Channels = line.ask(c.GetChannels(probe=probe, timeout=timeout), c.from_router, c.Channels)
    return tuple(sorted(found.accounts, key=lambda one: (one.channel, one.account)))


def _flags(one: c.AccountStatus, source: str, now: float) -> list[str]:
    flags = [
        "enabled" if one.enabled else "disabled",
        "configured" if one.configured else "not configured",
        "running" if one.running else "stopped",
    ]
    # Whoever looks here because nobody answers must find the word, also for a login that has given up.
    flags += ["connected" if one.connected else "disconnected"] if one.enabled and one.configured else []
    flags += [f"in:{output.age(one.inbound_at, now)}"] if one.inbound_at else []
    flags += [f"out:{output.age(one.outbound_at, now)}"] if one.outbound_at else []
    flags += [f"bot:{one.login}"] if one.login else []
    flags += [f"token:{source}"]
    flags += [] if one.probe_ok is None else ["works" if one.probe_ok else "probe failed"]
    return [*flags, *([f"error:{one.error}"] if one.error else [])]


def _source(loaded: Loaded, one: c.AccountStatus) -> str:
    section = loaded.values.get("channels", {}).get(one.channel)
    present = section if isinstance(section, dict) else {}
    return channels.account_state(one.channel, present, one.account, loaded.environ).source


def _as_json(loaded: Loaded, accounts: tuple[c.AccountStatus, ...]) -> dict[str, Any]:
    order = list(dict.fromkeys(one.channel for one in accounts))
    by_channel = {name: [one for one in accounts if one.channel == name] for name in order}
    sections = loaded.values.get("channels") or {}
    return {
        "ts": int(time.time() * 1000),
        "channelOrder": order,
        "channelLabels": {name: channels.label(name) for name in order},
        "channels": {name: _summary(found) for name, found in by_channel.items()},
        "channelAccounts": {name: [account_json(loaded, one) for one in found] for name, found in by_channel.items()},
        "channelDefaultAccountId": {name: channels.default_account_id(sections.get(name) or {}) for name in order},
    }


def _summary(found: list[c.AccountStatus]) -> dict[str, bool]:
    names = ("configured", "running", "connected")
    return {name: any(getattr(one, name) for one in found) for name in names}


def account_json(loaded: Loaded, one: c.AccountStatus) -> dict[str, Any]:
    """One account for programs; times in milliseconds."""
    return {
        "accountId": one.account,
        "name": one.login or None,
        "enabled": one.enabled,
        "configured": one.configured,
        "running": one.running,
        "connected": one.connected,
        "lastInboundAt": int(one.inbound_at * 1000) or None,
        "lastOutboundAt": int(one.outbound_at * 1000) or None,
        "lastError": one.error or None,
        "tokenSource": _source(loaded, one),
        **({} if one.probe_ok is None else {"probe": {"ok": one.probe_ok}}),
    }


def _show_config_only(ctx: Context, loaded: Loaded, error: UserError, json: bool) -> None:
    states = channel_list.states(loaded)
    mode = loaded.config.gateway.mode or "local"
    if json:
        listed = [f"{name}:{one.account}" for name, found in states.items() for one in found]
        config = {"path": str(ctx.paths.config), "mode": mode}
        unreachable = {"gatewayReachable": False, "error": error.message, "configOnly": True}
        output.document_of({**unreachable, "config": config, "configuredChannels": list(states), "accounts": listed})
        return
    port, source = endpoint.port(loaded.config.gateway, ctx.environ)
    output.say(f"Gateway not reachable: {error.message}")
    output.say(f"Gateway target: {endpoint.url(endpoint.bind(loaded.config.gateway)[1], port)}\nSource: {source}")
    output.say(f"Config: {ctx.config_name}\nBind: {endpoint.bind(loaded.config.gateway)[0]}")
    output.data("Gateway not reachable; showing config-only status.")
    output.data(f"Config: {ctx.config_name}\nMode: {mode}")
    for name, found in states.items():
        for one in found:
            output.data(f"- {channels.label(name)} {one.account}: {channel_list.flags(one)}, disconnected")
