"""What a vendor's error means for us: try later, give up, or make the conversation shorter. Pure.

This is the border: outside this file nobody reads a vendor's error text. Reasons are short and never hold a key.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from worker.llm.base import ContextOverflow, ModelBusy, ModelRefused

#: Longest pause we believe a vendor, in seconds; the agent gives up on a turn long before.
MAX_RETRY_AFTER = 3600.0
MAX_REASON = 300

_BUSY_STATUS = frozenset({408, 409, 425, 429})
#: Error types and codes inside a body or a stream that pass by themselves.
_BUSY_TYPES = frozenset(
    {"overloaded_error", "rate_limit_error", "api_error", "timeout_error", "server_error", "internal_server_error"}
    | {"rate_limit_exceeded", "service_unavailable", "overloaded", "unavailable_error", "internal_error"}
)
#: A 429 of this kind stays until somebody pays.
_UNPAID = ("insufficient_quota", "credit balance", "billing")
#: How vendors and local servers say that the conversation is too long.
_TOO_LONG = re.compile(
    r"prompt is too long|context[ _]length|context[ _]window|context[ _]size|context limit|exceed_context"
    r"|too many (input )?tokens|maximum (prompt|input) length|input is too long|max_seq_len|request_too_large"
    r"|reduce the length",
    re.IGNORECASE,
)
_KEY = re.compile(r"(sk-|gsk_|xai-|csk-|AIza|Bearer\s+|key-)[A-Za-z0-9_\-*.]{6,}")


class _Fault(msgspec.Struct):
    message: str = ""
    type: str = ""
    code: str = ""


def from_status(status: int, body: bytes, retry_after: str | None, now: float) -> ModelBusy | ModelRefused:
    """The error for an HTTP answer that is not 200. `now` is the wall clock, for a Retry-After that is a date."""
    fault = _fault(_json(body))
    reason = _reason(fault, f"HTTP {status}")
    if status in (400, 413, 422, 500) and _is_too_long(fault):
        return ContextOverflow(reason)
    if (status in _BUSY_STATUS or status >= 500) and not _is_unpaid(fault):
        return ModelBusy(reason, retry_after=seconds(retry_after, now))
    return ModelRefused(reason)


def from_stream(error: Any) -> ModelBusy | ModelRefused:
    """The error for an error object that came inside a stream."""
    fault = _fault({"error": error})
    reason = _reason(fault, "error in the stream")
    if _is_too_long(fault):
        return ContextOverflow(reason)
    code = int(fault.code) if fault.code.isdigit() else 0
    if fault.type in _BUSY_TYPES or fault.code in _BUSY_TYPES or code in _BUSY_STATUS or code >= 500:
        return ModelBusy(reason)
    return ModelRefused(reason)


def seconds(retry_after: str | None, now: float) -> float | None:
    """A Retry-After header (seconds or a date, RFC 9110 10.2.3) as seconds from `now`; None when it says nothing."""
    if not retry_after:
        return None
    try:
        pause = float(retry_after)
    except ValueError:
        try:
            pause = parsedate_to_datetime(retry_after).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(pause, 0.0), MAX_RETRY_AFTER) if pause == pause else None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _fault(body: Any) -> _Fault:
    """The shapes seen: {"error": {message, type, code}}, {"error": "text"}, {"message": "text"}, a list of one."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return _Fault()
    error = body.get("error", body)
    if isinstance(error, str):
        return _Fault(message=error)
    if not isinstance(error, dict):
        return _Fault()
    return _Fault(*(_text(error.get(name)) for name in ("message", "type", "code")))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _reason(fault: _Fault, where: str) -> str:
    said = " ".join(fault.message.split()) or fault.type or fault.code
    said = _KEY.sub("[key]", said)
    if len(said) > MAX_REASON:
        said = said[: MAX_REASON - 1] + "…"
    return f"{said} ({where})" if said else where


def _is_too_long(fault: _Fault) -> bool:
    return any(_TOO_LONG.search(text) for text in (fault.message, fault.type, fault.code))


def _is_unpaid(fault: _Fault) -> bool:
    text = f"{fault.message} {fault.type} {fault.code}".lower()
    return any(word in text for word in _UNPAID)
