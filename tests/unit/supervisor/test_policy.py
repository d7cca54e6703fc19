"""The life of a child as a table: every cell, the stories that matter, and what may never happen."""

from __future__ import annotations

import itertools
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from supervisor.life import (
    ALIVE,
    EVENTS,
    EX_CONFIG,
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
    ReadySaid,
    Renew,
    Report,
    SendTerm,
    Settings,
    Silent,
    Spawn,
    SpawnFailed,
    Started,
    State,
    StopNow,
    Tick,
    Unwant,
    Want,
)
from supervisor.policy import TABLE, step

CRASH = Exited(Exit(code=1))
SAMPLES: dict[type[Event], Event] = {
    Want: Want(),
    Unwant: Unwant(),
    StopNow: StopNow(),
    Renew: Renew(),
    Started: Started(),
    SpawnFailed: SpawnFailed("no room"),
    ReadySaid: ReadySaid(),
    Tick: Tick(),
    Exited: CRASH,
    Silent: Silent(),
    Misbehaved: Misbehaved("nonsense"),
    Barred: Barred("too much"),
}


def play(*events: Event | float, child: ChildState | None = None) -> tuple[ChildState, list[Action]]:
    """Feed events; a number moves the clock by so many seconds. Returns the last state and all that was done."""
    child, now, done = child or ChildState(), 1000.0, list[Action]()
    for event in events:
        if isinstance(event, float):
            now += event
            continue
        child, actions = step(child, event, now)
        done += [action for action in actions if not isinstance(action, Report)]
    return child, done


def reports(child: ChildState, event: Event, now: float = 1000.0) -> list[str]:
    return [action.text for action in step(child, event, now)[1] if isinstance(action, Report)]


def test_every_state_has_a_cell_for_every_event() -> None:
    assert set(TABLE) == set(State)
    assert {len(row) for row in TABLE.values()} == {len(EVENTS)}
    for state, event in itertools.product(State, SAMPLES.values()):
        child, actions = step(ChildState(state=state), event, 5.0)
        assert isinstance(child, ChildState) and isinstance(actions, tuple)


def test_an_impossible_event_changes_nothing_and_is_said() -> None:
    child = ChildState(state=State.READY)
    assert step(child, Started(), 1.0) == (child, (Report("error", "Started makes no sense while ready"),))


def test_started_ready_and_stable_are_three_facts() -> None:
    child, done = play(Want(), Started())
    assert (child.state, child.wake_at, done) == (State.STARTING, 1030.0, [Spawn()])
    child, _ = play(Want(), Started(), 2.0, ReadySaid())
    assert (child.state, child.started_at, child.ready_at) == (State.READY, 1000.0, 1002.0)
    assert play(Want(), Started(), ReadySaid(), 4.9, Tick())[0].state is State.READY
    assert play(Want(), Started(), ReadySaid(), 5.0, Tick())[0].state is State.STABLE


def test_ready_said_twice_is_harmless() -> None:
    once, _ = play(Want(), Started(), ReadySaid())
    assert play(Want(), Started(), ReadySaid(), 1.0, ReadySaid())[0] == once


def test_the_first_crash_is_hardly_felt_and_each_next_one_doubles_the_pause() -> None:
    child, pauses = ChildState(), []
    now = 0.0
    child, _ = step(child, Want(), now)
    for _ in range(4):
        child, _ = step(child, Started(), now)
        child, _ = step(child, CRASH, now)
        pauses.append(child.wake_at - now)
        now = child.wake_at
        child, actions = step(child, Tick(), now)
        assert actions == (Spawn(),)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8])


def test_jitter_stretches_the_pause_by_a_quarter_at_most() -> None:
    child, _ = play(Want(), Started(), ReadySaid(), Exited(Exit(code=1), jitter=1.0))
    assert child.wake_at == pytest.approx(1000.125)


def test_the_pause_has_a_cap() -> None:
    child = ChildState(state=State.READY, pause=29.0, settings=Settings(crashes=99))
    assert step(child, Exited(Exit(code=1), jitter=1.0), 0.0)[0].wake_at == 30.0


def crash_to_quarantine(child: ChildState, now: float) -> ChildState:
    while child.state is not State.QUARANTINED:
        child, _ = step(child, Started(), now)
        child, _ = step(child, CRASH, now)
        if child.state is State.BACKOFF:
            child, _ = step(child, Tick(), child.wake_at)
    return child


def test_five_crashes_without_becoming_stable_quarantine_it_for_a_time_that_doubles_up_to_a_cap() -> None:
    child, times, now = step(ChildState(), Want(), 0.0)[0], [], 0.0
    for _ in range(6):
        child = crash_to_quarantine(child, now)
        times.append(child.wake_at - now)
        now = child.wake_at
        child, actions = step(child, Tick(), now)
        assert actions == (Spawn(),)
    assert times == [60, 120, 240, 480, 900, 900]


