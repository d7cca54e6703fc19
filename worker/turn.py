"""One answer being worked out: events in, commands out. Pure.

Theory. A turn asks the model, runs the tools it wants, one after the other in their order, shows it the results, and
so on until the model answers without wanting tools. Each event is answered by one `Step`: at most one text to be said
and exactly one thing to do next. The performer (`agent`) writes event and step to the transcript as one line before it
acts, so the lines of a turn *are* its events: after a crash the same events lead a new `Turn` to the same place.

Only what the model answered and what tools gave back are in the lines; a model's temporary failure is not, so a turn
that is resumed has its retries anew. Rules: SPEC 4.16, 5.3.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

from worker.llm.base import AssistantTurn, ToolCall
from worker.speech import is_silent, spoken

#: Questions to the model in one turn.
MAX_ROUNDS = 50
#: Pauses before asking again after a temporary failure, in seconds, and the longest a vendor may ask for instead.
RETRY_PAUSES = (1.0, 4.0)
LONGEST_PAUSE = 30.0
#: How often the conversation is cut in half after "too long".
MAX_SHRINK = 2

GENERIC = "⚠️ Something went wrong while processing your request. Please try again."
EMPTY = "⚠️ The model gave an empty answer. Please try again."
BUSY = "⚠️ The model is not available at the moment. Please try again in a few minutes."
REFUSED = "⚠️ The model provider refused this request. `openclaw logs` shows the operator why."
TOO_LONG = "⚠️ This conversation no longer fits into the model, even without its older part. Try a shorter message."


# --- events ------------------------------------------------------------------------------------------------------


class ModelAnswered(msgspec.Struct, frozen=True):
    """The model's whole answer."""

    turn: AssistantTurn


class ModelFailed(msgspec.Struct, frozen=True):
    """No answer: `busy` may pass by itself, `refused` does not, `too long` asks for a shorter conversation."""

    kind: Literal["busy", "refused", "too long"]
    reason: str
    retry_after: float | None = None


class ToolEnded(msgspec.Struct, frozen=True):
    """A tool call has its result."""

    call: ToolCall
    text: str
    is_error: bool = False


class TimedOut(msgspec.Struct, frozen=True):
    """The turn used up its time."""


class Cancelled(msgspec.Struct, frozen=True):
    """Somebody stopped the turn."""


class Broken(msgspec.Struct, frozen=True):
    """The worker itself failed; `reason` is for the operator, `text` for the person where there is more to say."""

    reason: str
    text: str = GENERIC


Event = ModelAnswered | ModelFailed | ToolEnded | TimedOut | Cancelled | Broken


# --- commands ----------------------------------------------------------------------------------------------------


class AskModel(msgspec.Struct, frozen=True):
    """After `pause` seconds, ask model number `model`, with the conversation halved `shrink` times."""

    model: int = 0
    pause: float = 0.0
    shrink: int = 0


class RunTool(msgspec.Struct, frozen=True):
    call: ToolCall


class RefuseTool(msgspec.Struct, frozen=True):
    """The call is not run; the model gets the reason as its result."""

    call: ToolCall
    reason: str


class Finish(msgspec.Struct, frozen=True):
    """The turn is over. `error` is for the operator."""

    outcome: Literal["answered", "silent", "failed", "cancelled"]
    error: str = ""


class Say(msgspec.Struct, frozen=True):
    """Tell the person this."""

    seq: int
    text: str


Command = AskModel | RunTool | RefuseTool | Finish


class Step(msgspec.Struct, frozen=True):
    """What an event leads to."""

    next: Command
    say: Say | None = None


