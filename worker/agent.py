"""Performs what a turn commands: asks the model, runs tools, and writes every step down before it counts.

The order is always the same: an event comes back, the turn decides, both are one line on disk, then the outside hears
of it. So whatever was said is in the transcript, and a crash anywhere leads back to the same place (`Turn`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from protocol.envelope import Inbound
from protocol.messages import Grant
from protocol.slices import WorkerSlice
from worker import media, prompt
from worker.live import LiveText
from worker.llm.base import (
    ContextOverflow,
    Finished,
    Model,
    ModelBusy,
    ModelRefused,
    Request,
    TextDelta,
    ToolCall,
    ToolTurn,
    Usage,
)
from worker.sessions import context
from worker.sessions.entries import AnswerLine, Ended, Line, Mark, NoteLine, ResultLine, Said, UserLine
from worker.sessions.record import Record, label
from worker.sessions.transcript import Transcript
from worker.speech import spoken
from worker.tools.base import Context, failure
from worker.tools.registry import Toolbox
from worker.turn import (
    AskModel,
    Broken,
    Cancelled,
    Command,
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
from worker.workspace import Workspace

log = logging.getLogger(__name__)

#: The answer to /new and /reset without a text behind it (SPEC 4.8).
NEW_SESSION = "✅ New session started."

INTERRUPTED = "interrupted by a restart; outcome unknown"


class Voice(Protocol):
    """What a turn tells the outside; `partial` and `activity` may get lost."""

    def say(self, inbound: str, seq: int, text: str) -> None: ...

    def partial(self, inbound: str, seq: int, offset: int, text: str) -> None: ...

    def activity(self, inbound: str, doing: Literal["model", "tool"], label: str) -> None: ...


class Job:
    """One message on its way to an answer. `cancelled` is set before the task that runs it is cancelled."""

    def __init__(self, transcript: Transcript, record: Record, message: Inbound, grant: Grant | None = None) -> None:
        self.transcript = transcript
        self.record = record
        self.message = message
        self.context = Context(record.inbound, transcript.heading.key, grant or Grant())
        self.cancelled = False

    def __repr__(self) -> str:
        return f"Job({self.record!r}{', cancelled' if self.cancelled else ''})"


class Agent:
    """One agent's mind: model, tools, workspace."""

    def __init__(
        self, settings: WorkerSlice, setting: prompt.Setting, model: Model, tools: Toolbox, workspace: Workspace
    ) -> None:
        self._settings = settings
        self._setting = setting
        self._model = model
        self._tools = tools
        self._workspace = workspace
        self._outbox = media.Outbox(Path(settings.workspace))
        self._models = (settings.model, *settings.fallbacks)

    async def run(self, job: Job, voice: Voice) -> Ended:
        """Work the turn out, from wherever its lines in the transcript lead to. Never raises but when cancelled."""
        turn = self._turn(job)
        for seq, text in job.record.says:
            voice.say(job.record.inbound, seq, text)
        if job.cancelled:
            return self._last_words(job, turn, Cancelled(), voice)
        try:
            async with asyncio.timeout(self._settings.turn_timeout) as limit:
                return await self._drive(job, turn, voice)
        except TimeoutError:
            event: Event = TimedOut() if limit.expired() else Broken("a time limit was passed inside the turn")
        except asyncio.CancelledError:
            if not job.cancelled:
                raise
            event = Cancelled()
        except Exception as error:
            log.exception("turn %s broke; it ends with an apology", job.record.inbound)
            event = Broken(f"{type(error).__name__} in the worker, see its log")
        return self._last_words(job, turn, event, voice)

    async def _drive(self, job: Job, turn: Turn, voice: Voice) -> Ended:
        if problem := self._tools_of(job).problem:
            return self._last_words(job, turn, Broken(problem, f"⚠️ {problem}."), voice)
        if job.message.command and not job.message.text:
            return _acknowledge(job, voice)
        command = _replay(turn, job.record).next
        if isinstance(command, RunTool) and job.record.started == command.call.id:
            # It had begun before the crash: to run it again could do the same thing twice.
            command = self._go_on(job, turn, _failed_call(command.call, INTERRUPTED), Usage(), voice)
        while not isinstance(command, Finish):
            event, usage = await self._perform(command, job, turn, voice)
            command = self._go_on(job, turn, event, usage, voice)
        return Ended(command.outcome, command.error)

    def _go_on(self, job: Job, turn: Turn, event: Event, usage: Usage, voice: Voice) -> Command:
        step = self._with_files(turn.handle(event))
        self._write_down(job, event, step, usage)
        if step.say is not None:
            voice.say(job.record.inbound, step.say.seq, step.say.text)
        return step.next

    def _with_files(self, step: Step) -> Step:
        """What is said is settled before it is written down: an outbox may look different after a crash."""
        text = media.replaced(step.say.text, self._outbox.describe) if step.say else ""
        if step.say is None or text == step.say.text:
            return step
        return msgspec.structs.replace(step, say=Say(step.say.seq, text))

    def _last_words(self, job: Job, turn: Turn, event: Event, voice: Voice) -> Ended:
        step = turn.handle(event)
        assert isinstance(step.next, Finish)
        ended = Ended(step.next.outcome, step.next.error)
        if job.record.done is not None:
            return job.record.done
        try:
            self._write_down(job, event, step, Usage())
        except OSError as error:
            # The disk refuses: the router's spool is then the only place that knows how this ended.
            ended = Ended("failed", f"{ended.error}; the transcript cannot be written: {error.strerror}".lstrip("; "))
        if step.say is not None:
            voice.say(job.record.inbound, step.say.seq, step.say.text)
        return ended

    def _tools_of(self, job: Job) -> Toolbox:
        """What the sender and the group of this message leave of the agent's tools."""
        return self._tools.granted(job.context.grant)

    def _turn(self, job: Job) -> Turn:
        return Turn(
            direct=prompt.is_direct(job.message),
            tools=self._tools_of(job).names,
            models=len(self._models),
            timeout=self._settings.turn_timeout,
        )

    # --- performing ----------------------------------------------------------------------------------------------

    async def _perform(self, command: Command, job: Job, turn: Turn, voice: Voice) -> tuple[Event, Usage]:
        match command:
            case AskModel():
                return await self._ask(command, job, turn, voice)
            case RefuseTool(call, reason):
                return _failed_call(call, reason), Usage()
            case RunTool(call):
                voice.activity(job.record.inbound, "tool", label(call))
                result = await self._tools_of(job).run(call, job.context)
                return ToolEnded(call, result.text, result.is_error), Usage()
            case Finish():
                raise AssertionError("a finished turn has nothing to perform")

    async def _ask(self, command: AskModel, job: Job, turn: Turn, voice: Voice) -> tuple[Event, Usage]:
        if command.pause:
            await asyncio.sleep(command.pause)
        voice.activity(job.record.inbound, "model", "")
        live = LiveText(lambda offset, text: voice.partial(job.record.inbound, turn.seq, offset, text))
        try:
            finished = await self._stream(self._request(command, job), live.add)
        except (ModelBusy, ModelRefused) as error:
            log.warning("turn %s: the model gave no answer: %s", job.record.inbound, error.reason)
            return _failure_of(error), Usage()
        finally:
            live.close()
        return ModelAnswered(finished.turn), finished.usage

    async def _stream(self, request: Request, on_text: Callable[[str], None]) -> Finished:
        stream = self._model.stream(request)
        async with aclosing(stream) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished):
                    return event
                if isinstance(event, TextDelta):
                    on_text(event.text)
        raise ModelBusy("the model's stream ended without an answer")

    def _request(self, command: AskModel, job: Job) -> Request:
        tools = self._tools_of(job).offered
        system = prompt.system_prompt(self._setting, tools, self._workspace.project_files(), job.message)
        limit = context.budget(self._settings.context_tokens, len(system), command.shrink)
        turns = context.conversation(job.transcript.until(job.record), limit, _show)
        return Request(self._models[command.model], system, turns, tools)

    # --- writing down --------------------------------------------------------------------------------------------

    def _write_down(self, job: Job, event: Event, step: Step, usage: Usage) -> None:
        """One line for what happened and for what follows from it. Raises OSError."""
        if isinstance(event, ModelFailed) and not isinstance(step.next, Finish):
            return
        job.transcript.add(_line(event, _mark(job.record.inbound, event, step), usage, time.time()))


