"""What the page is told while it watches an agent: one struct per fact, one JSON line each on the wire.

The stream is lossy by design: a reader that is too slow is dropped, connects again and reloads the history. So no
event is needed to understand the next one, and each carries the id of the message (and `seq` of the answer) it is
about. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as the page shows it; `detail` says why, when `state` is `trouble`.

    An agent whose worker sleeps until the next message is `ready`.
    """

    id: str
    name: str
    emoji: str = ""
    is_default: bool = False
    state: Literal["ready", "starting", "trouble"] = "ready"
    detail: str = ""


class _Event(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    pass


class UserSaid(_Event, frozen=True, kw_only=True):
    """A message for the agent's main session is on disk, from the page or (`sender`, `channel`) from elsewhere."""

    id: str
    text: str
    at: float
    sender: str = ""
    channel: str = ""


class Doing(_Event, frozen=True, kw_only=True):
    """What the turn of message `id` does now: asks the `model`, or runs a `tool` called `label`."""

    id: str
    doing: Literal["model", "tool"]
    label: str = ""


class Growing(_Event, frozen=True, kw_only=True):
    """Live text: continues at character (code point) `offset` of answer `seq` to message `id`."""

    id: str
    seq: int
    offset: int
    text: str


class Said(_Event, frozen=True, kw_only=True):
    """Answer `seq` to message `id` is complete and on disk."""

    id: str
    seq: int
    text: str
    at: float


class Ended(_Event, frozen=True, kw_only=True):
    """The turn of message `id` is over; `error` is for people."""

    id: str
    outcome: Literal["answered", "silent", "failed", "cancelled"]
    error: str = ""


class AgentState(_Event, frozen=True, kw_only=True):
    """The watched agent itself changed."""

    agent: AgentView


Event = UserSaid | Doing | Growing | Said | Ended | AgentState


def weigh(event: Event) -> int:
    """Roughly the bytes an event holds while it waits for a slow reader."""
    return 200 + len(getattr(event, "text", ""))
