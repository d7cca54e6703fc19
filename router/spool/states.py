"""Every state of a spooled message and every legal step between them.

Theory of operation. A message is ours from the commit that made it QUEUED in the inbox; an answer is ours from the
commit that made it QUEUED (or SENDING) in the outbox. Rows only move along the tables below, each step is one durable
commit, and what a row means after a crash follows from its state alone:

  inbox QUEUED      not finished. Delivered or not, it is delivered again; the worker recognises the id.
  inbox DONE        the turn has ended and all it said is in the outbox. Kept for a while to recognise repeats.
  inbox DEAD        given up (it killed its worker too often, nobody can answer it); the reason is for the operator.
  outbox QUEUED     surely not taken by the platform: sending it cannot double anything. `not_before` says when.
  outbox SENDING    committed before the request left us. Found after a crash it means "maybe taken", so opening
                    the spool turns it into UNCERTAIN; it is never simply sent again.
  outbox UNCERTAIN  maybe taken. With the stored note the platform is asked: it was taken (SENT) or surely not (QUEUED).
                    Where it cannot be asked, an operator sees it.
  outbox SENT       taken, with the platform's receipt. Kept for a while so that a repeated Say is recognised.
  outbox DEAD       the platform will never take it, or we gave up; with the reason.

An inbox row may be DONE while its outbox rows are still on their way: the two boxes are independent from then on.
"""

from __future__ import annotations

from enum import Enum

from protocol.errors import OpenClawError


class InState(Enum):
    QUEUED = "queued"
    DONE = "done"
    DEAD = "dead"


class OutState(Enum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    DEAD = "dead"


class IllegalStep(OpenClawError):
    """The caller asked for a step that no state machine of ours has, or named a row that does not exist: our bug."""


IN_STEPS: dict[InState, frozenset[InState]] = {
    InState.QUEUED: frozenset({InState.DONE, InState.DEAD}),
    # Done and bury may be repeated: a worker that got no DoneAck says Done again after it reconnects.
    InState.DONE: frozenset({InState.DONE}),
    InState.DEAD: frozenset({InState.DEAD, InState.DONE}),
}

OUT_STEPS: dict[OutState, frozenset[OutState]] = {
    # QUEUED to QUEUED is a delay found out before anything left us (not connected, the chat must wait its turn).
    OutState.QUEUED: frozenset({OutState.SENDING, OutState.QUEUED, OutState.DEAD}),
    OutState.SENDING: frozenset({OutState.SENT, OutState.QUEUED, OutState.UNCERTAIN, OutState.DEAD}),
    OutState.UNCERTAIN: frozenset({OutState.SENT, OutState.QUEUED, OutState.UNCERTAIN, OutState.DEAD}),
    OutState.SENT: frozenset(),
    OutState.DEAD: frozenset(),
}


def settle(row: str, old: InState | None, new: InState) -> InState:
    """The state of an inbox row after the step: a row that has ended keeps its end. Raises IllegalStep."""
    if old is None or new not in IN_STEPS[old]:
        raise IllegalStep(f"inbox row {row}: {_name(old)} cannot become {new.value}")
    return new if old is InState.QUEUED else old


def move(row: str, old: OutState | None, new: OutState) -> OutState:
    """The state of an outbox row after the step. Raises IllegalStep."""
    if old is None or new not in OUT_STEPS[old]:
        raise IllegalStep(f"outbox row {row}: {_name(old)} cannot become {new.value}")
    return new


def _name(state: Enum | None) -> str:
    return "a row that does not exist" if state is None else str(state.value)
