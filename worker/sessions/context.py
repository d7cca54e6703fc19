"""How much of a conversation a model is shown: whole turns from the end, as far as its window goes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.llm.base import ToolTurn, Turn, UserTurn
from worker.sessions.entries import UserLine
from worker.sessions.record import Record

#: Rough size of a token in characters, for an estimate that no vendor's tokenizer is needed for.
CHARS_PER_TOKEN = 4
#: Tokens kept free for the answer and for what the estimate missed.
RESERVE_TOKENS = 16_384
#: Least share of the window that the conversation gets, whatever the reserve.
_FLOOR_TOKENS = 4_000

LEFT_OUT = "[this result was left out to save space; run the tool again if it is needed]"


def budget(context_tokens: int, system_chars: int, shrink: int = 0) -> int:
    """Characters of conversation that fit beside a system prompt, halved `shrink` times."""
    tokens = context_tokens - RESERVE_TOKENS - system_chars // CHARS_PER_TOKEN
    return max(tokens, _FLOOR_TOKENS) * CHARS_PER_TOKEN >> shrink


def conversation(records: Sequence[Record], limit: int, show: Callable[[UserLine], str]) -> tuple[Turn, ...]:
    """The turns to send, oldest first; the last record is always there. `show` makes a person's message readable."""
    chosen: list[Record] = []
    left = limit
    for record in reversed(records):
        if chosen and record.size > left:
            break
        chosen.append(record)
        left -= record.size
    turns = [turn for record in reversed(chosen) for turn in _turns(record, show)]
    return tuple(_lighten(turns, -left) if left < 0 else turns)


def _turns(record: Record, show: Callable[[UserLine], str]) -> list[Turn]:
    text = show(record.user)
    return [*([UserTurn(text)] if text else []), *record.items]


def _lighten(turns: list[Turn], excess: int) -> list[Turn]:
    """A single turn that is too long loses its oldest tool results, never a call without its result."""
    lightened: list[Turn] = []
    for position, turn in enumerate(turns):
        last = position == len(turns) - 1
        if isinstance(turn, ToolTurn) and excess > 0 and not last and len(turn.text) > len(LEFT_OUT):
            excess -= len(turn.text) - len(LEFT_OUT)
            turn = ToolTurn(turn.call_id, turn.name, LEFT_OUT, turn.is_error)
        lightened.append(turn)
    return lightened
