"""A new plan becomes what everybody does: only who is told something else is touched.

Quick steps first (routing, access, models), one after another, so that the newest configuration always wins; workers
are exchanged behind it, each when it has finished what it does.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from protocol import messages as m
from protocol.errors import UserError
from protocol.paths import Paths
from protocol.slices import RouterAgent, RouterSlice
from protocol.slices_proxy import AgentSlice, ProxySlice
from supervisor import changes as differences
from supervisor import door, folders, lastgood
from supervisor.changes import Changes
from supervisor.config.problems import ConfigInvalid, Problem
from supervisor.fleet import Fleet, Say
from supervisor.life import State
from supervisor.logs import Journal
from supervisor.plan import Plan, ReadPlan
from supervisor.programs import Programs


class _Leaving(NamedTuple):
    """What router and cliproxy know of an agent that is configured no more."""

    router: RouterAgent
    proxy: AgentSlice


def _parts(plan: Plan, agents: tuple[str, ...]) -> dict[str, _Leaving]:
    routers = {one.id: one for one in plan.router.agents}
    proxies = {one.agent: one for one in plan.proxy.agents}
    return {agent: _Leaving(routers[agent], proxies[agent]) for agent in agents}


class Applier:
    """Holds the plan that is in force. `problem` is what is wrong with the configuration read last."""

    def __init__(
        self,
        paths: Paths,
        plan: Plan,
        read_plan: ReadPlan,
        take: Callable[[Plan], None],
        programs: Programs,
        fleet: Fleet,
        journal: Journal,
        patience: float,
    ) -> None:
        self.plan = plan
        self.problem = ""
        self.problems: tuple[Problem, ...] = ()
        #: Held while a plan is read and applied; not while workers finish.
        self.lock = asyncio.Lock()
        self._paths = paths
        self._read_plan = read_plan
        self._take = take
        self._programs = programs
        self._fleet = fleet
        self._journal = journal
        self._patience = patience
        self._leaving: dict[str, _Leaving] = {}
        self._version = 0

    def router_slice(self) -> RouterSlice:
        """What the router is told now, those who are leaving included."""
        leaving = tuple(one.router for one in self._leaving.values())
        return msgspec.structs.replace(self.plan.router, leaving=leaving, version=self._version)

    def proxy_slice(self) -> ProxySlice:
        """What the cliproxy is told now: who is leaving still asks models."""
        leaving = tuple(one.proxy for one in self._leaving.values())
        return msgspec.structs.replace(self.plan.proxy, agents=(*self.plan.proxy.agents, *leaving))

    async def read(self) -> Plan:
        """The configuration as it is now. Raises UserError, remembered as `problem`; then nothing is changed."""
        try:
            # Not in the loop: a secret may be asked from a command, which takes its time.
            plan = await asyncio.to_thread(self._read_plan)
            await asyncio.to_thread(folders.prepare_agents, self._paths, plan, self.plan)
        except UserError as error:
            self._note(error)
            raise
        except Exception as error:
            # Our mistake, in a file of the operator's: his gateway goes on as it is.
            text = "".join(traceback.format_exception(error))[-8000:]
            self._journal.log("error", "reload", f"reading the configuration failed: {error}", error=text)
            trouble = UserError("the configuration cannot be read, by our own fault", hint="openclaw logs")
            self._note(trouble)
            raise trouble from None
        return plan

    def _note(self, error: UserError) -> None:
        where = error.where or str(self._paths.config)
        self.problem = f"{where}: {error.message}"
        own = (Problem(where, error.message, error.hint or ""),)
        self.problems = error.problems if isinstance(error, ConfigInvalid) else own

    async def apply(self, plan: Plan, *, restart_router: bool) -> Changes:
        """From here on this plan holds. Workers that must be exchanged are left to `follow`."""
        plan = self._keep_port_in_use(plan) if restart_router else differences.keep_listener(self.plan, plan)
        changes = differences.compare(self.plan, plan)
        self._version += 1
        self._leaving |= _parts(self.plan, changes.removed)
        self._leaving = {agent: one for agent, one in self._leaving.items() if agent not in plan.agents}
        self.plan = plan
        self.problem, self.problems = "", ()
        self._take(plan)
        self._fleet.see_off(changes.removed, self._version)
        if changes.router:
            self._tell_router()
        if changes.proxy:
            self._tell_cliproxy()
        if changes.router or changes.proxy:
            self._programs.renew()
        if changes.listener:
            await self._restart_router()
        self._fleet.start_eagerly()
        await self.keep_copy()
        return changes

    async def follow(self, changes: Changes, say: Say) -> list[str]:
        """Exchange the workers that the changes touch; returns what went wrong, one line each."""
        problems, _ = await asyncio.gather(
            self._fleet.roll((*changes.changed, *changes.added), say, forced=False), self.dismiss(changes)
        )
        return problems

    async def dismiss(self, changes: Changes) -> None:
        """Let removed agents answer what they have, and go."""
        gone = await self._fleet.dismiss(changes.removed, self._patience)
        if gone:
            self._leaving = {agent: one for agent, one in self._leaving.items() if agent not in gone}
            self._version += 1
            self._tell_router()
            self._tell_cliproxy()

    def _tell_cliproxy(self) -> None:
        self._programs.tell_cliproxy(m.ProxyUpdate(slice=self.proxy_slice()))

    def _tell_router(self) -> None:
        self._programs.tell_router(m.RouterUpdate(slice=self.router_slice()))

    def _keep_port_in_use(self, plan: Plan) -> Plan:
        """A port that cannot be had must not cost the chats: the router stays where it is."""
        host, port = plan.router.host, plan.router.port
        if port == self.plan.router.port or not (problem := door.port_problem(host, port)):
            return plan
        self._journal.log("error", "reload", f"the HTTP port stays as it is: {problem}")
        return differences.keep_listener(self.plan, plan)

    async def _restart_router(self) -> None:
        """It sends out what it has, and the next one takes the new port. Workers stay and connect again."""
        router = self._programs.router
        await self._programs.restart_router()
        if router.state not in {State.READY, State.STABLE}:
            self._journal.log("error", "reload", f"the router does not come back: {router.policy.reason}")

    async def keep_copy(self) -> None:
        """The configuration in force was accepted: it is what a ruined file is replaced by."""
        try:
            await asyncio.to_thread(lastgood.keep, self._paths.config, self.plan.text)
        except UserError as error:
            self._journal.log("warn", "reload", f"no copy of the good configuration is kept: {error}")
