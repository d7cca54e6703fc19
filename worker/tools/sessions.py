"""sessions_list, sessions_history, sessions_send, session_status, agents_list: other sessions (SPEC 5.5, 6.2).

The router performs them and says which sessions may be seen; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.calls import Calls
from worker.llm.base import ToolSpec
from worker.tools.asking import AskingTool
from worker.tools.base import schema

_KEY = {"type": "string", "description": 'A session key, or "main".'}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 200}
_KINDS = ["main", "group", "cron", "hook", "node", "other"]

LIST = ToolSpec(
    "sessions_list",
    "List the sessions you may see, newest first. Filter by kind, agent, activity or a part of the key.",
    schema(
        (),
        kinds={"type": "array", "items": {"type": "string", "enum": _KINDS}},
        limit=_LIMIT,
        activeMinutes={"type": "number", "description": "Only sessions with a message in the last minutes."},
        agentId={"type": "string"},
        search={"type": "string"},
    ),
)
HISTORY = ToolSpec(
    "sessions_history",
    "Read the end of another session's conversation. Results of tools are left out unless includeTools is true.",
    schema(("sessionKey",), sessionKey=_KEY, limit=_LIMIT, includeTools={"type": "boolean"}),
)
SEND = ToolSpec(
    "sessions_send",
    "Send a message to another session and wait for its answer. Name it by sessionKey, or give agentId for the main "
    "session of another agent. With timeoutSeconds 0 nobody waits.",
    schema(
        ("message",),
        sessionKey=_KEY,
        agentId={"type": "string"},
        message={"type": "string"},
        timeoutSeconds={"type": "number", "minimum": 0, "maximum": 600, "description": "30 if left out."},
    ),
)
STATUS = ToolSpec(
    "session_status",
    "Show what a session is doing, and the current time. Your own one unless sessionKey is given.",
    schema((), sessionKey=_KEY),
)
AGENTS = ToolSpec("agents_list", "List the agents you may write to.", schema(()))


def session_tools(calls: Calls) -> Iterator[AskingTool]:
    """The five tools."""
    yield from (AskingTool(calls, spec) for spec in (LIST, HISTORY, STATUS, AGENTS))
    yield AskingTool(calls, SEND, wait="timeoutSeconds", usual=30.0)
