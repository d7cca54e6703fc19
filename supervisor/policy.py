"""When a child is started, given up, killed and started again: `step(child, event, now) -> (child, actions)`.

Rule 1: every decision about the life of a child is made here. Rule 2: nothing here knows what kind of child it is,
how one is started, or what time it is; kinds differ by their `Settings` only.

Theory of operation. A child that nobody wants is STOPPED. When it is wanted it is SPAWNING until there is a process,
STARTING until that process says that it is ready, READY until it has been so for `stable_after` seconds, and then
STABLE. Started, ready and stable are three facts; only the third one forgives earlier crashes.

An end that nobody asked for is a crash. It is followed by BACKOFF: a pause so short at first that one crash is hardly
felt, doubled with each crash up to `max_pause`. Too many crashes within `window` without becoming stable and the child
is QUARANTINED: for `quarantine` seconds, doubled each time up to `max_quarantine`, with the reason kept; nobody else is
affected. Exit code 78 (EX_CONFIG, sysexits.h) means that trying again cannot help: quarantined until Renew says that
the configuration has changed.

A child that is alive but useless (silent, breaking the protocol, not ready in time) is FAILING: it is asked for its
stacks where that can tell something, killed with its whole process group, and its end counts as a crash.

A child that is wanted no more is DRAINING (finishes what it does, `drain_for`), then STOPPING (SIGTERM, `stop_for`),
then killed. When it is wanted again meanwhile, `again` is remembered and it is started anew once it has ended: there
are never two processes for one child.

`wake_at` is when Tick must come next; every state that may not last for ever has one, so nothing hangs.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Literal

import msgspec
from msgspec.structs import replace

#: "The configuration is wrong, do not try again" (EX_CONFIG, sysexits.h).
EX_CONFIG = 78


class State(Enum):
    STOPPED = "stopped"
    SPAWNING = "spawning"
    STARTING = "starting"
    READY = "ready"
    STABLE = "stable"
    FAILING = "failing"
    BACKOFF = "backoff"
    QUARANTINED = "quarantined"
    DRAINING = "draining"
    STOPPING = "stopping"


#: A process exists (or may exist already, for SPAWNING).
ALIVE = frozenset({State.STARTING, State.READY, State.STABLE, State.FAILING, State.DRAINING, State.STOPPING})
#: It does its work.
SERVING = frozenset({State.READY, State.STABLE})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of child is treated. Times in seconds.

    `rests` tells what a clean end of a wanted child means: it rests until it is wanted again, or is replaced at once.
    """

    ready_within: float = 30.0
    stable_after: float = 5.0
    drain_for: float = 30.0
    stop_for: float = 5.0
    dump_for: float = 1.0
    first_pause: float = 0.1
    max_pause: float = 30.0
    crashes: int = 5
    window: float = 60.0
    quarantine: float = 60.0
    max_quarantine: float = 900.0
    rests: bool = False


class ChildState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the policy knows of one child. Times are on the caller's clock, `inf` for "never".

    `failures` are the times of crashes in the window, `restarts` counts starts after the first one.
    """

    settings: Settings = Settings()
    state: State = State.STOPPED
    wake_at: float = inf
    started_at: float = -inf
    ready_at: float = -inf
    failures: tuple[float, ...] = ()
    pause: float = 0.0
    quarantines: int = 0
    starts: int = 0
    reason: str = ""
    killed: bool = False
    again: bool = False

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. `max_rss` in bytes, 0 when unknown; `oom` when the kernel is known to have run out."""

    code: int = 0
    signal: int = 0
    oom: bool = False
    max_rss: int = 0

    def __str__(self) -> str:
        if not self.signal:
            return f"exited with code {self.code}"
        try:
            name = signal.Signals(self.signal).name
        except ValueError:
            name = f"signal {self.signal}"
        return f"killed by {name}" + (" (out of memory)" if self.oom else "")


# --- events ------------------------------------------------------------------------------------------------------


class _Event(msgspec.Struct, frozen=True):
    pass


class Want(_Event, frozen=True):
    """Somebody needs it to run."""


