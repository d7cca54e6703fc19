"""message: a text of the agent's own accord (SPEC 5.5). The router sends it and says where it may go."""

from __future__ import annotations

from worker.calls import Calls
from worker.llm.base import ToolSpec
from worker.tools.asking import AskingTool
from worker.tools.base import schema

_ID = {"type": "string", "maxLength": 128}

MESSAGE = ToolSpec(
    "message",
    "Send a chat message besides your answer. Goes to this conversation unless target names another one on the same "
    "account. Do not use it for the answer itself.",
    schema(
        ("action", "message"),
        action={"type": "string", "enum": ["send"]},
        message={"type": "string"},
        channel=_ID,
        accountId=_ID,
        target={**_ID, "description": "The id of another chat."},
        threadId=_ID,
        replyTo={**_ID, "description": "The id of the message to quote."},
    ),
)


def message_tool(calls: Calls) -> AskingTool:
    """The tool."""
    return AskingTool(calls, MESSAGE)
