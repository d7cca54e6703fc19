"""Starting the gateway in the background, stopping it, restarting it: waits until it is so (SPEC 3.4.2)."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from protocol import control as c
from protocol.errors import OpenClawError, UserError
from supervisor.cli import client, endpoint, output, routes
from supervisor.cli.agents import make_private
from supervisor.cli.context import Context

#: Seconds until a start counts as failed, and until a stop is given up.
START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0
_PAUSE = 0.05
_TAIL = 8192


class StartFailed(OpenClawError):
    """The gateway did not become ready, and it did not say why."""


def start(ctx: Context, options: list[str], prepare: Callable[[], None], *, json: bool) -> None:
    """Spawn a detached `gateway run` and wait for it. Does nothing when one runs already."""
    try:
        running = client.status(ctx.paths)
    except client.NotRunning:
        prepare()
        running = _spawn_and_wait(ctx, options)
        _tell(f"Gateway started (pid {running.pid})", running, json)
    else:
        _tell(f"Gateway already running (pid {running.pid})", running, json)


def stop(ctx: Context, *, json: bool) -> None:
    """Ask it to drain and end, and wait for the end."""
    try:
        pid = client.status(ctx.paths).pid
    except client.NotRunning:
        _tell_end("Gateway not running.", json, stopped=False)
        return
    output.say("Stopping: running turns may finish…")
    try:
        client.command(ctx.paths, c.Stop(), output.say)
    except UserError:
        if client.is_running(ctx.paths):
            raise
    _wait_until_gone(pid)
    _tell_end(f"Gateway stopped (pid {pid})", json, stopped=True)


def restart(ctx: Context, agents: tuple[str, ...], prepare: Callable[[], None], *, json: bool) -> None:
    """Roll the workers of the running gateway; with nothing running this is `start`."""
    if not client.is_running(ctx.paths):
        start(ctx, [], prepare, json=json)
        return
    prepare()
    routes.tell_changes(ctx)
    client.command(ctx.paths, c.Restart(agents=agents), output.say)
    running = client.status(ctx.paths)
    _tell(f"Gateway restarted (pid {running.pid})", running, json)


def _spawn_and_wait(ctx: Context, options: list[str]) -> c.GatewayStatus:
    make_private(ctx.paths.logs)
    log = ctx.paths.logs / "gateway-start.log"
    output.say("Starting the gateway…")
    process = _spawn(log, options)
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _failed(log, process.returncode)
        if (found := _ready(ctx)) is not None:
            return found
        time.sleep(_PAUSE)
    raise StartFailed(f"the gateway was not ready within {START_TIMEOUT:g} seconds\n{_last_lines(log)}")


def _spawn(log: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """A session of its own, so that it outlives this terminal."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(log, flags, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.cli.main", "gateway", "run", *options],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _ready(ctx: Context) -> c.GatewayStatus | None:
    """The status once the programs every message needs are ready."""
    try:
        found = client.status(ctx.paths)
    except UserError:
        return None
    programs = [one for one in found.processes if one.kind in ("router", "cliproxy")]
    return found if programs and all(one.state in ("ready", "stable") for one in programs) else None


def _failed(log: Path, code: int) -> Exception:
    text = _last_lines(log)
    message, *rest = text.removeprefix("error: ").splitlines() or ["the gateway ended at once"]
    if code in (1, 78):
        hint = next((line.removeprefix("hint: ") for line in rest if line.startswith("hint: ")), None)
        where = next((line.strip().removeprefix("at ") for line in rest if line.startswith("  at ")), None)
        return UserError(message, where=where, hint=hint, exit_code=code)
    return StartFailed(f"the gateway ended with {code}\n{text}")


def _last_lines(log: Path, count: int = 20) -> str:
    data = log.read_bytes()[-_TAIL:]
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-count:])


def _wait_until_gone(pid: int) -> None:
    """Wait for the end of the process, not for its pid: in a container nobody may reap it (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], STOP_TIMEOUT)
    finally:
        os.close(descriptor)
    if not ended:
        raise UserError(f"the gateway (pid {pid}) does not end", hint=f"kill -9 {pid}")


def _tell(text: str, running: c.GatewayStatus, json: bool) -> None:
    address = endpoint.url(running.host, running.port)
    if json:
        output.document_of({"ok": True, "message": text, "pid": running.pid, "url": address})
    else:
        output.data(f"{text}\nListening: {address} (openclaw dashboard prints the link with its token)")


def _tell_end(text: str, json: bool, *, stopped: bool) -> None:
    if json:
        output.document_of({"ok": True, "message": text, "stopped": stopped})
    else:
        output.data(text)