class Unwant(_Event, frozen=True):
    """Nobody needs it: finish what runs, then end."""


class StopNow(_Event, frozen=True):
    """End at once, whatever runs."""


class Renew(_Event, frozen=True):
    """Its configuration has changed: what it did before says nothing any more."""


class Started(_Event, frozen=True):
    """There is a process."""


class SpawnFailed(_Event, frozen=True):
    """There is none, with the reason. `jitter` from 0 to 1."""

    reason: str
    jitter: float = 0.0


class ReadySaid(_Event, frozen=True):
    """The child says that it can work."""


class Tick(_Event, frozen=True):
    """`wake_at` has come (or not yet: early ticks do nothing)."""


class Exited(_Event, frozen=True):
    """The process is gone. `jitter` from 0 to 1 stretches the pause, so that many do not return at the same moment."""

    exit: Exit
    jitter: float = 0.0


class Silent(_Event, frozen=True):
    """It lives but does not answer."""


class Misbehaved(_Event, frozen=True):
    """It broke the protocol."""

    reason: str


Event = (
    Want | Unwant | StopNow | Renew | Started | SpawnFailed | ReadySaid | Tick | Exited | Silent | Misbehaved
)
EVENTS: tuple[type[Event], ...] = (
    Want, Unwant, StopNow, Renew, Started, SpawnFailed, ReadySaid, Tick, Exited, Silent, Misbehaved
)  # fmt: skip


# --- actions -----------------------------------------------------------------------------------------------------


class _Action(msgspec.Struct, frozen=True):
    pass


class Spawn(_Action, frozen=True):
    """Start a process; answered by Started or SpawnFailed."""


class AskDrain(_Action, frozen=True):
    """Tell it in its own language to finish and exit."""


class SendTerm(_Action, frozen=True):
    """SIGTERM."""


class Kill(_Action, frozen=True):
    """SIGKILL to its whole process group."""


class DumpStacks(_Action, frozen=True):
    """Make it write the stacks of its threads into its log."""


class Report(_Action, frozen=True):
    """A line for the operator; it says what happens next."""

    level: Literal["debug", "info", "warn", "error"]
    text: str


Action = Spawn | AskDrain | SendTerm | Kill | DumpStacks | Report
Step = tuple[ChildState, tuple[Action, ...]]


def step(child: ChildState, event: Event, now: float) -> Step:
    """The next state of the child and what is to be done, in that order."""
    return TABLE[child.state][EVENTS.index(type(event))](child, event, now)


# --- what the cells of the table do ------------------------------------------------------------------------------


def _same(child: ChildState, event: Event, now: float) -> Step:
    """Nothing new, or news that came too late to matter."""
    return child, ()


def _never(child: ChildState, event: Event, now: float) -> Step:
    """Our own mistake. Nothing is guessed; it is said."""
    return child, (Report("error", f"{type(event).__name__} makes no sense while {child.state.value}"),)


def _spawn(child: ChildState, event: Event, now: float) -> Step:
    child = replace(child, state=State.SPAWNING, wake_at=inf, killed=False, again=False, starts=child.starts + 1)
    return child, (Spawn(),)


def _started(child: ChildState, event: Event, now: float) -> Step:
    wake_at = now + child.settings.ready_within
    return replace(child, state=State.STARTING, started_at=now, ready_at=-inf, wake_at=wake_at), ()


def _started_too_late(child: ChildState, event: Event, now: float) -> Step:
    """It was given up while it was being made."""
    child = replace(child, started_at=now, wake_at=now + child.settings.stop_for)
    return child, (Kill() if child.killed else SendTerm(),)


def _ready(child: ChildState, event: Event, now: float) -> Step:
    child = replace(child, state=State.READY, ready_at=now, reason="", wake_at=now + child.settings.stable_after)
    return child, (Report("debug", f"ready after {now - child.started_at:.2f} s"),)


def _stable(child: ChildState, event: Event, now: float) -> Step:
    if now < child.wake_at:
        return child, ()
    return replace(child, state=State.STABLE, wake_at=inf, failures=(), pause=0.0, quarantines=0), ()


