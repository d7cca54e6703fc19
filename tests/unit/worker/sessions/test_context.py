"""The model sees whole turns from the end, and never a call without its result."""

from __future__ import annotations

from worker.llm.base import AssistantTurn, ToolCall, ToolTurn, UserTurn
from worker.sessions.context import LEFT_OUT, budget, conversation
from worker.sessions.entries import AnswerLine, Mark, ResultLine, UserLine
from worker.sessions.record import Record


def record(number: int, size: int, results: int = 0) -> Record:
    made = Record(UserLine("q" * size, 0.0, Mark(f"m{number}")))
    for position in range(results):
        call = ToolCall(f"c{position}", "read", {})
        made.add(AnswerLine(AssistantTurn("", (call,)), 0.0, Mark(made.inbound)))
        made.add(ResultLine(ToolTurn(call.id, "read", "r" * size), 0.0, Mark(made.inbound)))
    return made


def text(line: UserLine) -> str:
    return line.text


def test_old_turns_are_left_out_whole() -> None:
    turns = conversation([record(1, 100), record(2, 100), record(3, 100)], 250, text)
    assert turns == (UserTurn("q" * 100), UserTurn("q" * 100))


def test_the_last_turn_is_there_even_when_it_is_too_long() -> None:
    assert conversation([record(1, 10), record(2, 500)], 100, text) == (UserTurn("q" * 500),)


def test_a_single_turn_that_is_too_long_loses_its_oldest_results() -> None:
    turns = conversation([record(1, 1000, results=3)], 2500, text)
    results = [turn.text for turn in turns if isinstance(turn, ToolTurn)]
    assert results == [LEFT_OUT, LEFT_OUT, "r" * 1000]
    assert len([turn for turn in turns if isinstance(turn, AssistantTurn)]) == 3


def test_the_budget_keeps_a_reserve_and_halves() -> None:
    assert budget(200_000, 40_000) == (200_000 - 16_384 - 10_000) * 4
    assert budget(200_000, 0, shrink=1) == budget(200_000, 0) // 2
    assert budget(1_000, 0) == 16_000
