"""One line of a transcript: what is written, and what is understood when it is read again. Pure.

The lines have the shape users' files already have (SPEC 5.10); what we add sits in the field `openclaw` and is ignored
by other readers. A line is written before its consequence is acted on, and says all of it at once (`Mark`): the text
that goes out, the tool that starts, the end of the turn. So a cut between two lines is always a clean place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.llm.base import AssistantTurn, ToolCall, ToolTurn, Usage

VERSION = 3
TURN_NOTE = "openclaw.turn"


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """The text that goes out with this line. None means the assistant's own text, as `speech.spoken` says it."""

    seq: int
    text: str | None = None


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """The turn ends with this line."""

    outcome: str
    error: str = ""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our part of a line. `inbound` is the message the line belongs to, `starts` the tool call that runs next.

    `context`, `sender` and `channel` belong to the line of a person's message.
    """

    inbound: str = ""
    say: Said | None = None
    starts: str = ""
    done: Ended | None = None
    context: str = ""
    sender: str = ""
    channel: str = ""


class Heading(msgspec.Struct, frozen=True):
    """The first line of a file."""

    id: str
    key: str
    at: float


class UserLine(msgspec.Struct, frozen=True):
    text: str
    at: float
    mark: Mark = Mark()


class AnswerLine(msgspec.Struct, frozen=True):
    turn: AssistantTurn
    at: float
    mark: Mark = Mark()
    usage: Usage = Usage()
    provider: str = ""
    model: str = ""


class ResultLine(msgspec.Struct, frozen=True):
    turn: ToolTurn
    at: float
    mark: Mark = Mark()


class NoteLine(msgspec.Struct, frozen=True):
    """No part of the conversation: only our mark."""

    at: float
    mark: Mark = Mark()


Line = UserLine | AnswerLine | ResultLine | NoteLine

_encode = msgspec.json.Encoder().encode
_mark = msgspec.json.Decoder(Mark)


def write_heading(heading: Heading, cwd: str) -> bytes:
    return _line(
        {
            "type": "session",
            "version": VERSION,
            "id": heading.id,
            "timestamp": _iso(heading.at),
            "cwd": cwd,
            "openclaw": {"key": heading.key},
        }
    )


def write_line(line: Line, entry_id: str, parent: str | None) -> bytes:
    """The bytes of one entry with its line feed."""
    head: dict[str, Any] = {"type": "message", "id": entry_id, "parentId": parent, "timestamp": _iso(line.at)}
    match line:
        case NoteLine():
            head |= {"type": "custom", "customType": TURN_NOTE, "data": {}}
        case UserLine():
            head["message"] = {"role": "user", "content": [_text(line.text)]}
        case AnswerLine():
            head["message"] = _answer(line)
        case ResultLine(turn):
            head["message"] = {
                "role": "toolResult",
                "toolCallId": turn.call_id,
                "toolName": turn.name,
                "content": [_text(turn.text)],
                "isError": turn.is_error,
            }
    if "message" in head:
        head["message"]["timestamp"] = int(line.at * 1000)
    return _line(head | {"openclaw": line.mark})


def read_heading(data: bytes) -> Heading | None:
    """The heading of a file, None when the line is none. The key is empty in files that are not ours."""
    entry = _object(data)
    if entry.get("type") != "session" or not isinstance(entry.get("id"), str):
        return None
    ours = entry.get("openclaw")
    key = ours.get("key") if isinstance(ours, dict) else None
    return Heading(entry["id"], key if isinstance(key, str) else "", _epoch(entry.get("timestamp")))


def read_line(data: bytes) -> tuple[str, Line | None]:
    """The entry's id and its meaning; None for entries that mean nothing here. Never raises."""
    entry = _object(data)
    entry_id = entry.get("id")
    return (entry_id if isinstance(entry_id, str) else ""), _meaning(entry)


def _meaning(entry: dict[str, Any]) -> Line | None:
    mark = _read_mark(entry.get("openclaw"))
    at = _epoch(entry.get("timestamp"))
    if entry.get("type") == "custom" and entry.get("customType") == TURN_NOTE:
        return NoteLine(at, mark)
    message = entry.get("message")
    if entry.get("type") != "message" or not isinstance(message, dict):
        return None
    text, calls = _read_content(message.get("content"))
    match message.get("role"):
        case "user":
            return UserLine(text, at, mark)
        case "assistant":
            return AnswerLine(AssistantTurn(text, calls), at, mark)
        case "toolResult":
            name, call_id = str(message.get("toolName", "")), str(message.get("toolCallId", ""))
            return ResultLine(ToolTurn(call_id, name, text, bool(message.get("isError"))), at, mark)
    return None


def _answer(line: AnswerLine) -> dict[str, Any]:
    content: list[dict[str, Any]] = [_text(line.turn.text)] if line.turn.text else []
    content += [_call(call) for call in line.turn.calls]
    usage = line.usage
    return {
        "role": "assistant",
        "content": content,
        "provider": line.provider,
        "model": line.model,
        "usage": {
            "input": usage.input,
            "output": usage.output,
            "cacheRead": usage.cache_read,
            "cacheWrite": usage.cache_write,
            "totalTokens": usage.input + usage.output + usage.cache_read + usage.cache_write,
        },
        "stopReason": "toolUse" if line.turn.calls else "stop",
    }


def _call(call: ToolCall) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "toolCall", "id": call.id, "name": call.name, "arguments": call.arguments or {}}
    return block if call.arguments is not None else {**block, "raw": call.raw}


def _read_content(content: Any) -> tuple[str, tuple[ToolCall, ...]]:
    if isinstance(content, str):
        return content, ()
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    text = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    return text, tuple(_read_call(block) for block in blocks if block.get("type") == "toolCall")


def _read_call(block: dict[str, Any]) -> ToolCall:
    name, call_id, arguments, raw = (block.get(field) for field in ("name", "id", "arguments", "raw"))
    if isinstance(raw, str):
        return ToolCall(str(call_id), str(name), None, raw)
    return ToolCall(str(call_id), str(name), arguments if isinstance(arguments, dict) else {})


def _read_mark(value: Any) -> Mark:
    try:
        return msgspec.convert(value, Mark) if isinstance(value, dict) else Mark()
    except msgspec.ValidationError:
        return Mark()


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _line(entry: dict[str, Any]) -> bytes:
    try:
        return _encode(entry) + b"\n"
    except UnicodeEncodeError:
        # Half surrogates cannot be written as UTF-8; a model or a platform may send some.
        return _encode(_mended(entry)) + b"\n"


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return _mended(msgspec.to_builtins(value)) if isinstance(value, msgspec.Struct) else value


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _epoch(value: Any) -> float:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0