def _acknowledge(job: Job, voice: Voice) -> Ended:
    """A bare command needs no model. Raises OSError."""
    ended = Ended("answered")
    mark = Mark(job.record.inbound, Said(0, NEW_SESSION), done=ended)
    job.transcript.add(NoteLine(time.time(), mark))
    voice.say(job.record.inbound, 0, NEW_SESSION)
    return ended


def _replay(turn: Turn, record: Record) -> Step:
    """Lead a new turn to where the lines of an old one end."""
    step = turn.start()
    for item in record.items:
        if isinstance(item, ToolTurn):
            step = turn.handle(ToolEnded(ToolCall(item.call_id, item.name, {}), item.text, item.is_error))
        else:
            step = turn.handle(ModelAnswered(item))
    return step


def _failed_call(call: ToolCall, reason: str) -> ToolEnded:
    return ToolEnded(call, failure(call.name, reason).text, is_error=True)


def _mark(inbound: str, event: Event, step: Step) -> Mark:
    said = None
    if step.say is not None:
        own = isinstance(event, ModelAnswered) and step.say.text == spoken(event.turn.text)
        said = Said(step.say.seq, None if own else step.say.text)
    starts = step.next.call.id if isinstance(step.next, RunTool) else ""
    done = Ended(step.next.outcome, step.next.error) if isinstance(step.next, Finish) else None
    return Mark(inbound, said, starts, done)


def _line(event: Event, mark: Mark, usage: Usage, at: float) -> Line:
    match event:
        case ModelAnswered(turn):
            return AnswerLine(turn, at, mark, usage)
        case ToolEnded(call, text, is_error):
            return ResultLine(ToolTurn(call.id, call.name, text, is_error), at, mark)
        case _:
            return NoteLine(at, mark)


def _failure_of(error: ModelBusy | ModelRefused) -> ModelFailed:
    if isinstance(error, ContextOverflow):
        return ModelFailed("too long", error.reason)
    if isinstance(error, ModelBusy):
        return ModelFailed("busy", error.reason, error.retry_after)
    return ModelFailed("refused", error.reason)


def _show(line: UserLine) -> str:
    return prompt.shown_text(line.mark.context, line.text)


def conversation_keep(settings: WorkerSlice) -> int:
    """Characters of conversation worth keeping in memory: what the model can be shown at most."""
    return settings.context_tokens * context.CHARS_PER_TOKEN
