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
stacks where that can tell something, killed with its whole process group, and its end counts as a crash. One that harms
others (Barred) is killed likewise and QUARANTINED at once, and longer as long as Barred is said again.

A child that is wanted no more is DRAINING (finishes what it does, `drain_for`), then STOPPING (SIGTERM, `stop_for`),
then killed. When it is wanted again meanwhile, `again` is remembered and it is started anew once it has ended: there
are never two processes for one child.

`wake_at` is when Tick must come next; every state that may not last for ever has one, so nothing hangs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from msgspec.structs import replace

from supervisor.life import (
    EVENTS,
    EX_CONFIG,
    SERVING,
    Action,
    AskDrain,
    Barred,
    ChildState,
    DumpStacks,
    Event,
    Exit,
    Exited,
    Kill,
    Misbehaved,
    Report,
    SendTerm,
    Spawn,
    SpawnFailed,
    State,
)

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
    child = replace(child, state=State.SPAWNING, wake_at=inf, killed=False, again=False, barred=False)
    child = replace(child, starts=child.starts + 1)
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


def _barred(child: ChildState, event: Event, now: float) -> Step:
    assert isinstance(event, Barred)
    child = replace(child, state=State.FAILING, reason=event.reason, barred=True)
    return _kill(child, Report("warn", f"{event.reason}; it is killed"), now)


def _barred_dying(child: ChildState, event: Event, now: float) -> Step:
    """It is being killed already; when to do that again stays as it was."""
    assert isinstance(event, Barred)
    return replace(child, reason=event.reason, barred=True), ()


def _barred_resting(child: ChildState, event: Event, now: float) -> Step:
    assert isinstance(event, Barred)
    return _quarantine(child, event.reason, max(child.settings.quarantine, event.hold), now)


def _held(child: ChildState, event: Event, now: float) -> Step:
    assert isinstance(event, Barred)
    if child.wake_at == inf:
        return child, ()
    return replace(child, reason=event.reason, wake_at=max(child.wake_at, now + event.hold)), ()


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
    if child.barred:
        return _quarantine(child, child.reason, child.settings.quarantine, now)
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
#   ReadySaid  Tick             Exited        Silent   Misbehaved         Barred
TABLE: dict[State, tuple[Cell, ...]] = {
    State.STOPPED: (
        _spawn, _same, _same, _renew, _never, _never,
        _same, _same, _never, _same, _same, _same),
    State.SPAWNING: (
        _same, _kill_unborn, _kill_unborn, _renew, _started, _spawn_failed,
        _same, _same, _never, _same, _same, _same),
    State.STARTING: (
        _same, _term, _kill_now, _renew, _never, _never,
        _ready, _late, _ended, _silent, _misbehaved, _barred),
    State.READY: (
        _same, _drain, _kill_now, _renew, _never, _never,
        _same, _stable, _ended, _silent, _misbehaved, _barred),
    State.STABLE: (
        _same, _drain, _kill_now, _renew, _never, _never,
        _same, _same, _ended, _silent, _misbehaved, _barred),
    State.FAILING: (
        _same, _give_up_killing, _kill_now, _renew, _never, _never,
        _same, _kill_when_due, _ended, _same, _misbehaved, _barred_dying),
    State.BACKOFF: (
        _same, _forget, _forget, _retry, _never, _never,
        _same, _due, _never, _same, _same, _barred_resting),
    State.QUARANTINED: (
        _same, _forget, _forget, _retry, _never, _never,
        _same, _due, _never, _same, _same, _held),
    State.DRAINING: (
        _recall, _dismiss, _kill_now, _renew, _never, _never,
        _same, _drained_too_long, _ended_as_asked, _give_up_killing, _give_up_killing, _give_up_killing),
    State.STOPPING: (
        _recall, _dismiss, _kill_now, _renew, _started_too_late, _ended_as_asked,
        _same, _kill_when_due, _ended_as_asked, _same, _same, _same),
}  # fmt: skip
