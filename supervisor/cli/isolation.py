"""`openclaw doctor --isolation`: every living worker attacks from where it is, and what held is told (FIELD 62, D.4).

What is tried comes from the configuration (`checkup.targets`), what must hold from `protocol.isolation`; a wall that
was promised and does not stand is exit code 1, and so is an agent that could not be asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from protocol import control as c
from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from protocol.isolation import ATTACKS, Kind, kind_of, must_hold
from protocol.probes import Finding
from protocol.sandbox import HOST
from supervisor.cli import client, output
from supervisor.cli.checkup import disk, sandboxes
from supervisor.cli.checkup.facts import Facts, gather
from supervisor.cli.checkup.finding import Finding as Static
from supervisor.cli.checkup.finding import error
from supervisor.cli.checkup.targets import targets
from supervisor.cli.context import Context
from supervisor.ground import survey

#: Seconds until workers that were not running are ready, between two looks, for one worker's attacks, and for all.
STARTED_WITHIN, _LOOK_EVERY = 60.0, 0.2
ONE_WITHIN, ALL_WITHIN = 300.0, 1800.0
#: Nothing more will come of a worker in these states by itself.
_SERVING, _FAILED = frozenset({"ready", "stable"}), frozenset({"backoff", "quarantined"})
#: What is looked at beside the attacks.
STATIC = (sandboxes.containers, sandboxes.ground, sandboxes.groups, disk.rights)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One attack on one target. `verdict` is `held`, `broken` (promised) or `open` (promised to nobody)."""

    what: str
    on: str
    verdict: str
    detail: str
    reason: str = ""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one worker; `problem` says why it could not be asked."""

    agent: str
    place: str
    kind: Kind
    judged: tuple[Judged, ...] = ()
    problem: str = ""

    def count(self, verdict: str) -> int:
        return sum(one.verdict == verdict for one in self.judged)


def run(ctx: Context, agent: str, *, json: bool) -> int:
    """The whole command; gives the exit code. Raises UserError: no gateway, no such agent."""
    ctx.load()
    status = client.status(ctx.paths)
    wanted = _chosen(gather(ctx, deep=False), agent)
    status = _start(ctx, wanted, json)
    facts = gather(ctx, deep=False)
    said = _probe(ctx, facts, wanted)
    workers = [*judge(said, status, survey().landlock), *_silent(said, wanted, status)]
    static = [one for check in STATIC for one in _looked(check, facts)]
    _show(facts, workers, static, json)
    broken = any(one.problem or one.count("broken") for one in workers)
    return 1 if broken or any(one.level == "error" for one in static) else 0


# --- asking --------------------------------------------------------------------------------------------------------


def _chosen(facts: Facts, agent: str) -> tuple[str, ...]:
    if not agent.strip():
        return facts.agents
    wanted = normalize_agent_id(agent)
    if wanted not in facts.agents:
        text = f'Unknown agent id "{wanted}". Use "openclaw agents list" to see configured agents.'
        raise UserError(text, hint="openclaw agents list")
    return (wanted,)


def _start(ctx: Context, wanted: tuple[str, ...], json: bool) -> c.GatewayStatus:
    """Have all workers made that can be without a message, and wait until each is ready or has failed."""
    with client.connect(ctx.paths) as line:
        line.ask(c.StartWorkers(agents=wanted), c.from_supervisor, c.Finished)
    until = time.monotonic() + STARTED_WITHIN
    if not json:
        output.say("starting the workers that do not run yet…")
    while True:
        status = client.status(ctx.paths)
        mine = [one for one in status.processes if one.kind == "worker" and one.agent in wanted]
        settled = bool(mine) and all(one.state in _SERVING | _FAILED for one in mine)
        if settled or time.monotonic() > until:
            return status
        time.sleep(_LOOK_EVERY)


def _probe(ctx: Context, facts: Facts, wanted: tuple[str, ...]) -> list[c.WorkerProbed]:
    said: list[c.WorkerProbed] = []

    def hear(reply: Any) -> None:
        if isinstance(reply, c.WorkerProbed):
            said.append(reply)

    asked = tuple(c.AgentTargets(agent=one, targets=targets(facts, one)) for one in wanted)
    with client.attached(ctx.paths) as line:
        line.wait_for(ALL_WITHIN)
        line.ask(c.ProbeWorkers(wanted=asked, timeout=ONE_WITHIN), c.from_router, c.ProbesDone, hear=hear)
    return sorted(said, key=lambda one: (one.agent, one.place != HOST, one.place))


def _looked(check: Any, facts: Facts) -> list[Static]:
    try:
        return list(check(facts))
    except UserError as problem:
        return [error(problem.message, where=problem.where or "", hint=problem.hint or "")]


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(said: Iterable[c.WorkerProbed], status: c.GatewayStatus, landlock: int) -> Iterator[Worker]:
    """What each worker's findings mean where it lives."""
    for one in said:
        kind = kind_of(one.place, _own_uid(one, status))
        judged = tuple(_judged(found, kind, landlock) for found in one.findings)
        yield Worker(agent=one.agent, place=one.place, kind=kind, judged=judged, problem=one.problem)


