"""The tools of one agent: what is offered to the model is what may run.

Decided by policy twice: once for the agent, and for each turn by what its group and sender leave. The router decides
the same again for every request that leaves the worker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from protocol.config import ToolList
from protocol.messages import Grant
from protocol.process import LINK_MARK
from protocol.sandbox import HOST
from protocol.slices import WorkerSlice
from protocol.tool_policy import effective, emptied_by, for_turn
from worker.calls import Calls
from worker.llm.base import ToolCall, ToolSpec
from worker.tools.access import FileAccess
from worker.tools.base import Context, Tool, ToolError, ToolResult, failure, shorten
from worker.tools.exec import ExecTool
from worker.tools.files import EditTool, ReadTool, WriteTool
from worker.tools.gate import Approver, Gate
from worker.tools.message import message_tool
from worker.tools.patch import ApplyPatchTool
from worker.tools.processes import Processes
from worker.tools.sessions import session_tools

log = logging.getLogger(__name__)

#: Variables handed to commands; everything else stays out.
_KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
#: Vendors whose models get `apply_patch`.
_PATCHING = ("openai", "openai-codex")


class Toolbox:
    """Runs tool calls. `problem` is set when an explicit allow list leaves no tool: then no turn can run.

    `layers` are those that made the tools this few.
    """

    def __init__(self, tools: Mapping[str, Tool], layers: tuple[ToolList, ...] = ()) -> None:
        self._tools = dict(tools)
        self._layers = layers
        empty = emptied_by(self.names, layers)
        self.problem = f"no callable tools remain after the tool policy; the allow list is: {empty}" if empty else ""

    def __repr__(self) -> str:
        return f"Toolbox({', '.join(sorted(self._tools)) or 'empty'})"

    @property
    def offered(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self._tools.values())

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    def granted(self, grant: Grant) -> Toolbox:
        """What is left of these tools for a turn under this grant."""
        left = for_turn(self._tools, "", (), granted=grant.layers, owner=grant.owner)
        tools = {name: tool for name, tool in self._tools.items() if name in left}
        return Toolbox(tools, (*self._layers, *grant.layers))

    async def run(self, call: ToolCall, context: Context) -> ToolResult:
        """Every failure is a result for the model; only cancellation escapes."""
        tool = self._tools.get(call.name)
        if tool is None or call.arguments is None:
            return failure(call.name, "Tool not found" if tool is None else "The arguments are not a JSON object")
        try:
            result = await tool.run(call.arguments, context)
        except ToolError as error:
            result = failure(call.name, str(error))
        except Exception as error:
            log.exception("tool %s failed", call.name)
            result = failure(call.name, f"internal error ({type(error).__name__})")
        return ToolResult(shorten(result.text), result.is_error)


def toolbox(settings: WorkerSlice, access: FileAccess, processes: Processes, calls: Calls | None = None) -> Toolbox:
    """The tools this agent's policy leaves; those that reach beyond the worker only with somebody to ask."""
    environ = environment(settings)
    tools: dict[str, Tool] = {
        "read": ReadTool(access),
        "write": WriteTool(access),
        "edit": EditTool(access),
        "exec": ExecTool(access, processes, environ, settings.exec_timeout, gate(settings, calls, environ["PATH"])),
    }
    if calls is not None:
        tools |= {tool.spec.name: tool for tool in (*session_tools(calls), message_tool(calls))}
    if _patches(settings):
        tools["apply_patch"] = ApplyPatchTool(access.only_workspace())
    allowed = effective(tools, settings.tool_profile, settings.tool_layers, settings.tool_profile_also)
    return Toolbox({name: tool for name, tool in tools.items() if name in allowed}, settings.tool_layers)


def gate(settings: WorkerSlice, approver: Approver | None, path: str) -> Gate:
    """The exec policy of this agent. An approver may take half of the turn's time."""
    sandboxed, patience = settings.place != HOST, settings.turn_timeout / 2
    return Gate(settings.exec_policy, approver, sandboxed=sandboxed, patience=patience, path=path)


def _patches(settings: WorkerSlice) -> bool:
    """Only models that were trained on this form of patch are offered it (SPEC 5.5)."""
    return settings.model.partition("/")[0] in _PATCHING


def file_access(settings: WorkerSlice) -> FileAccess:
    """The file rules of this agent."""
    return FileAccess(
        Path(settings.workspace),
        workspace_only=settings.workspace_only,
        sandboxed=settings.place != HOST,
        agent_workspace=settings.agent_workspace,
        forbidden=settings.forbidden_paths,
        allowed=settings.allowed_paths,
    )


def environment(settings: WorkerSlice) -> dict[str, str]:
    """What commands see. HOME is the workspace, so that nothing of the operator's home is taken by accident."""
    found = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
    if settings.user_timezone:
        found["TZ"] = settings.user_timezone
    fixed = {"HOME": settings.workspace, LINK_MARK: settings.link_socket}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **found, **fixed}