def _late(child: ChildState, event: Event, now: float) -> Step:
    if now < child.wake_at:
        return child, ()
    return _dump(child, f"not ready within {child.settings.ready_within:g} s", now)


def _silent(child: ChildState, event: Event, now: float) -> Step:
    return _dump(child, "does not answer", now)


def _dump(child: ChildState, reason: str, now: float) -> Step:
    child = replace(child, state=State.FAILING, reason=reason, wake_at=now + child.settings.dump_for)
    return child, (Report("warn", f"{reason}; its stacks follow, then it is killed"), DumpStacks())


def _misbehaved(child: ChildState, event: Event, now: float) -> Step:
    assert isinstance(event, Misbehaved)
    child = replace(child, state=State.FAILING, reason=event.reason)
    return _kill(child, Report("warn", f"{event.reason}; it is killed"), now)


def _kill(child: ChildState, report: Report | None, now: float) -> Step:
    child = replace(child, killed=True, wake_at=now + child.settings.stop_for)
    return child, (report, Kill()) if report else (Kill(),)


def _kill_when_due(child: ChildState, event: Event, now: float) -> Step:
    """Also again and again: a process in an uninterruptible wait dies late."""
    if now < child.wake_at:
        return child, ()
    report = Report("warn", "did not stop in time; it is killed") if child.state is State.STOPPING else None
    return _kill(child, None if child.killed else report, now)


def _kill_now(child: ChildState, event: Event, now: float) -> Step:
    return _kill(replace(child, state=State.STOPPING, again=False), None, now)


def _kill_unborn(child: ChildState, event: Event, now: float) -> Step:
    return replace(child, state=State.STOPPING, wake_at=inf, again=False), ()


def _drain(child: ChildState, event: Event, now: float) -> Step:
    return replace(child, state=State.DRAINING, wake_at=now + child.settings.drain_for), (AskDrain(),)


def _drained_too_long(child: ChildState, event: Event, now: float) -> Step:
    if now < child.wake_at:
        return child, ()
    child = replace(child, state=State.STOPPING, wake_at=now + child.settings.stop_for)
    return child, (Report("warn", f"still busy after {child.settings.drain_for:g} s; it is stopped"), SendTerm())


def _term(child: ChildState, event: Event, now: float) -> Step:
    """Not ready yet, so there is nothing to drain."""
    return replace(child, state=State.STOPPING, wake_at=now + child.settings.stop_for), (SendTerm(),)


def _forget(child: ChildState, event: Event, now: float) -> Step:
    """Nobody wants it while it pauses: no process, nothing to do."""
    return replace(child, state=State.STOPPED, wake_at=inf), ()


def _give_up_killing(child: ChildState, event: Event, now: float) -> Step:
    """Its end, which is coming, is no crash any more."""
    return _kill(replace(child, state=State.STOPPING), None, now)


def _recall(child: ChildState, event: Event, now: float) -> Step:
    return replace(child, again=True), ()


def _dismiss(child: ChildState, event: Event, now: float) -> Step:
    return replace(child, again=False), ()


def _renew(child: ChildState, event: Event, now: float) -> Step:
    return replace(child, failures=(), pause=0.0, quarantines=0), ()


def _retry(child: ChildState, event: Event, now: float) -> Step:
    return _spawn(_renew(child, event, now)[0], event, now)


def _due(child: ChildState, event: Event, now: float) -> Step:
    return _spawn(child, event, now) if now >= child.wake_at else (child, ())


def _ended_as_asked(child: ChildState, event: Event, now: float) -> Step:
    if child.again:
        return _spawn(child, event, now)
    return replace(child, state=State.STOPPED, wake_at=inf, reason=""), (Report("debug", "stopped"),)


