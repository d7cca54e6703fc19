"""`openclaw status` and `openclaw health` (SPEC 3.9, 3.10)."""

from __future__ import annotations

import platform
import time
from typing import Annotated, Any

import typer

from protocol import control as c
from protocol.errors import UserError
from supervisor.cli import channel_list, channel_status, client, context, endpoint, output
from supervisor.cli.context import Context
from supervisor.cli.gateway_status import process_json, processes_table
from supervisor.cli.nouns import Json, noun
from supervisor.config import agents, channels
from supervisor.config.load import Loaded
from supervisor.config.version import VERSION

status_app = noun("Show agents, channels and processes at a glance.")
health_app = noun("Ask the running gateway for its health.")
APPS = {"status": status_app, "health": health_app}


@status_app.command()
def status(
    deep: Annotated[bool, typer.Option("--deep", help="Try every login on its platform now.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every process too.")] = False,
    json: Json = False,
) -> None:
    """Show agents, channels and processes; works without a gateway."""
    ctx = context.current()
    loaded = ctx.load()
    running, reason = _running(ctx)
    accounts = _accounts(ctx, deep) if running else None
    if json:
        output.document_of(_status_json(ctx, loaded, running, reason, accounts))
        return
    output.data("OpenClaw status\n\nOverview")
    print(output.table(["Item", "Value"], _overview(ctx, loaded, running, reason)))
    output.data("\nChannels")
    print(output.table(["Channel", "Account", "Enabled", "State", "Detail"], _channel_rows(loaded, accounts)))
    if running and (all_ or deep or any(one.reason for one in running.processes)):
        output.data("\nProcesses")
        print(processes_table(running))
    output.data("\nNext: openclaw channels status --probe · openclaw logs --follow · openclaw agents list --bindings")


def _running(ctx: Context) -> tuple[c.GatewayStatus | None, str]:
    try:
        return client.status(ctx.paths), ""
    except client.NotRunning as error:
        return None, error.reason
    except UserError as error:
        return None, error.message


def _accounts(ctx: Context, probe: bool) -> tuple[c.AccountStatus, ...] | None:
    try:
        return channel_status.ask(ctx, probe=probe, timeout=client.QUICK)
    except UserError:
        return None


def _overview(ctx: Context, loaded: Loaded, running: c.GatewayStatus | None, reason: str) -> list[list[str]]:
    gateway = loaded.config.gateway
    port = running.port if running else endpoint.port(gateway, ctx.environ)[0]
    address = endpoint.url(running.host if running else endpoint.bind(gateway)[1], port)
    known, default = agents.agent_ids(loaded.config), agents.default_agent_id(loaded.config)
    now = time.time()
    state = f"running · pid {running.pid} · started {output.age(running.started_at, now)}" if running else "not running"
    rows = [
        ["OS", f"{platform.system()} {platform.release()} · python {platform.python_version()}"],
        ["Dashboard", address],
        ["Gateway", f"local · {state}" + (f" ({reason})" if reason else "")],
        ["Agents", f"{len(known)} · default {default}"],
        ["Config", ctx.config_name + ("" if loaded.exists else " (missing: all defaults)")],
    ]
    if running:
        workers = [one for one in running.processes if one.kind == "worker"]
        rows.append(["Workers", f"{sum(one.runs for one in workers)} of {len(workers)} running"])
    if running and running.config_problem:
        rows.append(["Config problem", running.config_problem])
    return rows


def _channel_rows(loaded: Loaded, accounts: tuple[c.AccountStatus, ...] | None) -> list[list[str]]:
    if accounts is None:
        return [
            [channels.label(name), one.account, _yes(one.enabled), one.word, f"token {one.source}"]
            for name, found in channel_list.states(loaded).items()
            for one in found
        ]
    return [
        [channels.label(one.channel), one.account, _yes(one.enabled), _state(one), one.error or one.login]
        for one in accounts
    ]


def _state(one: c.AccountStatus) -> str:
    if not one.configured:
        return "not configured"
    return "connected" if one.connected else "disconnected"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _status_json(
    ctx: Context,
    loaded: Loaded,
    running: c.GatewayStatus | None,
    reason: str,
    accounts: tuple[c.AccountStatus, ...] | None,
) -> dict[str, Any]:
    port = running.port if running else endpoint.port(loaded.config.gateway, ctx.environ)[0]
    url = endpoint.url(running.host if running else endpoint.bind(loaded.config.gateway)[1], port)
    known = agents.agent_ids(loaded.config)
    return {
        "runtimeVersion": running.version if running else VERSION,
        "gateway": {
            "mode": loaded.config.gateway.mode or "local",
            "url": url,
            "reachable": running is not None,
            "error": reason or None,
            "pid": running.pid if running else None,
            "startedAt": running.started_at if running else None,
            "configProblem": (running.config_problem or None) if running else None,
        },
        "agents": {"defaultId": agents.default_agent_id(loaded.config), "agents": [{"id": one} for one in known]},
        "processes": [process_json(one) for one in running.processes] if running else [],
        "channelSummary": _summary(loaded, accounts),
    }


def _summary(loaded: Loaded, accounts: tuple[c.AccountStatus, ...] | None) -> list[dict[str, Any]]:
    if accounts is not None:
        return [{"channel": one.channel, **channel_status.account_json(loaded, one)} for one in accounts]
    return [
        {"channel": name, "accountId": one.account, "enabled": one.enabled, "configured": one.configured}
        for name, found in channel_list.states(loaded).items()
        for one in found
    ]


@health_app.command("health")
def health(
    json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Every process too.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", hidden=True)] = 10_000,
) -> None:
    """Ask the running gateway for its health; exit code 1 when it does not answer."""
    ctx = context.current()
    started = time.monotonic()
    running = client.status(ctx.paths)
    accounts = channel_status.ask(ctx, probe=False, timeout=timeout / 1000)
    took = round((time.monotonic() - started) * 1000)
    workers = [one.agent for one in running.processes if one.kind == "worker"]
    unwell = [one for one in running.processes if one.state in ("backoff", "quarantined", "failing")]
    if json:
        output.document_of(_health_json(running, accounts, took, unwell))
        return
    output.data(f"Gateway Health\n{'OK' if not unwell else 'DEGRADED'} ({took}ms)")
    for one in accounts:
        error = f" ({one.error})" if one.error else ""
        output.data(f"{channels.label(one.channel)} {one.account}: {_state(one)}{error}")
    output.data(f"Agents: {', '.join(workers)}")
    for bad in unwell:
        output.data(f"{bad.name}: {bad.state}, {bad.reason}")
    if verbose:
        print(processes_table(running))


def _health_json(
    running: c.GatewayStatus, accounts: tuple[c.AccountStatus, ...], took: int, unwell: list[c.ProcessStatus]
) -> dict[str, Any]:
    by_channel: dict[str, dict[str, Any]] = {}
    for one in accounts:
        states = {"configured": one.configured, "running": one.running, "connected": one.connected}
        by_channel.setdefault(one.channel, {})[one.account] = states | {"lastError": one.error or None}
    return {
        "ok": not unwell,
        "ts": int(time.time() * 1000),
        "durationMs": took,
        "channels": {name: {"accounts": found} for name, found in by_channel.items()},
        "channelOrder": list(by_channel),
        "channelLabels": {name: channels.label(name) for name in by_channel},
        "agents": [{"agentId": one.agent, "state": one.state} for one in running.processes if one.kind == "worker"],
        "processes": [process_json(one) for one in running.processes],
    }
