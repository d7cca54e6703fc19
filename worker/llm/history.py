"""A conversation as it was stored becomes one that every vendor accepts. Pure.

Vendors refuse a history with a tool call that has no result, a result without its call, an id used twice, or a blank
text; a crash in mid turn, a cut transcript and a change of vendor leave just these behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from worker.llm.base import AssistantTurn, ToolCall, ToolTurn, Turn, UserTurn

#: Said for a call whose result was lost, so that the model can decide to call again.
LOST_RESULT = "(no result: the tool was interrupted)"
EMPTY_RESULT = "(no output)"
EMPTY_MESSAGE = "(empty message)"

_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


def tidy(turns: Iterable[Turn]) -> list[Turn]:
    """The same conversation, acceptable: never empty, first turn and last turn not the assistant's, users merged."""
    tidied = _merged(_paired(list(turns)))
    if not tidied or isinstance(tidied[0], AssistantTurn):
        tidied.insert(0, UserTurn(EMPTY_MESSAGE if not tidied else "(earlier conversation left out)"))
    if isinstance(tidied[-1], AssistantTurn):
        tidied.append(UserTurn("Continue."))
    return tidied


def as_text(turns: Iterable[Turn]) -> list[Turn]:
    """Calls and results told as text: for vendors that refuse them in a request that offers no tools."""
    out: list[Turn] = []
    for turn in turns:
        if isinstance(turn, ToolTurn):
            out.append(UserTurn(f"[result of {turn.name}]\n{turn.text}"))
        elif isinstance(turn, AssistantTurn) and turn.calls:
            told = "\n".join(f"[called {call.name}]" for call in turn.calls)
            out.append(AssistantTurn(f"{turn.text}\n{told}".strip()))
        else:
            out.append(turn)
    return _merged(out)


def _paired(turns: Sequence[Turn]) -> list[Turn]:
    """Each assistant turn with calls is followed by exactly one result per call, in the order of the calls."""
    out: list[Turn] = []
    used: set[str] = set()
    position = 0
    while position < len(turns):
        turn = turns[position]
        position += 1
        if isinstance(turn, AssistantTurn) and turn.calls:
            position = _close_calls(out, turn, turns, position, used)
        elif isinstance(turn, ToolTurn):
            out.append(UserTurn(f"[late result of {turn.name}]\n{turn.text or EMPTY_RESULT}"))
        elif turn.text.strip():
            out.append(turn)
    return out


def _close_calls(out: list[Turn], turn: AssistantTurn, turns: Sequence[Turn], position: int, used: set[str]) -> int:
    results: dict[str, ToolTurn] = {}
    while position < len(turns) and isinstance(result := turns[position], ToolTurn):
        if result.call_id not in {call.id for call in turn.calls}:
            break
        results.setdefault(result.call_id, result)
        position += 1
    calls = [(call, _unused(call.id, used)) for call in turn.calls]
    renamed = tuple(ToolCall(id=name, name=call.name, arguments=call.arguments, raw=call.raw) for call, name in calls)
    out.append(AssistantTurn(turn.text if turn.text.strip() else "", renamed))
    out.extend(_result(call, name, results.get(call.id)) for call, name in calls)
    return position


def _unused(call_id: str, used: set[str]) -> str:
    base = _NOT_IN_ID.sub("_", call_id)[:60] or "call"
    name, again = base, 1
    while name in used:
        again += 1
        name = f"{base}_{again}"
    used.add(name)
    return name


def _result(call: ToolCall, name: str, found: ToolTurn | None) -> ToolTurn:
    if found is None:
        return ToolTurn(name, call.name, LOST_RESULT, is_error=True)
    return ToolTurn(name, call.name, found.text if found.text.strip() else EMPTY_RESULT, found.is_error)


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """Neighbours of one role become one turn: strict chat templates want roles to alternate."""
    out: list[Turn] = []
    for turn in turns:
        last = out[-1] if out else None
        if isinstance(turn, UserTurn) and isinstance(last, UserTurn):
            out[-1] = UserTurn(f"{last.text}\n\n{turn.text}")
        elif isinstance(turn, AssistantTurn) and isinstance(last, AssistantTurn):
            out[-1] = AssistantTurn("\n\n".join(text for text in (last.text, turn.text) if text), turn.calls)
        else:
            out.append(turn)
    return out
