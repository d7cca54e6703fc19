"""What a tool is: a name and a schema for the model, arguments in, a text out."""

from __future__ import annotations

import errno
import os
from typing import Any, Protocol

import msgspec

from protocol.errors import OpenClawError
from protocol.messages import Grant
from worker.llm.base import ToolSpec

#: Longest result a model is shown, in characters (SPEC 5.3).
MAX_RESULT = 16_000


class ToolError(OpenClawError):
    """The tool could not do it; the text is for the model."""


class ToolResult(msgspec.Struct, frozen=True):
    text: str
    is_error: bool = False


class Context(msgspec.Struct, frozen=True):
    """For which message a tool runs: its id in the router's spool, its session, and what its sender may have done."""

    id: str = ""
    session_key: str = ""
    grant: Grant = Grant()


class Tool(Protocol):
    """One tool. `run` never blocks the event loop for long and may be cancelled at any await."""

    spec: ToolSpec

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Raises ToolError."""


def failure(tool: str, reason: str) -> ToolResult:
    """An error as the model sees it (SPEC 5.3)."""
    body = msgspec.json.format(msgspec.json.encode({"status": "error", "tool": tool, "error": reason}), indent=2)
    return ToolResult(body.decode(), is_error=True)


def shorten(text: str, limit: int = MAX_RESULT) -> str:
    """At most `limit` characters: the beginning and the end, with a mark between that says what is missing."""
    if len(text) <= limit:
        return text
    mark = f"\n[… {len(text) - limit} characters left out …]\n"
    head = (limit - len(mark)) * 2 // 3
    return text[:head] + mark + text[len(text) - (limit - len(mark) - head) :]


def schema(required: tuple[str, ...], **properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema object."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def os_error(error: OSError, doing: str, path: str) -> ToolError:
    """A failed system call in the words models know from training."""
    if error.errno is None:
        return ToolError(f"{error}, {doing} '{path}'")
    name = errno.errorcode.get(error.errno, str(error.errno))
    return ToolError(f"{name}: {os.strerror(error.errno).lower()}, {doing} '{path}'")
