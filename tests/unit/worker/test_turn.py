"""Dialogues: events in, commands out, without a model, a tool or a clock."""

from __future__ import annotations

from typing import Any

import pytest

from worker.llm.base import AssistantTurn, ToolCall
from worker.turn import (
    BUSY,
    EMPTY,
    GENERIC,
    REFUSED,
    TOO_LONG,
    AskModel,
    Broken,
    Cancelled,
    Event,
    Finish,
    ModelAnswered,
    ModelFailed,
    RefuseTool,
    RunTool,
    Say,
    Step,
    TimedOut,
    ToolEnded,
    Turn,
)

READ = ToolCall("1", "read", {"path": "a"})
EXEC = ToolCall("2", "exec", {"command": "ls"})


def new_turn(**fields: Any) -> Turn:
    return Turn(**{"direct": True, "tools": frozenset({"read", "exec"}), **fields})


def answer(text: str, *calls: ToolCall) -> ModelAnswered:
    return ModelAnswered(AssistantTurn(text, calls))


def play(turn: Turn, *dialogue: tuple[Event, Step]) -> None:
    """Each event must lead to the step beside it."""
    assert turn.start() == Step(AskModel())
    for event, step in dialogue:
        assert turn.handle(event) == step


def test_a_plain_answer_is_said_and_ends_the_turn() -> None:
    play(new_turn(), (answer(" hi "), Step(Finish("answered"), Say(0, "hi"))))


def test_tools_run_one_after_the_other_in_their_order() -> None:
    play(
        new_turn(),
        (answer("let me look", READ, EXEC), Step(RunTool(READ), Say(0, "let me look"))),
        (ToolEnded(READ, "x"), Step(RunTool(EXEC))),
        (ToolEnded(EXEC, "y", True), Step(AskModel())),
        (answer("it is y"), Step(Finish("answered"), Say(1, "it is y"))),
    )


def test_an_unknown_tool_and_broken_arguments_are_results_for_the_model() -> None:
    unknown, broken = ToolCall("1", "cron", {}), ToolCall("2", "exec", None, "{oops")
    play(
        new_turn(),
        (answer("", unknown, broken), Step(RefuseTool(unknown, "Tool cron not found. Available tools: exec, read"))),
        (ToolEnded(unknown, "e", True), Step(RefuseTool(broken, "The arguments are not a valid JSON object"))),
        (ToolEnded(broken, "e", True), Step(AskModel())),
        (answer("sorry"), Step(Finish("answered"), Say(0, "sorry"))),
    )


def test_no_reply_is_silence_everywhere() -> None:
    play(new_turn(), (answer("NO_REPLY"), Step(Finish("silent"))))
    play(new_turn(direct=False), (answer(" no_reply"), Step(Finish("silent"))))


def test_an_empty_answer_is_a_warning_in_private_and_silence_in_groups() -> None:
    failed = Finish("failed", "the model gave an empty answer")
    play(new_turn(), (answer(""), Step(failed, Say(0, EMPTY))))
    play(new_turn(direct=False), (answer(""), Step(Finish("silent"))))


def test_silence_after_something_was_said_is_an_answer() -> None:
    play(
        new_turn(),
        (answer("done", READ), Step(RunTool(READ), Say(0, "done"))),
        (ToolEnded(READ, "x"), Step(AskModel())),
        (answer(""), Step(Finish("answered"))),
    )


def test_a_busy_model_is_asked_again_twice_with_growing_pauses() -> None:
    busy = ModelFailed("busy", "overloaded")
    play(
        new_turn(),
        (busy, Step(AskModel(pause=1.0))),
        (busy, Step(AskModel(pause=4.0))),
        (busy, Step(Finish("failed", "overloaded"), Say(0, BUSY))),
    )


def test_an_answer_gives_the_retries_back() -> None:
    busy = ModelFailed("busy", "overloaded")
    play(
        new_turn(),
        (busy, Step(AskModel(pause=1.0))),
        (answer("", READ), Step(RunTool(READ))),
        (ToolEnded(READ, "x"), Step(AskModel())),
        (busy, Step(AskModel(pause=1.0))),
    )


def test_the_vendors_own_pause_is_kept_unless_it_is_long() -> None:
    play(new_turn(), (ModelFailed("busy", "limit", 7.0), Step(AskModel(pause=7.0))))
    said = Say(0, "⚠️ Rate-limited: ready in about 120 s. Please try again then.")
    play(new_turn(), (ModelFailed("busy", "limit", 120.0), Step(Finish("failed", "limit"), said)))


def test_a_refusal_goes_to_the_next_model_and_then_to_the_person() -> None:
    refused = ModelFailed("refused", "invalid key")
    play(
        new_turn(models=2),
        (refused, Step(AskModel(model=1))),
        (refused, Step(Finish("failed", "invalid key"), Say(0, REFUSED))),
    )


def test_a_conversation_that_is_too_long_is_halved_twice() -> None:
    too_long = ModelFailed("too long", "prompt is too long")
    play(
        new_turn(),
        (too_long, Step(AskModel(shrink=1))),
        (too_long, Step(AskModel(shrink=2))),
        (too_long, Step(Finish("failed", "prompt is too long"), Say(0, TOO_LONG))),
    )


@pytest.mark.parametrize("event", [ModelFailed("refused", "r"), TimedOut(), Broken("r")])
def test_trouble_is_kept_from_groups(event: Event) -> None:
    step = new_turn(direct=False).handle(event)
    assert step.say is None
    assert isinstance(step.next, Finish)
    assert step.next.outcome == "failed"


def test_a_turn_that_takes_too_long_says_so() -> None:
    said = "⚠️ This took longer than 600 seconds and was stopped. Please try again, perhaps in smaller steps."
    play(new_turn(), (TimedOut(), Step(Finish("failed", "the turn timed out"), Say(0, said))))


def test_a_cancelled_turn_says_nothing() -> None:
    play(new_turn(), (Cancelled(), Step(Finish("cancelled"))))


def test_our_own_failure_is_a_short_apology() -> None:
    play(new_turn(), (Broken("KeyError"), Step(Finish("failed", "KeyError"), Say(0, GENERIC))))


def test_an_endless_tool_loop_ends_with_a_clear_text() -> None:
    turn = new_turn(max_rounds=2)
    note = "⚠️ I stopped after 2 steps without finishing. Tell me to go on if I should."
    play(
        turn,
        (answer("", READ), Step(RunTool(READ))),
        (ToolEnded(READ, "x"), Step(AskModel())),
        (answer("more", READ), Step(Finish("failed", "stopped after 2 model rounds"), Say(0, f"more\n\n{note}"))),
    )
    assert repr(turn) == "Turn(round 2, 1 said, 0 calls waiting)"


def test_the_same_events_lead_a_new_turn_to_the_same_place() -> None:
    events: list[Event] = [answer("a", READ, EXEC), ToolEnded(READ, "x"), ToolEnded(EXEC, "y"), answer("b")]
    first, second = new_turn(), new_turn()
    assert [first.handle(event) for event in events] == [second.handle(event) for event in events]
