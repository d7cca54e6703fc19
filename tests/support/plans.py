"""Plans for tests of the fleet: agents without a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from protocol.config import Sandbox
from protocol.paths import Paths
from protocol.sandbox import Placement, Seat, resolve
from protocol.slices import ToolRules, WorkerSlice
from supervisor.config.slices import LinkKeys
from supervisor.plan import Plan
from supervisor.workerplan import AgentPlan, Cutter

PATHS = Paths(home=Path("/h"), state=Path("/h/s"), config=Path("/h/s/openclaw.json"))


def slice_of(agent: str, model: str = "") -> WorkerSlice:
    """What a worker is told on the host, link keys left out."""
    return WorkerSlice(
        agent=agent, name=agent, workspace=f"/w/{agent}", sessions=f"/h/s/agents/{agent}/sessions",
        link_socket=str(PATHS.link_socket(agent)), router_public="", worker_public="", worker_secret="",
        proxy_socket="/h/s/run/p/proxy", proxy_token="t", model=model,
    )  # fmt: skip


def keys_of(seat: Seat) -> LinkKeys:
    """Keys that differ by seat and are always the same."""
    return LinkKeys(f"rs {seat}", "rp", f"ws {seat}", "wp")


def agent_of(
    agent: str, model: str = "", *, sandbox: Sandbox | None = None, uid: int = 0, tenant: str = ""
) -> AgentPlan:
    """One agent, with its own `sandbox` section."""
    settings = resolve(sandbox, None)
    placement = Placement(mode=settings.mode, scope=settings.scope, tenant=tenant)
    return AgentPlan(
        slice=slice_of(agent, model), placement=placement, sandbox=settings, tools=ToolRules(), uid=uid, gid=uid
    )


def plan_of(*agents: AgentPlan) -> Plan:
    """A plan with no programs: only what the fleet looks at."""
    known = {one.id: one for one in agents}
    cutter = Cutter(known, PATHS, keys_of, (1000, 1000))
    nothing: Any = None
    return Plan(
        router=nothing, proxy=nothing, agents=known, fixed=cutter.fixed(), cutter=cutter, digest="", agent_dirs=(),
        log_file=Path("/x"), log_max_bytes=0, log_level="info",
    )  # fmt: skip


def with_(plan: Plan, **changes: Any) -> Plan:
    return msgspec.structs.replace(plan, **changes)
