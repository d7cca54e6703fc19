"""The arguments of the tools that reach beyond a worker, read strictly: a model wrote them, or whoever took it over.

Names and meaning: SPEC 5.5. What this build does not do is not a field, so asking for it is an error that says so.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from protocol.envelope import MAX_TEXT

#: Longest arguments of one request, in bytes of JSON: a text in the widest spelling, and room.
MAX_ARGUMENTS = 200_000

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x20\x7f]+$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
Count = Annotated[int, msgspec.Meta(ge=1, le=200)]
T = TypeVar("T")


class BadArguments(Exception):
    """The arguments cannot be used; the text is for the model."""


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class ListSessions(_Arguments, frozen=True, kw_only=True):
    kinds: tuple[Literal["main", "group", "cron", "hook", "node", "other"], ...] = ()
    limit: Count = 50
    active_minutes: Annotated[float, msgspec.Meta(gt=0)] | None = None
    agent_id: Key | None = None
    search: Annotated[str, msgspec.Meta(max_length=200)] = ""


class SessionHistory(_Arguments, frozen=True, kw_only=True):
    session_key: Key
    limit: Count = 50
    include_tools: bool = False


class SendToSession(_Arguments, frozen=True, kw_only=True):
    message: Text
    session_key: Key | None = None
    agent_id: Key | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30.0


class SessionStatus(_Arguments, frozen=True, kw_only=True):
    session_key: Key | None = None


class ListAgents(_Arguments, frozen=True, kw_only=True):
    pass


class Message(_Arguments, frozen=True, kw_only=True):
    action: Literal["send"]
    message: Text
    channel: Id | None = None
    account_id: Id | None = None
    target: Id | None = None
    thread_id: Id | None = None
    reply_to: Id | None = None


def read(kind: type[T], text: str) -> T:
    """Raises BadArguments for anything that is not exactly such an object."""
    if len(text) > MAX_ARGUMENTS:
        raise BadArguments(f"the arguments are longer than {MAX_ARGUMENTS} characters")
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadArguments(f"the arguments cannot be used: {error}") from None
