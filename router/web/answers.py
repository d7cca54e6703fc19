"""The shapes of our HTTP answers: JSON, errors with a hint, and the headers that every one of them carries."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from aiohttp import web

from protocol.errors import OpenClawError, Permanent, Temporary, UserError

#: Only our own files, no inline script or style, no frames, no forms: text of a model or a stranger that became
#: markup by mistake could still load, send and run nothing.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SAFE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "openclaw",
}

#: Seconds named to a client where the error itself names none.
DEFAULT_RETRY = 5.0


class Refused(OpenClawError):
    """This request ends here, with an HTTP status and an error object for the client."""

    def __init__(
        self, status: int, message: str, kind: str, *, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.hint = hint
        self.headers = headers or {}


def answer(value: Any, status: int = 200) -> web.Response:
    """`value` as JSON, never kept by a cache."""
    body = msgspec.json.encode(value)
    headers = {**SAFE_HEADERS, "Cache-Control": "no-store"}
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def not_found() -> web.Response:
    """SPEC 7.2: plain text, the same for every path that is not ours."""
    return web.Response(text="Not Found", status=404, headers=SAFE_HEADERS)


def refuse(refused: Refused) -> web.Response:
    """An error as the client sees it: `{"error": {message, type, hint?}}`."""
    error = {"message": refused.message, "type": refused.kind}
    if refused.hint:
        error["hint"] = refused.hint
    response = answer({"error": error}, refused.status)
    response.headers.update(refused.headers)
    if refused.status in (408, 413):
        response.force_close()  # the rest of the body is still on its way
    return response


def unauthorized() -> Refused:
    return Refused(401, "Unauthorized", "unauthorized", headers={"WWW-Authenticate": "Bearer"})


def too_many(seconds: float) -> Refused:
    hint = "wait, then enter the value of gateway.auth.token"
    return Refused(429, "Too many failed attempts", "rate_limited", hint=hint, headers=_retry(seconds))


def translate(error: UserError | Temporary | Permanent) -> Refused:
    """What the desk raised, as an HTTP refusal."""
    if isinstance(error, UserError):
        return Refused(400, error.message, "invalid_request", hint=error.hint or "")
    if isinstance(error, Temporary):
        retry = DEFAULT_RETRY if error.retry_after is None else error.retry_after
        return Refused(503, error.reason, "temporary", headers=_retry(retry))
    return Refused(502, error.reason, "permanent")


def _retry(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
