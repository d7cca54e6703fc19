"""Only what policy leaves can be called, and nothing a tool does escapes as an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol.config import ToolList
from protocol.slices import WorkerSlice
from worker.llm.base import ToolCall, ToolSpec
from worker.tools.base import MAX_RESULT, Context, ToolResult
from worker.tools.processes import Processes
from worker.tools.registry import Toolbox, environment, file_access, toolbox


def settings(tmp_path: Path, **fields: Any) -> WorkerSlice:
    texts = ("agent", "name", "link_socket", "router_public", "worker_public", "worker_secret", "proxy_socket")
    given = {**dict.fromkeys((*texts, "proxy_token"), "x"), "workspace": str(tmp_path), "sessions": str(tmp_path)}
    return WorkerSlice(**{**given, **fields})


def box(tmp_path: Path, **fields: Any) -> Toolbox:
    slice = settings(tmp_path, **fields)
    return toolbox(slice, file_access(slice), Processes())


class Odd:
    """A tool that fails in a way nobody thought of, or says too much."""

    spec = ToolSpec("odd", "Odd.", {})

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        if arguments:
            raise KeyError("a secret detail")
        return ToolResult("x" * 50_000)


def test_a_denied_tool_is_neither_offered_nor_run(tmp_path: Path) -> None:
    tools = box(tmp_path, tool_layers=(ToolList(deny=("exec",)),))
    assert tools.names == {"read", "write", "edit"}
    assert [spec.name for spec in tools.offered] == ["read", "write", "edit"]
    assert tools.problem == ""


async def test_calling_a_denied_tool_is_an_error_result(tmp_path: Path) -> None:
    tools = box(tmp_path, tool_layers=(ToolList(deny=("exec",)),))
    result = await tools.run(ToolCall("1", "exec", {"command": "touch x"}), Context())
    assert result.is_error and '"error": "Tool not found"' in result.text
    assert not (tmp_path / "x").exists()


def test_an_allow_list_without_any_tool_is_a_problem(tmp_path: Path) -> None:
    tools = box(tmp_path, tool_layers=(ToolList(allow=("message",)),))
    assert tools.problem == "no callable tools remain after the tool policy; the allow list is: message"
    assert repr(tools) == "Toolbox(empty)"


async def test_failures_of_every_kind_are_results() -> None:
    tools = Toolbox({"odd": Odd()})
    assert (await tools.run(ToolCall("1", "odd", None, "{"), Context())).is_error
    broken = await tools.run(ToolCall("1", "odd", {"a": 1}), Context())
    assert "internal error (KeyError)" in broken.text and "secret" not in broken.text
    assert len((await tools.run(ToolCall("1", "odd", {}), Context())).text) == MAX_RESULT


async def test_a_tool_error_has_the_known_shape(tmp_path: Path) -> None:
    result = await box(tmp_path).run(ToolCall("1", "read", {"path": "/nope"}), Context())
    assert '"error": "ENOENT: no such file or directory, access \'/nope\'"' in result.text


def test_commands_get_a_small_environment(tmp_path: Path) -> None:
    found = environment(settings(tmp_path, user_timezone="Europe/Vienna"))
    assert set(found) <= {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "OPENCLAW_LINK"}
    assert (found["HOME"], found["TZ"]) == (str(tmp_path), "Europe/Vienna")