def _ended(child: ChildState, event: Event, now: float) -> Step:
    """Nobody asked for this end. Only one after stable work, with code 0, is an ordinary one."""
    assert isinstance(event, Exited)
    clean = event.exit.code == 0 and not event.exit.signal and child.state in SERVING
    if clean and child.settings.rests and child.state is State.STABLE:
        return replace(child, state=State.STOPPED, wake_at=inf), (Report("debug", "rests"),)
    if clean and child.state is State.STABLE:
        return _spawn(child, event, now)
    if event.exit.code == EX_CONFIG and not event.exit.signal:
        return _quarantine(child, f"{event.exit}: its configuration is wrong", inf, now)
    return _crashed(child, _why(child, event.exit), event.jitter, now)


def _why(child: ChildState, exit: Exit) -> str:
    if child.state is State.FAILING:
        return child.reason
    return f"{exit} before it was ready" if child.state is State.STARTING else str(exit)


def _spawn_failed(child: ChildState, event: Event, now: float) -> Step:
    assert isinstance(event, SpawnFailed)
    return _crashed(child, event.reason, event.jitter, now)


def _crashed(child: ChildState, reason: str, jitter: float, now: float) -> Step:
    settings = child.settings
    failures = (*(at for at in child.failures if at > now - settings.window), now)
    child = replace(child, failures=failures)
    if len(failures) >= settings.crashes:
        rest = min(settings.quarantine * 2**child.quarantines, settings.max_quarantine)
        return _quarantine(child, f"{len(failures)} crashes in {settings.window:g} s, the last: {reason}", rest, now)
    pause = min(child.pause * 2 or settings.first_pause, settings.max_pause)
    wait = min(pause * (1 + jitter / 4), settings.max_pause)
    child = replace(child, state=State.BACKOFF, pause=pause, reason=reason, wake_at=now + wait)
    text = f"{reason}; crash {len(failures)} of {settings.crashes}, restart in {wait:.1f} s"
    return child, (Report("warn", text),)


def _quarantine(child: ChildState, reason: str, rest: float, now: float) -> Step:
    times = min(child.quarantines + 1, 30)
    child = replace(
        child, state=State.QUARANTINED, reason=reason, wake_at=now + rest, failures=(), pause=0.0, quarantines=times
    )
    end = "until its configuration changes" if rest == inf else f"for {rest:g} s"
    return child, (Report("error", f"{reason}; quarantined {end}"),)


Cell = Callable[[ChildState, Event, float], Step]

#: States × EVENTS. Read a row as: what this state does when …
#   Want       Unwant           StopNow       Renew    Started            SpawnFailed
#   ReadySaid  Tick             Exited        Silent   Misbehaved
TABLE: dict[State, tuple[Cell, ...]] = {
    State.STOPPED: (
        _spawn, _same, _same, _renew, _never, _never,
        _same, _same, _never, _same, _same),
    State.SPAWNING: (
        _same, _kill_unborn, _kill_unborn, _renew, _started, _spawn_failed,
        _same, _same, _never, _same, _same),
    State.STARTING: (
        _same, _term, _kill_now, _renew, _never, _never,
        _ready, _late, _ended, _silent, _misbehaved),
    State.READY: (
        _same, _drain, _kill_now, _renew, _never, _never,
        _same, _stable, _ended, _silent, _misbehaved),
    State.STABLE: (
        _same, _drain, _kill_now, _renew, _never, _never,
        _same, _same, _ended, _silent, _misbehaved),
    State.FAILING: (
        _same, _give_up_killing, _kill_now, _renew, _never, _never,
        _same, _kill_when_due, _ended, _same, _misbehaved),
    State.BACKOFF: (
        _same, _forget, _forget, _retry, _never, _never,
        _same, _due, _never, _same, _same),
    State.QUARANTINED: (
        _same, _forget, _forget, _retry, _never, _never,
        _same, _due, _never, _same, _same),
    State.DRAINING: (
        _recall, _dismiss, _kill_now, _renew, _never, _never,
        _same, _drained_too_long, _ended_as_asked, _give_up_killing, _give_up_killing),
    State.STOPPING: (
        _recall, _dismiss, _kill_now, _renew, _started_too_late, _ended_as_asked,
        _same, _kill_when_due, _ended_as_asked, _same, _same),
}  # fmt: skip
