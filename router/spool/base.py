"""The spool: what the router has taken over and what it still owes, on disk before anybody is told so.

`Spool` is the interface of `store` (SQLite) and `memory` (the fake); both pass `tests/contract/test_spool.py`. Every
method is durable when it returns. What the states mean, also after a crash, is written in `states`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from protocol.control import QueueRow
from protocol.envelope import Inbound, Outbound
from protocol.errors import Temporary
from router.spool.states import OutState

Origin = Literal["platform", "operator"]

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_ALPHABET = frozenset(_DIGITS)
_ID_LENGTH = 11
#: Leaves 43 bits for the milliseconds: enough until the year 2248.
_COUNTER_BITS = 12

#: What an outbox row that was being sent says after the process died.
INTERRUPTED = "the gateway ended while this was being sent"


class SpoolFailed(Temporary):
    """The disk did not take it (full, busy, read-only, broken, or the spool is closed): nothing was accepted."""


class Admission(msgspec.Struct, frozen=True):
    """One message for one agent. `origin` is operator for what the CLI or the control page asked."""

    agent: str
    session_key: str
    message: Inbound
    origin: Origin = "platform"


class Cursor(msgspec.Struct, frozen=True):
    """How far the platform's stream was read, such as a Telegram update offset."""

    channel: str
    account: str
    value: str


class InboxRow(msgspec.Struct, frozen=True):
    """A message that is ours. `crashes` counts workers that died with it; `created_at` in seconds since the epoch."""

    id: str
    agent: str
    session_key: str
    message: Inbound
    crashes: int
    created_at: float
    origin: Origin = "platform"


class OutboxRow(msgspec.Struct, frozen=True):
    """A platform message we owe. `inbound` and `agent` are empty for texts that answer no message.

    `not_before` is in seconds since the epoch; `note` is what `Channel.confirm` needs; `reason` says why it waits.
    """

    key: str
    inbound: str
    agent: str
    message: Outbound
    state: OutState
    attempts: int
    not_before: float
    note: str
    created_at: float
    reason: str


Pending = tuple[list[InboxRow], list[OutboxRow]]


class Spool(Protocol):
    """The durable inbox and outbox. Every method may raise SpoolFailed; steps off the table raise IllegalStep."""

    async def open(self) -> None:
        """Load or create the spool. Rows left SENDING become UNCERTAIN. Raises UserError for a newer format."""

    async def close(self) -> None:
        """Write what was asked and release the file. Safe to call twice."""

    async def admit(self, items: Sequence[Admission], cursor: Cursor | None, now: float) -> list[InboxRow]:
        """Take over messages and the cursor in one commit; returns the rows that are new.

        A message is the same when channel, account, message_id and agent are. The cursor is stored even when all
        messages were repeats.
        """

    async def finish(self, id: str, outcome: str, error: str, now: float) -> None:
        """The turn of this message ended. Repeating it, or ending what is already dead, changes nothing."""

    async def blame(self, ids: Sequence[str]) -> dict[str, int]:
        """A worker died with these messages: their new crash counts. Messages that have ended are left out."""

    async def bury(self, id: str, reason: str, farewell: Sequence[Outbound], now: float) -> list[OutboxRow]:
        """Give this message up and queue a word to its sender, in one commit. Repeating it changes nothing."""

    async def say(
        self, inbound_id: str, seq: int, parts: Sequence[Outbound], now: float, sending_note: str | None = None
    ) -> list[OutboxRow]:
        """Store one Say; with `sending_note` its first part is SENDING at once, which saves a commit.

        The parts carry the keys `part_key(inbound_id, seq, 0..)`. Returns [] when this (inbound_id, seq) is stored
        already or the message has ended: nothing is to be sent then.
        """

    async def post(self, messages: Sequence[Outbound], now: float) -> list[OutboxRow]:
        """Queue texts that answer no message (pairing codes, notices); keys known already are left out."""

    async def sending(self, key: str, note: str, now: float) -> None:
        """The request leaves us next."""

    async def sent(self, key: str, receipt_id: str, now: float) -> None:
        """The platform has taken it."""

    async def delay(self, key: str, not_before: float, reason: str) -> None:
        """The platform surely has not taken it; try again then. Counts an attempt."""

    async def uncertain(self, key: str, reason: str) -> None:
        """The platform may or may not have taken it."""

    async def refuse(self, key: str, reason: str) -> None:
        """It will never be sent."""

    async def known(self, channel: str, account: str, message_id: str, agent: str) -> str:
        """The id under which this message was admitted, empty when it was not."""

    async def sessions(self, limit: int) -> list[InboxRow]:
        """The message that last came for each session, ended or not, newest first."""

    async def cursor(self, channel: str, account: str) -> str | None:
        """The value of the last cursor admitted for this account."""

    async def pending(self) -> Pending:
        """Everything unfinished, in order of arrival: inbox QUEUED; outbox QUEUED, SENDING and UNCERTAIN."""

    async def counts(self) -> dict[str, int]:
        """Rows per box and state, such as `in.queued` or `out.uncertain`; every state is named."""

    async def unfinished(self, limit: int) -> list[QueueRow]:
        """For the operator: what waits, is uncertain or is dead, with reasons, newest first."""

    async def purge(self, before: float) -> int:
        """Forget what ended and was created before then; returns how many rows went.

        A repeat of a purged message is new again, so `before` must be further back than any platform repeats.
        """


def part_key(inbound_id: str, seq: int, part: int) -> str:
    """The key of one platform message of an answer: the same over all retries and restarts."""
    return f"{inbound_id}.{seq}.{part}"


def check_parts(inbound_id: str, seq: int, parts: Sequence[Outbound]) -> None:
    """Raises ValueError unless the parts carry the keys that make repeats recognisable."""
    for number, part in enumerate(parts):
        if part.key != part_key(inbound_id, seq, number):
            raise ValueError(f"part {number} of {inbound_id}.{seq} has the key {part.key}")


def next_number(last: int, now: float) -> int:
    """The number behind the next inbound id: from the clock, and above `last` even if the clock went back."""
    return max(int(now * 1000) << _COUNTER_BITS, last + 1)


def id_text(number: int) -> str:
    """11 characters that sort as the number does."""
    return "".join(_DIGITS[number >> (5 * place) & 31] for place in reversed(range(_ID_LENGTH)))


def id_number(text: str) -> int:
    """The number of an id made by `id_text`; -1, which no row has, for any other text."""
    if len(text) != _ID_LENGTH or not _ALPHABET.issuperset(text):
        return -1
    number = 0
    for digit in text:
        number = number << 5 | _DIGITS.index(digit)
    return number
