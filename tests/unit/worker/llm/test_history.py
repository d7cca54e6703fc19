"""Whatever a crash left of a conversation, what goes to a vendor is acceptable to it."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.model_rules import judge_anthropic, judge_openai
from worker.llm.anthropic import AnthropicCodec
from worker.llm.base import AssistantTurn, Request, ToolCall, ToolSpec, ToolTurn, Turn, UserTurn
from worker.llm.history import EMPTY_MESSAGE, LOST_RESULT, tidy
from worker.llm.openai import OpenAICodec

TOOL = ToolSpec("exec", "Run it.", {"type": "object", "properties": {}})


def call(name: str = "a") -> ToolCall:
    return ToolCall(name, "exec", {"command": "ls"})


def test_a_sound_conversation_stays_as_it_is() -> None:
    turns: list[Turn] = [UserTurn("hi"), AssistantTurn("", (call(),)), ToolTurn("a", "exec", "x")]
    assert tidy(turns) == turns


def test_a_call_without_a_result_is_told_as_interrupted() -> None:
    tidied = tidy(
        [UserTurn("hi"), AssistantTurn("", (call("a"), call("b"))), ToolTurn("b", "exec", "x"), UserTurn("?")]
    )
    assert tidied[2:] == [
        ToolTurn("a", "exec", LOST_RESULT, is_error=True),
        ToolTurn("b", "exec", "x"),
        UserTurn("?"),
    ]


def test_a_result_whose_call_is_gone_is_kept_as_text() -> None:
    assert tidy([ToolTurn("a", "exec", "42"), UserTurn("so?")]) == [UserTurn("[late result of exec]\n42\n\nso?")]


def test_an_id_used_twice_is_renamed_together_with_its_result() -> None:
    turn = AssistantTurn("", (call("same"),))
    tidied = tidy([UserTurn("1"), turn, ToolTurn("same", "exec", "x"), turn, ToolTurn("same", "exec", "y")])
    assert [one.call_id for one in tidied if isinstance(one, ToolTurn)] == ["same", "same_2"]


def test_odd_characters_in_an_id_are_replaced() -> None:
    tidied = tidy([UserTurn("1"), AssistantTurn("", (call("a.b:c"),)), ToolTurn("a.b:c", "exec", "x")])
    assert tidied[-1] == ToolTurn("a_b_c", "exec", "x")


def test_neighbours_are_merged_and_blank_turns_dropped() -> None:
    tidied = tidy([UserTurn("a"), UserTurn("  "), UserTurn("b"), AssistantTurn(" \n"), UserTurn("c")])
    assert tidied == [UserTurn("a\n\nb\n\nc")]


def test_nothing_at_all_is_still_a_question() -> None:
    assert tidy([UserTurn("")]) == [UserTurn(EMPTY_MESSAGE)]


def test_the_assistant_is_neither_first_nor_last() -> None:
    tidied = tidy([AssistantTurn("as I said"), UserTurn("and?"), AssistantTurn("well")])
    assert isinstance(tidied[0], UserTurn) and isinstance(tidied[-1], UserTurn)


texts = st.sampled_from(["", " ", "hello", "\ud800", "x" * 50])
ids = st.sampled_from(["a", "b", "c", "", "a:b"])
calls = st.builds(ToolCall, ids, st.just("exec"), st.sampled_from([None, {}, {"x": 1}]), texts)
turns = st.lists(
    st.one_of(
        st.builds(UserTurn, texts),
        st.builds(AssistantTurn, texts, st.lists(calls, max_size=3).map(tuple)),
        st.builds(ToolTurn, ids, st.just("exec"), texts, st.booleans()),
    ),
    max_size=12,
)


@given(turns, st.booleans())
def test_any_conversation_becomes_a_request_both_vendors_take(history: list[Turn], offer_tools: bool) -> None:
    request = Request("m", "", tuple(history), (TOOL,) if offer_tools else ())
    assert judge_anthropic(msgspec.json.decode(AnthropicCodec().build(request, "anthropic"))) == ""
    assert judge_openai(msgspec.json.decode(OpenAICodec().build(request, "openai"))) == ""
