"""exec: a shell command with limits on time and output. Parameters and texts: SPEC 5.5, 5.7."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocol.approvals import Ask, Security
from worker.llm.base import ToolSpec
from worker.tools.access import FileAccess
from worker.tools.base import Context, ToolError, ToolResult, os_error, schema
from worker.tools.files import parse
from worker.tools.gate import Gate, Wish
from worker.tools.processes import Capture, Command, Processes

#: A single argument of a program may be this long (execve(2), MAX_ARG_STRLEN).
MAX_COMMAND = 128 * 1024 - 1
_MAX_TIMEOUT = 24 * 3600
_SETPRIV = "/usr/bin/setpriv"
#: A busy command gives way to its own worker and to everybody else's, also where no control group sees to that.
_NICE = ("/usr/bin/nice", "-n", "5")
_SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh")
#: Variables that would make other programs of the worker's machine run somebody's code.
_REFUSED = ("LD_", "DYLD_")


class _Arguments(msgspec.Struct):
    command: str
    workdir: str = "."
    env: dict[str, str] = {}
    timeout: float | None = None
    background: bool = False
    elevated: bool = False
    host: Literal["auto", "sandbox", "gateway", "node"] = "auto"
    security: Security | None = None
    ask: Ask | None = None


class ExecTool:
    """`timeout` in seconds is what a command gets that asks for nothing else."""

    spec = ToolSpec(
        "exec",
        "Run a shell command in the workspace. Output and errors come back together, without a terminal or input. "
        "What still runs when the command ends is ended with it, unless it was started with setsid.",
        schema(
            ("command",),
            command={"type": "string", "description": "Command line for the shell"},
            workdir={"type": "string", "description": "Folder to run in, default the workspace"},
            env={"type": "object", "additionalProperties": {"type": "string"}, "description": "More variables"},
            timeout={"type": "number", "description": "Seconds after which the command is ended"},
            elevated={"type": "boolean", "description": "Run on the host, outside of a sandbox; few senders may"},
        ),
    )

    def __init__(
        self,
        access: FileAccess,
        processes: Processes,
        environ: Mapping[str, str],
        timeout: int,
        gate: Gate | None = None,
    ) -> None:
        self._access = access
        self._gate = gate or Gate()
        self._processes = processes
        self._environ = {**environ, "OPENCLAW_SHELL": "exec"}
        self._timeout = timeout
        self._shell = [
            *_dying_with_us(),
            *_giving_way(),
            next((shell for shell in _SHELLS if os.path.exists(shell)), "/bin/sh"),
        ]

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        wish = parse(arguments, _Arguments)
        self._check(wish, context)
        timeout = min(max(wish.timeout or self._timeout, 0.001), _MAX_TIMEOUT)
        if wish.elevated and self._gate.sandboxed:
            return await self._outside(wish, context, timeout)
        folder = str(self._access.resolve(wish.workdir, "chdir"))
        env = _allowed(wish.env)
        wanted = Wish(wish.command, folder, env, wish.security, wish.ask)
        waits = await self._gate.enter(wanted, context, free=wish.elevated and context.grant.elevated == "full")
        return waits if waits is not None else await self._here(wish, folder, env, timeout)

    def _check(self, wish: _Arguments, context: Context) -> None:
        if wish.background:
            raise ToolError("background commands are not available; start a daemon with setsid and redirect its output")
        if len(wish.command.encode("utf-8", "replace")) > MAX_COMMAND:
            raise ToolError(f"the command is over {MAX_COMMAND} bytes; write it to a file and run that")
        if wish.elevated and context.grant.elevated == "off":
            raise ToolError(
                "elevated is not available to this sender or session. Gates: tools.elevated.enabled, "
                "tools.elevated.allowFrom.<channel>, agents.list[].tools.elevated, /elevated"
            )
        self._check_host(wish)

    def _check_host(self, wish: _Arguments) -> None:
        if wish.host == "node":
            raise ToolError("host=node is not available: no node is paired")
        if wish.host == "sandbox" and (wish.elevated or not self._gate.sandboxed):
            raise ToolError("host=sandbox is not available: this command would not run in a sandbox")
        if wish.host == "gateway" and self._gate.sandboxed and not wish.elevated:
            raise ToolError("host=gateway needs elevated: this session is sandboxed")

    async def _outside(self, wish: _Arguments, context: Context, timeout: float) -> ToolResult:
        """Through the router, which asks again whether this sender may, and the supervisor's broker."""
        if wish.env:
            raise ToolError("env cannot be given with elevated; set the variables in the command")
        if self._gate.policy.security == "deny" or wish.security == "deny":
            raise ToolError("command not run: exec is denied (tools.exec.security or exec-approvals.json)")
        if self._gate.approver is None:
            raise ToolError("elevated is not available: there is no way out of this worker")
        answer = await self._gate.approver.elevate(context.id, wish.command, wish.workdir, timeout)
        return ToolResult(answer.text, is_error=not answer.ok)

    async def _here(self, wish: _Arguments, folder: str, env: Mapping[str, str], timeout: float) -> ToolResult:
        capture = Capture()
        command = self._start(wish, folder, env, capture)
        try:
            async with asyncio.timeout(timeout):
                status = await command.over()
            ending = _ending(status)
        except TimeoutError:
            status, ending = 1, f"Command timed out after {timeout:g} seconds."
        except asyncio.CancelledError:
            await asyncio.shield(self._processes.end(command))
            raise
        left = await self._processes.end(command)
        return _result(command, capture, status, ending, left)

    def _start(self, wish: _Arguments, folder: str, env: Mapping[str, str], capture: Capture) -> Command:
        try:
            return self._processes.start([*self._shell, "-c", wish.command], folder, {**self._environ, **env}, capture)
        except OSError as error:
            raise os_error(error, "spawn", wish.workdir) from None
        except ValueError as error:
            raise ToolError(f"invalid arguments: {error}") from None


def _dying_with_us() -> list[str]:
    """A worker killed by SIGKILL cannot end its commands: the kernel ends the shell (setpriv(1), util-linux), and the
    next supervisor what the shell had started."""
    return [_SETPRIV, "--pdeathsig", "KILL"] if os.path.exists(_SETPRIV) else []


def _giving_way() -> tuple[str, ...]:
    return _NICE if os.path.exists(_NICE[0]) else ()


def _allowed(env: Mapping[str, str]) -> dict[str, str]:
    if "PATH" in env:
        raise ToolError("env must not replace PATH; name the program with its folder")
    if any(not name or "=" in name or "\0" in name + value for name, value in env.items()):
        raise ToolError("invalid arguments: a variable's name has no =, and neither has NUL")
    return {name: value for name, value in env.items() if not name.upper().startswith(_REFUSED)}


def _ending(status: int) -> str:
    if status == 0:
        return ""
    return f"(Command exited with code {status})" if status > 0 else f"(Command was ended by signal {-status})"


def _result(command: Command, capture: Capture, status: int, ending: str, left: bool) -> ToolResult:
    lines = [capture.text().rstrip("\n") or "(no output)"]
    if command.flooded:
        ending = f"Command was ended: it wrote more than {capture.limit} bytes."
    elif left and status == 0:
        ending = "(What the command left running was ended)"
    return ToolResult("\n\n".join(part for part in (*lines, ending) if part), is_error=status != 0)
