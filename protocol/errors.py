"""The base error, and the three facts that must survive a process boundary.

Who is wrong is the type: `UserError` is the operator's input (exit code 1), `Temporary` may be tried again,
`Permanent` may not. Everything else that escapes is ours (exit code 2).
"""

from __future__ import annotations


class OpenClawError(Exception):
    """Base of every error this project raises on purpose."""


class UserError(OpenClawError):
    """The operator's input cannot be satisfied.

    `where` is a config path such as `$.channels.telegram.dmPolicy` or a file name; `hint` is one line that can be
    typed. The text has no full stop and no traceback follows it.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.exit_code = exit_code


class Temporary(OpenClawError):
    """The same thing may succeed later; `retry_after` is in seconds when the other side named a time."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Permanent(OpenClawError):
    """Trying again cannot help; `reason` is for the operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProtocolViolation(OpenClawError):
    """The peer sent what it may not send: close that link and say so."""
