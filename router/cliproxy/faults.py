"""Our own errors, told in the format of the one who asked, and vendors' errors made safe to pass on. Pure.

No text here ever holds a key: ours are written below, a vendor's is searched for the key it was given.
"""

from __future__ import annotations

import msgspec

#: Anthropic's error types by status; OpenAI's are derived from them closely enough for every client.
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
HIDDEN = b"[key]"
#: Shorter texts are no keys, and replacing them would tear words apart.
_MIN_KEY = 6


class Fault(Exception):
    """Answer with this status and message."""

    def __init__(self, status: int, message: str, *, retry_after: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def body(fault: Fault, api: str) -> bytes:
    """The error as JSON in the caller's format."""
    kind = _TYPES.get(fault.status, "api_error")
    if api == "anthropic-messages":
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": fault.message}})
    kind = "server_error" if kind == "api_error" else kind
    return msgspec.json.encode({"error": {"message": fault.message, "type": kind, "param": None, "code": None}})


def event(fault: Fault, api: str) -> bytes:
    """The error as the last event of a stream that has begun."""
    name = b"event: error\n" if api == "anthropic-messages" else b""
    return b"\n\n" + name + b"data: " + body(fault, api) + b"\n\n"


def without(key: str, said: bytes) -> bytes:
    """A vendor's text with every trace of the whole key taken out."""
    return said.replace(key.encode(), HIDDEN) if len(key) >= _MIN_KEY else said


def is_json_object(said: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(said), dict | list)
    except (msgspec.DecodeError, RecursionError):
        return False
