"""A turn knows what was asked, what was said, and what people saw of it."""

from __future__ import annotations

from worker.llm.base import AssistantTurn, ToolCall, ToolTurn
from worker.sessions.entries import AnswerLine, Ended, Mark, NoteLine, ResultLine, Said, UserLine
from worker.sessions.record import Record, label

CALL = ToolCall("c", "exec", {"command": "ls\n-la"})


def test_a_whole_turn_is_shown_as_people_saw_it() -> None:
    record = Record(UserLine("hi", 1.0, Mark("m", sender="Anna", channel="irc")))
    record.add(AnswerLine(AssistantTurn("look", (CALL,)), 2.0, Mark("m", Said(0), "c")))
    assert record.started == "c"
    record.add(ResultLine(ToolTurn("c", "exec", "out"), 3.0, Mark("m")))
    assert record.started == ""
    record.add(NoteLine(4.0, Mark("m", Said(1, "sorry"), done=Ended("failed", "x"))))
    assert record.says == [(0, "look"), (1, "sorry")]
    assert [(one.role, one.text) for one in record.shown] == [
        ("user", "hi"),
        ("assistant", "look"),
        ("tool", "exec: ls -la"),
        ("assistant", "sorry"),
    ]
    assert (record.shown[0].sender, record.shown[0].channel, record.shown[1].sender) == ("Anna", "irc", "")
    assert repr(record) == "Record('m', 2 items, 2 said, failed)"


def test_a_silent_answer_is_not_shown_and_a_foreign_one_is() -> None:
    record = Record(UserLine("hi", 1.0, Mark("m")))
    record.add(AnswerLine(AssistantTurn("NO_REPLY"), 2.0, Mark("m", done=Ended("silent"))))
    assert len(record.shown) == 1
    foreign = Record(UserLine("hi", 1.0))
    foreign.add(AnswerLine(AssistantTurn("hello"), 2.0))
    assert foreign.shown[1].text == "hello"


def test_labels_are_short() -> None:
    assert label(ToolCall("c", "read", None, "{")) == "read"
    assert len(label(ToolCall("c", "exec", {"command": "x" * 500}))) == 120