def test_crashes_long_ago_do_not_count() -> None:
    child = ChildState(state=State.STARTING, failures=(1.0, 2.0, 3.0, 4.0))
    assert step(child, CRASH, 10.0)[0].state is State.QUARANTINED
    assert step(child, CRASH, 65.0)[0].state is State.BACKOFF


def test_becoming_stable_forgives_what_was_before() -> None:
    child = ChildState(state=State.READY, wake_at=5.0, failures=(1.0, 2.0), pause=3.0, quarantines=2)
    child, _ = step(child, Tick(), 5.0)
    assert (child.failures, child.pause, child.quarantines) == ((), 0.0, 0)


def test_exit_code_78_means_never_again_until_the_configuration_changes() -> None:
    child, _ = play(Want(), Started(), Exited(Exit(code=EX_CONFIG)))
    assert (child.state, child.wake_at) == (State.QUARANTINED, inf)
    assert play(10.0**9, Tick(), Want(), child=child) == (child, [])
    assert play(Renew(), child=child)[1] == [Spawn()]


def test_a_clean_end_after_stable_work_is_no_crash() -> None:
    stable = ChildState(state=State.STABLE)
    assert play(Exited(Exit()), child=stable)[1] == [Spawn()]
    resting = replace(stable, settings=Settings(rests=True))
    child, done = play(Exited(Exit()), child=resting)
    assert (child.state, done) == (State.STOPPED, [])
    assert play(Exited(Exit()), Want(), child=resting)[1] == [Spawn()]


@pytest.mark.parametrize("state", [State.STARTING, State.READY])
def test_a_clean_end_before_it_was_stable_counts_as_a_crash(state: State) -> None:
    child, done = play(Exited(Exit()), child=ChildState(state=state, settings=Settings(rests=True)))
    assert (child.state, done, len(child.failures)) == (State.BACKOFF, [], 1)


def test_a_child_that_never_says_ready_shows_its_stacks_and_is_killed() -> None:
    child, done = play(Want(), Started(), 30.0, Tick())
    assert (child.state, done) == (State.FAILING, [Spawn(), DumpStacks()])
    child, done = play(Want(), Started(), 30.0, Tick(), 1.0, Tick())
    assert done == [Spawn(), DumpStacks(), Kill()]
    child, _ = play(Want(), Started(), 30.0, Tick(), 1.0, Tick(), Exited(Exit(signal=9)))
    assert (child.state, child.reason) == (State.BACKOFF, "not ready within 30 s")


def test_a_silent_child_shows_its_stacks_and_is_killed_a_second_later() -> None:
    child, done = play(Silent(), 0.5, Tick(), child=ChildState(state=State.STABLE))
    assert (child.state, done) == (State.FAILING, [DumpStacks()])
    assert play(Silent(), 1.0, Tick(), child=ChildState(state=State.STABLE))[1] == [DumpStacks(), Kill()]


def test_a_child_that_breaks_the_protocol_is_killed_at_once() -> None:
    child, done = play(Misbehaved("said nonsense"), child=ChildState(state=State.READY))
    assert (child.state, child.reason, done) == (State.FAILING, "said nonsense", [Kill()])


def test_a_child_that_harms_others_is_killed_and_quarantined_at_once() -> None:
    child, done = play(Barred("filled the disk"), child=ChildState(state=State.STABLE))
    assert (child.state, done) == (State.FAILING, [Kill()])
    child, _ = play(Exited(Exit(signal=9)), child=child)
    assert (child.state, child.reason, child.wake_at) == (State.QUARANTINED, "filled the disk", 1060.0)
    assert play(Barred("filled the disk"), child=ChildState(state=State.BACKOFF))[0].state is State.QUARANTINED


def test_a_barred_child_is_not_tried_again_before_it_is_barred_no_more() -> None:
    held = ChildState(state=State.QUARANTINED, wake_at=1001.0)
    assert play(0.5, Barred("x", 10.0), 9.0, Tick(), child=held)[1] == []
    assert play(0.5, Barred("x", 10.0), 10.0, Tick(), child=held)[1] == [Spawn()]
    broken = replace(held, wake_at=inf, reason="its configuration is wrong")
    assert play(Barred("x"), child=broken)[0] == broken
    after = play(Barred("x"), Exited(Exit()), 60.0, Tick(), child=ChildState(state=State.READY))[0]
    assert play(Started(), CRASH, child=after)[0].state is State.BACKOFF


def test_a_process_that_does_not_die_is_killed_again_and_again() -> None:
    _, done = play(Misbehaved("x"), 5.0, Tick(), 5.0, Tick(), child=ChildState(state=State.READY))
    assert done == [Kill(), Kill(), Kill()]


def test_a_child_nobody_wants_drains_then_gets_sigterm_then_sigkill() -> None:
    busy = ChildState(state=State.STABLE)
    assert play(Unwant(), child=busy)[1] == [AskDrain()]
    assert play(Unwant(), 30.0, Tick(), child=busy)[1] == [AskDrain(), SendTerm()]
    child, done = play(Unwant(), 30.0, Tick(), 5.0, Tick(), child=busy)
    assert (child.state, done) == (State.STOPPING, [AskDrain(), SendTerm(), Kill()])
    assert play(Unwant(), 1.0, CRASH, child=busy)[0].state is State.STOPPED


