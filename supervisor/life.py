"""The words of a child's life: its states, what may happen to it, what may be done about it.

Plain values only; what follows from what is the table in `policy`.
"""

from __future__ import annotations

import signal
from enum import Enum
from math import inf
from typing import Literal

import msgspec

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

    `failures` are the times of crashes in the window, `restarts` counts starts after the first one. `barred`: its end
    puts it into quarantine.
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
    barred: bool = False

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


class Barred(_Event, frozen=True):
    """It harms others, and must not run before `hold` seconds from now. Said again as long as it holds."""

    reason: str
    hold: float = 30.0


Event = (
    Want | Unwant | StopNow | Renew | Started | SpawnFailed | ReadySaid | Tick | Exited | Silent | Misbehaved | Barred
)
EVENTS: tuple[type[Event], ...] = (
    Want, Unwant, StopNow, Renew, Started, SpawnFailed, ReadySaid, Tick, Exited, Silent, Misbehaved, Barred
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