def _judged(found: Finding, kind: Kind, landlock: int) -> Judged:
    reason, verdict = "", "held"
    if not found.held:
        promised = must_hold(found.what, kind, landlock)
        verdict, reason = ("broken", _matters(found.what)) if promised else ("open", _why_open(found.what, kind))
    return Judged(what=found.what, on=found.on, verdict=verdict, detail=found.detail, reason=reason)


def _matters(what: str) -> str:
    attack = ATTACKS.get(what)
    return attack.matters if attack else "unknown attack"


def _why_open(what: str, kind: Kind) -> str:
    attack = ATTACKS.get(what)
    if attack is None:
        return "unknown attack"
    if needed := attack.holds.get(kind, 0):
        return f"needs Landlock ABI {needed}, which this kernel has not"
    return "expected on the host: only a sandbox holds here" if kind != "container" else "not promised by a sandbox"


def _own_uid(one: c.WorkerProbed, status: c.GatewayStatus) -> int:
    """The uid of a worker on the host, 0 when it is the supervisor's own."""
    pid = next((p.pid for p in status.processes if p.kind == "worker" and p.name == f"worker {one.agent}"), 0)
    try:
        theirs, ours = Path(f"/proc/{pid}").stat().st_uid, Path(f"/proc/{status.pid}").stat().st_uid
    except OSError:
        return 0
    return theirs if theirs != ours else 0


def _silent(said: list[c.WorkerProbed], wanted: tuple[str, ...], status: c.GatewayStatus) -> Iterator[Worker]:
    """Workers that are not alive: nothing is known of their walls."""
    asked = {(one.agent, one.place) for one in said}
    for one in status.processes:
        if one.kind == "worker" and one.agent in wanted and one.state not in _SERVING:
            place = one.name.partition("[")[2].rstrip("]") or HOST
            if (one.agent, place) not in asked and one.state != "stopped":
                text = f"{one.name} is {one.state}" + (f": {one.reason}" if one.reason else "")
                yield Worker(agent=one.agent, place=place, kind=kind_of(place, 0), problem=text)
    for agent in wanted:
        if agent not in {one.agent for one in said} | {p.agent for p in status.processes if p.kind == "worker"}:
            text = "no worker runs; those of single sessions run from their first message on"
            yield Worker(agent=agent, place="", kind="container", problem=text)


# --- telling ---------------------------------------------------------------------------------------------------------

_WORDS = {"held": "held", "broken": "NOT HELD", "open": "expected-open"}
_KINDS = {
    "uid": "on the host, with a user of its own",
    "landlock": "on the host, as the gateway's user, held by Landlock",
    "container": "in a container",
}


def _show(facts: Facts, workers: list[Worker], static: list[Static], json: bool) -> None:
    if json:
        output.document_of(_as_json(workers, static))
        return
    for worker in workers:
        output.data(f"\n{worker.agent} {'@ ' + worker.place if worker.place else ''}: {_KINDS[worker.kind]}")
        if worker.problem:
            output.data(f"  not tried: {worker.problem}")
        if worker.judged:
            output.data(output.table(("Attack", "On", "Result", "Detail"), list(rows(worker))))
    output.data("\nThe machine:")
    for one in static:
        output.data(f"  {one.level}: {one.message}" + (f"\n    at {one.where}" if one.where else ""))
        if one.hint:
            output.data(f"    hint: {one.hint}")
    output.data("  nothing to complain of" if not static else "")
    output.data(summary(workers))


def rows(worker: Worker) -> Iterator[tuple[str, str, str, str]]:
    """What held is one row for each attack; what did not is told one by one."""
    for what in dict.fromkeys(one.what for one in worker.judged):
        mine = [one for one in worker.judged if one.what == what]
        held = [one for one in mine if one.verdict == "held"]
        if held:
            on = held[0].on if len(held) == 1 else f"{len(held)} targets"
            yield _title(what), on, _WORDS["held"], held[0].detail if len(held) == 1 else ""
        for one in mine:
            if one.verdict != "held":
                yield _title(what), one.on, _WORDS[one.verdict], f"{one.detail}; {one.reason}".strip("; ")


def _title(what: str) -> str:
    attack = ATTACKS.get(what)
    return f"{what}: {attack.held}" if attack else what


def summary(workers: list[Worker]) -> str:
    """One line."""
    tried, broken = sum(len(one.judged) for one in workers), sum(one.count("broken") for one in workers)
    unasked = sum(bool(one.problem) for one in workers)
    text = f"{tried} attacks by {len(workers) - unasked} workers: {sum(one.count('held') for one in workers)} held, "
    text += f"{broken} NOT HELD, {sum(one.count('open') for one in workers)} expected-open"
    return text + (f"; {unasked} workers could not be asked" if unasked else "")


def _as_json(workers: list[Worker], static: list[Static]) -> dict[str, Any]:
    return {
        "ok": not any(one.problem or one.count("broken") for one in workers)
        and not any(one.level == "error" for one in static),
        "uid": os.geteuid(),
        "landlock": survey().landlock,
        "workers": [msgspec.to_builtins(one) for one in workers],
        "machine": [
            {"level": one.level, "message": one.message, "where": one.where, "hint": one.hint} for one in static
        ],
    }