def test_a_child_that_is_not_ready_yet_has_nothing_to_drain() -> None:
    assert play(Unwant(), child=ChildState(state=State.STARTING))[1] == [SendTerm()]


def test_stop_now_kills_whatever_runs() -> None:
    for state in ALIVE:
        assert Kill() in step(ChildState(state=state), StopNow(), 0.0)[1]


def test_a_child_given_up_while_it_was_being_made_is_stopped_when_it_appears() -> None:
    child, done = play(Want(), Unwant(), Started())
    assert (child.state, done) == (State.STOPPING, [Spawn(), SendTerm()])
    assert play(Want(), StopNow(), StopNow(), Started())[1][-1] == Kill()
    assert play(Want(), Unwant(), SpawnFailed("no zygote"))[0].state is State.STOPPED


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPING])
def test_wanted_again_while_it_ends_it_is_started_anew_after_its_end(state: State) -> None:
    assert play(Want(), CRASH, child=ChildState(state=state))[1] == [Spawn()]
    assert play(Want(), Unwant(), CRASH, child=ChildState(state=state))[0].state is State.STOPPED


def test_what_the_operator_reads_says_what_happens_next() -> None:
    ready = ChildState(state=State.READY, failures=(999.0,), pause=0.1)
    assert reports(ready, Exited(Exit(signal=9, oom=True))) == [
        "killed by SIGKILL (out of memory); crash 2 of 5, restart in 0.2 s"
    ]
    fifth = ChildState(state=State.STARTING, failures=(996.0, 997.0, 998.0, 999.0))
    assert reports(fifth, CRASH) == [
        "5 crashes in 60 s, the last: exited with code 1 before it was ready; quarantined for 60 s"
    ]
    assert reports(ready, Exited(Exit(code=78))) == [
        "exited with code 78: its configuration is wrong; quarantined until its configuration changes"
    ]


# --- properties: a world that answers as a real one would, in any order --------------------------------------------

CHOICES = st.lists(
    st.tuples(
        st.sampled_from(["want", "unwant", "stop", "renew", "process", "ready", "end", "silent", "bad", "bar", "time"]),
        st.floats(0, 100),
        st.integers(0, 255),
    ),
    max_size=80,
)


class World:
    """Holds at most one process and tells the policy only what could really happen."""

    def __init__(self) -> None:
        self.child, self.now = ChildState(), 0.0
        self.asked = self.running = self.wanted = False

    def post(self, event: Event) -> None:
        self.child, actions = step(self.child, event, self.now)
        for action in actions:
            assert not isinstance(action, Report) or "makes no sense" not in action.text
            if isinstance(action, Spawn):
                assert not self.asked and not self.running, "two processes for one child"
                self.asked = True

    def do(self, what: str, seconds: float, code: int) -> None:
        match what:
            case "want":
                self.wanted = True
                self.post(Want())
            case "unwant":
                self.wanted = False
                self.post(Unwant())
            case "stop":
                self.wanted = False
                self.post(StopNow())
            case "renew":
                self.post(Renew())
            case "process" if self.asked:
                self.asked, self.running = False, code % 5 > 0
                self.post(Started() if self.running else SpawnFailed("no"))
            case "end" if self.running:
                self.running = False
                self.post(Exited(Exit(code=code)))
            case "ready" if self.running:
                self.post(ReadySaid())
            case "silent":
                self.post(Silent())
            case "bad":
                self.post(Misbehaved("x"))
            case "bar":
                self.post(Barred("x"))
            case "time":
                self.now = min(self.now + seconds, max(self.child.wake_at, self.now))
                self.post(Tick())


@given(CHOICES)
def test_there_are_never_two_processes_for_one_child(choices: list[tuple[str, float, int]]) -> None:
    world = World()
    for choice in choices:
        world.do(*choice)


@given(CHOICES)
def test_whoever_is_wanted_runs_or_has_a_time_when_it_is_tried_again(choices: list[tuple[str, float, int]]) -> None:
    world = World()
    for choice in choices:
        world.do(*choice)
        state = world.child.state
        if state in {State.BACKOFF, State.STARTING, State.FAILING, State.DRAINING}:
            assert world.child.wake_at < inf
        if state is State.QUARANTINED:
            assert world.child.wake_at < inf or "configuration is wrong" in world.child.reason
        assert world.child.alive == world.running or world.asked


@given(CHOICES)
def test_whoever_is_not_wanted_ends_within_its_deadlines(choices: list[tuple[str, float, int]]) -> None:
    world = World()
    for choice in choices:
        world.do(*choice)
    world.do("unwant", 0, 0)
    if world.asked:
        world.do("process", 0, 1)
    killed = False
    while world.running and not killed:
        world.now = world.child.wake_at
        world.child, actions = step(world.child, Tick(), world.now)
        killed = Kill() in actions
    world.do("end", 0, 0)
    assert world.child.state is State.STOPPED
