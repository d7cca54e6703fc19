"""The built-in model for a gateway without any model: it answers, says that it is offline and what to type. Pure.

It follows a few typed commands by asking for tools, so that a newcomer sees a tool run before there is any key. All
of it is a function of the request, so a turn redone after a crash says the same.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from worker.llm.base import (
    AssistantTurn,
    Finished,
    ModelEvent,
    Request,
    TextDelta,
    ToolCall,
    ToolSpec,
    ToolTurn,
    Usage,
    UserTurn,
)
from worker.prompt import without_info

#: Longest piece of a person's text or of a tool's result that is repeated.
MAX_ECHO = 500
MAX_RESULT = 3000


class _Wish(msgspec.Struct, frozen=True):
    """A command understood as a tool to call."""

    tool: str
    arguments: dict[str, Any]


class _Problem(msgspec.Struct, frozen=True):
    """A command that cannot be followed, and why."""

    text: str


class OfflineModel:
    """`base.Model` that needs nothing. `reason` and `hints` are those of the route that led here."""

    def __init__(self, reason: str = "", hints: tuple[str, ...] = ()) -> None:
        self._reason = reason
        self._hints = hints

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """Never raises; the text comes line by line so that streaming can be seen."""
        turn = answer(request, self._reason, self._hints)
        for line in turn.text.splitlines(keepends=True):
            yield TextDelta(line)
        yield Finished(turn, "tools" if turn.calls else "end", Usage())


def answer(request: Request, reason: str, hints: tuple[str, ...]) -> AssistantTurn:
    """What the offline model says to this conversation."""
    last = request.turns[-1] if request.turns else UserTurn("")
    if isinstance(last, ToolTurn):
        return AssistantTurn(_report(last))
    # A message with a line of context comes from a group: what to type is not for everybody there.
    text = without_info(last.text).strip()
    wish = _understand(text, request.tools)
    if wish is None:
        return AssistantTurn(_small_talk(text, reason, hints if text == last.text.strip() else ()))
    if isinstance(wish, _Problem):
        return AssistantTurn(wish.text)
    if wish.tool not in {tool.name for tool in request.tools}:
        return AssistantTurn(f"The tool {wish.tool} is not allowed for this agent. Type /tools to see which are.")
    call = ToolCall(f"offline_{len(request.turns)}", wish.tool, wish.arguments)
    return AssistantTurn("", (call,))


def _understand(text: str, tools: tuple[ToolSpec, ...]) -> _Wish | _Problem | None:
    name, _, rest = text.partition(" ")
    if name in ("/tools", "/help"):
        return _Problem(_help() if name == "/help" else _list_tools(tools))
    follow = _COMMANDS.get(name)
    return follow(rest.strip()) if follow else None


def _run(rest: str) -> _Wish | _Problem:
    return _Wish("exec", {"command": rest}) if rest else _Problem("Type a command after it: /run uname -a")


def _read(rest: str) -> _Wish | _Problem:
    return _Wish("read", {"path": rest}) if rest else _Problem("Type a file after it: /read AGENTS.md")


def _write(rest: str) -> _Wish | _Problem:
    path, _, content = rest.partition(" ")
    if not path or not content:
        return _Problem("Type a file and a text after it: /write notes.txt buy milk")
    return _Wish("write", {"path": path, "content": content + "\n"})


def _ls(rest: str) -> _Wish:
    return _Wish("exec", {"command": f"ls -la -- {shlex.quote(rest or '.')}"})


_COMMANDS: dict[str, Callable[[str], _Wish | _Problem]] = {
    "/run": _run,
    "/read": _read,
    "/write": _write,
    "/ls": _ls,
}


def _help() -> str:
    return (
        "I am the built-in offline model. I follow these commands:\n"
        "/tools lists the tools this agent may use\n"
        "/run <command> runs a shell command\n"
        "/ls [folder] lists a folder\n"
        "/read <file> shows a file\n"
        "/write <file> <text> writes a file"
    )


def _list_tools(tools: tuple[ToolSpec, ...]) -> str:
    if not tools:
        return "This agent may not use any tool."
    lines = (f"{tool.name}: {_first_sentence(tool.description)}" for tool in tools)
    return "This agent may use these tools:\n" + "\n".join(lines)


def _first_sentence(text: str) -> str:
    return _cut(" ".join(text.split()).partition(". ")[0], 120)


def _report(result: ToolTurn) -> str:
    text = result.text.strip() or "(no output)"
    # A fence longer than any in the result keeps the result from ending it.
    fence = "```"
    while fence in text:
        fence += "`"
    head = f"The tool {result.name} failed:" if result.is_error else f"The tool {result.name} answered:"
    return f"{head}\n{fence}\n{_cut(text, MAX_RESULT)}\n{fence}"


def _small_talk(asked: str, reason: str, hints: tuple[str, ...]) -> str:
    said = _cut(" ".join(asked.split()), MAX_ECHO)
    lines = [f"You wrote: {said}" if said else "Hello.", ""]
    lines.append("I am offline: no model is connected, so this is all I can say to it.")
    if reason:
        lines.append(reason)
    if hints:
        lines += ["", "To connect a model, type one of these where the gateway runs:", "```sh", *hints, "```"]
    lines += ["", "Until then /tools lists my tools and /run <command> runs one; /help shows the rest."]
    return "\n".join(lines)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
