"""`gateway status`: what runs, where it listens, what the configuration says (SPEC 3.4.3)."""

from __future__ import annotations

import time
from typing import Any

from protocol import control as c
from protocol.config import Gateway
from protocol.errors import UserError
from supervisor.cli import client, endpoint, output
from supervisor.cli.context import Context
from supervisor.config.load import load
from supervisor.config.problems import ConfigInvalid


def show(ctx: Context, *, deep: bool, json: bool) -> bool:
    """Print it; whether a gateway answers."""
    gateway, problem = _configured(ctx)
    try:
        running, reason = client.status(ctx.paths), ""
    except client.NotRunning as error:
        running, reason = None, error.reason
    except UserError as error:
        running, reason = None, error.message
    if json:
        output.document_of(_as_json(ctx, gateway, problem, running, reason))
    else:
        for line in _lines(ctx, gateway, problem, running, reason):
            output.data(line)
        if running is not None and (deep or any(one.reason for one in running.processes)):
            print(processes_table(running))
    return running is not None


def _configured(ctx: Context) -> tuple[Gateway, str]:
    """The gateway section, and what is wrong with the file; defaults when it cannot be used."""
    try:
        loaded = load(ctx.paths, ctx.environ)
        return loaded.config.gateway, "" if loaded.exists else "missing"
    except ConfigInvalid as error:
        return Gateway(), f"{error.problems[0].path}: {error.problems[0].message}"
    except UserError as error:
        return Gateway(), error.message


def _lines(ctx: Context, gateway: Gateway, problem: str, running: c.GatewayStatus | None, reason: str) -> list[str]:
    mode, host = endpoint.bind(gateway)
    port, source = (running.port, "running") if running else endpoint.port(gateway, ctx.environ)
    address = endpoint.url(running.host if running else host, port)
    lines = [
        f"File logs: {ctx.short(ctx.paths.log_file)}",
        f"Config (cli): {ctx.config_name}" + (f" ({problem})" if problem else ""),
        f"Gateway: bind={mode} ({host}), port={port} ({source})",
        f"Dashboard: {address}",
        f"Runtime: running (pid {running.pid}, {_since(running.started_at)})" if running else "Runtime: stopped",
        "Connectivity probe: ok" if running else f"Connectivity probe: failed ({reason})",
    ]
    if running is None:
        return [*lines, "Start it: openclaw gateway start"]
    lines.append(f"Config (service): {ctx.short(running.config)}")
    if running.config_problem:
        lines.append(f"Config problem: {running.config_problem}; the configuration it started with stays in force")
    workers = [one for one in running.processes if one.kind == "worker"]
    up = sum(one.runs for one in workers)
    return [*lines, f"Listening: {running.host}:{port}", f"Workers: {up} of {len(workers)} running"]


def _since(then: float) -> str:
    return f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(then))}"


def processes_table(running: c.GatewayStatus) -> str:
    """Every process, and why one is not well."""
    now = time.time()
    rows = [
        [
            one.name,
            one.state,
            str(one.pid or one.where or "-"),
            output.age(one.started_at, now),
            str(one.restarts),
            one.reason,
        ]
        for one in running.processes
    ]
    return output.table(["Process", "State", "Pid", "Started", "Restarts", "Reason"], rows)


def _as_json(
    ctx: Context, gateway: Gateway, problem: str, running: c.GatewayStatus | None, reason: str
) -> dict[str, Any]:
    mode, host = endpoint.bind(gateway)
    port, source = endpoint.port(gateway, ctx.environ)
    listening = running.port if running else port
    valid = not problem or problem == "missing"
    return {
        "logFile": str(ctx.paths.log_file),
        "service": {"runtime": {"status": "running", "pid": running.pid} if running else {"status": "stopped"}},
        "config": {
            "cli": {"path": str(ctx.paths.config), "exists": ctx.paths.config.exists(), "valid": valid},
            "daemon": {"path": running.config, "problem": running.config_problem or None} if running else None,
        },
        "gateway": {"bindMode": mode, "bindHost": host, "port": listening, "portSource": source},
        "rpc": {"ok": running is not None, "error": reason or None},
        "version": running.version if running else None,
        "dashboard": endpoint.url(running.host if running else host, listening),
        "processes": [process_json(one) for one in running.processes] if running else [],
    }


def process_json(one: c.ProcessStatus) -> dict[str, Any]:
    """One process for programs; times in seconds since the epoch."""
    return {
        "name": one.name,
        "kind": one.kind,
        "state": one.state,
        "pid": one.pid or None,
        "where": one.where or None,
        "generation": one.generation,
        "agent": one.agent or None,
        "startedAt": one.started_at or None,
        "readyAt": one.ready_at or None,
        "restarts": one.restarts,
        "reason": one.reason or None,
        "retryAt": one.retry_at or None,
    }
