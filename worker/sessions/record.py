"""One turn as its lines tell it: from message to end. Pure."""

from __future__ import annotations

from protocol.messages import HistoryEntry
from worker.llm.base import AssistantTurn, ToolCall, ToolTurn
from worker.sessions.entries import AnswerLine, Ended, Line, Mark, NoteLine, ResultLine, UserLine
from worker.speech import spoken, visible

#: Characters of a tool call shown in a history.
_LABEL = 120


class Record:
    """A turn that began with one person's message. `items` are its events, `says` what went out, in order."""

    def __init__(self, line: UserLine) -> None:
        self.user = line
        self.items: list[AssistantTurn | ToolTurn] = []
        self.says: list[tuple[int, str]] = []
        self.done: Ended | None = None
        self.started = ""
        self.shown: list[HistoryEntry] = []
        self.size = len(line.text) + len(line.mark.context)
        if line.text:
            self._show("user", line.text, line.at)

    def __repr__(self) -> str:
        state = self.done.outcome if self.done else "open"
        return f"Record({self.inbound!r}, {len(self.items)} items, {len(self.says)} said, {state})"

    @property
    def inbound(self) -> str:
        return self.user.mark.inbound

    def add(self, line: Line) -> None:
        """Take in the next line of this turn."""
        match line:
            case AnswerLine(turn):
                self.items.append(turn)
                self.size += len(turn.text) + sum(len(str(call.arguments)) + len(call.raw) for call in turn.calls)
                self._show_answer(line)
            case ResultLine(turn):
                self.items.append(turn)
                self.size += len(turn.text)
            case UserLine() | NoteLine():
                pass
        self._take(line.mark, line)

    def _take(self, mark: Mark, line: Line) -> None:
        self.started = mark.starts
        if mark.done is not None:
            self.done = mark.done
        if mark.say is not None:
            text = _said_text(line)
            self.says.append((mark.say.seq, text))
            if isinstance(line, NoteLine):
                self._show("assistant", text, line.at)

    def _show_answer(self, line: AnswerLine) -> None:
        # Answers of files that are not ours carry no mark; people saw their text all the same.
        text = visible(_said_text(line) if line.mark.say else "" if line.mark.inbound else line.turn.text)
        if text:
            self._show("assistant", text, line.at)
        for call in line.turn.calls:
            self._show("tool", label(call), line.at)

    def _show(self, role: str, text: str, at: float) -> None:
        mark = self.user.mark
        sender, channel = (mark.sender, mark.channel) if role == "user" else ("", "")
        entry = HistoryEntry(role=role, text=text, at=at, id=mark.inbound, sender=sender, channel=channel)  # type: ignore[arg-type]
        self.shown.append(entry)


def label(call: ToolCall) -> str:
    """A tool call in one short line for people, such as `exec: uname -a`."""
    first = next((str(value) for value in (call.arguments or {}).values()), "")
    text = " ".join(f"{call.name}: {first}".split()) if first else call.name
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def _said_text(line: Line) -> str:
    said = line.mark.say
    if said is None:
        return ""
    if said.text is None:
        return spoken(line.turn.text) if isinstance(line, AnswerLine) else ""
    return said.text
