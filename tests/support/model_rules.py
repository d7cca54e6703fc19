"""What the two vendors refuse: the rules by which the fake model servers judge our requests.

Each function returns the vendor's complaint, or "" for a request the vendor would take. The rules are those the
vendors document and answer in practice; a request built wrongly must fail here as it would out there.
"""

from __future__ import annotations

import re
from typing import Any

_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_ANTHROPIC_FIELDS = frozenset({"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream"}) | {
    *("temperature", "top_p", "top_k", "stop_sequences", "metadata", "thinking", "service_tier", "container"),
}


def judge_anthropic(body: Any) -> str:
    """The complaint of POST /v1/messages."""
    if not isinstance(body, dict):
        return "body: Input should be a valid dictionary"
    for field in ("model", "max_tokens", "messages"):
        if field not in body:
            return f"{field}: Field required"
    for field in body:
        if field not in _ANTHROPIC_FIELDS:
            return f"{field}: Extra inputs are not permitted"
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    if not isinstance(body["messages"], list) or not body["messages"]:
        return "messages: at least one message is required"
    return _system(body) or _messages(body) or _pairs(body) or _anthropic_tools(body) or _marks(body)


def _system(body: dict[str, Any]) -> str:
    system = body.get("system", "x")
    blocks = system if isinstance(system, list) else [{"type": "text", "text": system}]
    for place, block in enumerate(blocks):
        if not str(block.get("text") or "").strip():
            return f"system.{place}: text content blocks must be non-empty"
    return ""


def _messages(body: dict[str, Any]) -> str:
    for place, message in enumerate(body["messages"]):
        if message.get("role") not in ("user", "assistant"):
            return f"messages.{place}.role: Input should be 'user' or 'assistant'"
        if not message.get("content"):
            return f"messages.{place}: all messages must have non-empty content"
        for at, block in enumerate(_blocks(message)):
            if complaint := _block(message["role"], block):
                return f"messages.{place}.content.{at}{complaint}"
    if body["messages"][0]["role"] != "user":
        return 'messages: first message must use the "user" role'
    last = body["messages"][-1]
    if last["role"] == "assistant" and str(_blocks(last)[-1].get("text", "x"))[-1:].isspace():
        return "messages: final assistant content cannot end with trailing whitespace"
    return ""


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _block(role: str, block: dict[str, Any]) -> str:
    kind = block.get("type")
    if kind == "text":
        return "" if str(block.get("text") or "").strip() else ": text content blocks must be non-empty"
    if kind == "tool_use" and role == "assistant":
        if not _ID.match(str(block.get("id") or "")):
            return ".tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        return "" if isinstance(block.get("input"), dict) else ".tool_use.input: Input should be a valid dictionary"
    if kind == "tool_result" and role == "user":
        return "" if block.get("tool_use_id") else ".tool_result.tool_use_id: Field required"
    return "" if kind == "image" else ": Input tag found using 'type' does not match any of the expected tags"


def _pairs(body: dict[str, Any]) -> str:
    seen: set[str] = set()
    asked: list[str] = []
    for place, message in enumerate(body["messages"]):
        results = [block["tool_use_id"] for block in _blocks(message) if block["type"] == "tool_result"]
        if unknown := [one for one in results if one not in asked]:
            return f"messages.{place}: unexpected `tool_use_id` found in `tool_result` blocks: {unknown[0]}"
        if missing := [one for one in asked if one not in results]:
            return f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks: {', '.join(missing)}"
        kinds = [block["type"] for block in _blocks(message)]
        if results and kinds != sorted(kinds, key=lambda kind: kind != "tool_result"):
            return f"messages.{place}: tool_result blocks must come first"
        asked = [block["id"] for block in _blocks(message) if block["type"] == "tool_use"]
        if seen.intersection(asked) or len(set(asked)) != len(asked):
            return "messages: `tool_use` ids must be unique"
        seen.update(asked)
    return f"messages: `tool_use` ids were found without `tool_result` blocks: {', '.join(asked)}" if asked else ""


def _anthropic_tools(body: dict[str, Any]) -> str:
    uses = any(block["type"] == "tool_use" for message in body["messages"] for block in _blocks(message))
    if uses and not body.get("tools"):
        return "Requests which include `tool_use` or `tool_result` blocks must define tools"
    for place, tool in enumerate(body.get("tools", ())):
        if not _TOOL_NAME.match(str(tool.get("name") or "")):
            return f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        if tool.get("input_schema", {}).get("type") != "object":
            return f"tools.{place}.custom.input_schema.type: Field required"
    return ""


def _marks(body: dict[str, Any]) -> str:
    system = body.get("system") if isinstance(body.get("system"), list) else []
    blocks = [*system, *body.get("tools", ()), *(block for message in body["messages"] for block in _blocks(message))]
    marks = sum("cache_control" in block for block in blocks)
    return f"A maximum of 4 blocks with cache_control may be provided. Found {marks}." if marks > 4 else ""


def judge_openai(body: Any) -> str:
    """The complaint of POST /v1/chat/completions."""
    if not isinstance(body, dict):
        return "We could not parse the JSON body of your request."
    if not body.get("model"):
        return "you must provide a model parameter"
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        return "[] is too short - 'messages'"
    if body.get("stream_options") and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    if re.match(r"gpt-5|o\d", body["model"]) and "max_tokens" in body:
        return "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    return _openai_messages(body["messages"]) or _openai_tools(body)


def _openai_messages(messages: list[dict[str, Any]]) -> str:
    asked: list[str] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        if role not in ("system", "developer", "user", "assistant", "tool"):
            return f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool'."
        if role == "tool":
            if message.get("tool_call_id") not in asked:
                return "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            asked.remove(message["tool_call_id"])
        elif asked:
            return f"An assistant message with 'tool_calls' must be followed by tool messages: {', '.join(asked)}"
        if complaint := _openai_message(message):
            return f"Invalid value for messages[{place}]: {complaint}"
        asked = [call["id"] for call in message.get("tool_calls", ())] or asked
    return f"An assistant message with 'tool_calls' must be followed by tool messages: {', '.join(asked)}" * bool(asked)


def _openai_message(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    if calls is None:
        content = message.get("content")
        return "" if isinstance(content, str | list) else "expected a string, got null"
    if not calls:
        return "[] is too short - 'tool_calls'"
    for call in calls:
        function = call.get("function", {})
        if call.get("type") != "function" or not call.get("id") or not _TOOL_NAME.match(function.get("name", "")):
            return "invalid tool call"
        if not isinstance(function.get("arguments"), str):
            return "expected arguments to be a string"
    return ""


def _openai_tools(body: dict[str, Any]) -> str:
    if "tools" in body and not body["tools"]:
        return "[] is too short - 'tools'"
    for place, tool in enumerate(body.get("tools", ())):
        name = tool.get("function", {}).get("name", "")
        if tool.get("type") != "function" or not _TOOL_NAME.match(name):
            return f"Invalid 'tools[{place}].function.name'"
    return ""
