"""Without any model the gateway answers, says so, says what to type, and can show a tool run."""

from __future__ import annotations

import pytest

from worker.llm.base import Finished, Request, TextDelta, ToolCall, ToolSpec, ToolTurn, Turn, UserTurn
from worker.llm.offline import OfflineModel, answer
from worker.prompt import shown_text

EXEC = ToolSpec("exec", "Run a shell command. It may take long.", {"type": "object"})
READ = ToolSpec("read", "Read a file", {"type": "object"})
WRITE = ToolSpec("write", "Write a file", {"type": "object"})
ALL = (EXEC, READ, WRITE)


def say(text: str, tools: tuple[ToolSpec, ...] = ALL) -> str:
    return answer(Request("", "", (UserTurn(text),), tools), "No API key", ("export X=1",)).text


def wish(text: str, tools: tuple[ToolSpec, ...] = ALL) -> ToolCall:
    (call,) = answer(Request("", "", (UserTurn(text),), tools), "", ()).calls
    return call


def test_small_talk_repeats_the_question_and_says_what_to_type() -> None:
    text = say("how are you?")
    for part in ("how are you?", "offline", "No API key", "```sh\nexport X=1\n```", "/tools"):
        assert part in text


@pytest.mark.parametrize(
    ("typed", "name", "arguments"),
    [
        ("/run echo hi | cat", "exec", {"command": "echo hi | cat"}),
        ("/ls", "exec", {"command": "ls -la -- ."}),
        ("/ls my dir; rm x", "exec", {"command": "ls -la -- 'my dir; rm x'"}),
        ("/read a b.txt", "read", {"path": "a b.txt"}),
        ("/write n.txt buy milk", "write", {"path": "n.txt", "content": "buy milk\n"}),
    ],
)
def test_a_typed_command_asks_for_the_tool(typed: str, name: str, arguments: dict[str, str]) -> None:
    call = wish(typed)
    assert (call.name, call.arguments) == (name, arguments)


def test_a_tool_that_is_not_offered_is_not_asked_for() -> None:
    assert "exec is not allowed" in say("/run ls", (READ,))


@pytest.mark.parametrize("typed", ["/run", "/read", "/write", "/write only-a-name"])
def test_a_command_without_its_argument_shows_an_example(typed: str) -> None:
    assert f"{typed.split()[0]} " in say(typed)


def test_tools_are_listed_with_one_sentence_each() -> None:
    assert "exec: Run a shell command" in say("/tools") and "long" not in say("/tools")
    assert "not use any tool" in say("/tools", ())


def test_the_result_is_shown_in_a_fence_that_it_cannot_close() -> None:
    turns: tuple[Turn, ...] = (UserTurn("/run x"), ToolTurn("offline_1", "exec", "```\nevil", is_error=True))
    text = answer(Request("", "", turns, ALL), "", ()).text
    assert "exec failed" in text and text.count("````") == 2


def test_an_unbounded_question_or_result_is_cut() -> None:
    assert len(say("x" * 100_000)) < 1500
    turns: tuple[Turn, ...] = (ToolTurn("a", "exec", "y" * 100_000),)
    assert len(answer(Request("", "", turns, ALL), "", ()).text) < 4000


async def test_the_stream_is_the_answer_in_pieces_and_the_same_each_time() -> None:
    request = Request("", "", (UserTurn("/run ls"),), ALL)
    model = OfflineModel("why", ("how",))
    first, again = [[event async for event in model.stream(request)] for _ in range(2)]
    assert first == again and isinstance(first[-1], Finished) and first[-1].stop == "tools"
    talk = [event async for event in model.stream(Request("", "", (UserTurn("hi"),), ()))]
    assert isinstance(talk[-1], Finished)
    assert "".join(event.text for event in talk if isinstance(event, TextDelta)) == talk[-1].turn.text


def test_in_a_group_a_command_is_found_and_nobody_is_told_where_keys_lie() -> None:
    """A group message has a line of context before its text, which only the model is to see."""
    told = shown_text('{"sender":{"name":"Ann"}}', "how are you?")
    text = say(told)
    assert "how are you?" in text and "offline" in text
    assert "export X=1" not in text and "Ann" not in text
    assert wish(shown_text('{"sender":{"name":"Ann"}}', "/run date")).arguments == {"command": "date"}