class Turn:
    """The state of one turn. `direct` is false in groups, where trouble is kept from people (SPEC 4.16)."""

    def __init__(
        self,
        *,
        direct: bool,
        tools: frozenset[str],
        models: int = 1,
        timeout: int = 600,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self._direct = direct
        self._tools = tools
        self._models = models
        self._timeout = timeout
        self._max_rounds = max_rounds
        self._ask = AskModel()
        self._calls: deque[ToolCall] = deque()
        self._rounds = 0
        self._retries = 0
        self._seq = 0

    def __repr__(self) -> str:
        return f"Turn(round {self._rounds}, {self._seq} said, {len(self._calls)} calls waiting)"

    @property
    def seq(self) -> int:
        """The number the next text will have."""
        return self._seq

    def start(self) -> Step:
        return Step(self._ask)

    def handle(self, event: Event) -> Step:
        match event:
            case ModelAnswered(turn):
                return self._answered(turn)
            case ModelFailed():
                return self._failed(event)
            case ToolEnded():
                return Step(self._go_on())
            case TimedOut():
                minutes = f"⚠️ This took longer than {self._timeout} seconds and was stopped."
                return self._give_up("the turn timed out", f"{minutes} Please try again, perhaps in smaller steps.")
            case Cancelled():
                return Step(Finish("cancelled"))
            case Broken(reason, text):
                return self._give_up(reason, text)

    def _answered(self, turn: AssistantTurn) -> Step:
        self._rounds += 1
        self._retries = 0
        self._ask = AskModel(model=self._ask.model, shrink=self._ask.shrink)
        text = spoken(turn.text)
        if not turn.calls:
            return self._final(turn.text, text)
        if self._rounds >= self._max_rounds:
            return self._stop_looping(text)
        self._calls = deque(turn.calls)
        say = self._say(text)
        return Step(self._go_on(), say)

    def _final(self, raw: str, text: str) -> Step:
        if text:
            return Step(Finish("answered"), self._say(text))
        if self._seq:
            return Step(Finish("answered"))
        if is_silent(raw) or not self._direct:
            return Step(Finish("silent"))
        return self._give_up("the model gave an empty answer", EMPTY)

    def _stop_looping(self, text: str) -> Step:
        note = f"⚠️ I stopped after {self._max_rounds} steps without finishing. Tell me to go on if I should."
        if self._direct:
            text = f"{text}\n\n{note}" if text else note
        return Step(Finish("failed", f"stopped after {self._max_rounds} model rounds"), self._say(text))

    def _go_on(self) -> Command:
        if not self._calls:
            return self._ask
        call = self._calls.popleft()
        if call.name not in self._tools:
            offered = ", ".join(sorted(self._tools)) or "none"
            return RefuseTool(call, f"Tool {call.name} not found. Available tools: {offered}")
        if call.arguments is None:
            return RefuseTool(call, "The arguments are not a valid JSON object")
        return RunTool(call)

    def _failed(self, event: ModelFailed) -> Step:
        if event.kind == "too long" and self._ask.shrink < MAX_SHRINK:
            self._ask = AskModel(model=self._ask.model, shrink=self._ask.shrink + 1)
            return Step(self._ask)
        pause = event.retry_after
        if event.kind == "busy" and self._retries < len(RETRY_PAUSES) and (pause or 0) <= LONGEST_PAUSE:
            pause = RETRY_PAUSES[self._retries] if pause is None else pause
            self._retries += 1
            return Step(AskModel(model=self._ask.model, pause=pause, shrink=self._ask.shrink))
        if self._ask.model + 1 < self._models:
            self._ask = AskModel(model=self._ask.model + 1)
            self._retries = 0
            return Step(self._ask)
        return self._give_up(event.reason, _apology(event))

    def _give_up(self, reason: str, text: str) -> Step:
        return Step(Finish("failed", reason), self._say(text) if self._direct else None)

    def _say(self, text: str) -> Say | None:
        if not text:
            return None
        say = Say(self._seq, text)
        self._seq += 1
        return say


def _apology(event: ModelFailed) -> str:
    if event.kind == "too long":
        return TOO_LONG
    if event.kind == "refused":
        return REFUSED
    if event.retry_after is not None and event.retry_after > LONGEST_PAUSE:
        return f"⚠️ Rate-limited: ready in about {round(event.retry_after)} s. Please try again then."
    return BUSY
