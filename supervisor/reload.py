"""A changed config file is applied by itself (SPEC 7.7): watch, wait until it is quiet, read, apply the difference.

A file that cannot be used changes nothing and is complained about once. What a change needs beyond that is decided by
`gateway.reload.mode` of the configuration that is in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from protocol.errors import OpenClawError, UserError
from protocol.paths import Paths
from protocol.tasks import Tasks
from supervisor import changes as differences
from supervisor.apply import Applier
from supervisor.changes import Changes
from supervisor.config.diff import changed_paths, summary
from supervisor.config.problems import Problem
from supervisor.config.watch import Marks, Watch
from supervisor.fleet import Fleet
from supervisor.logs import Journal
from supervisor.plan import Plan

#: Somebody who writes without a pause does not keep the others' changes away: so many quiet times at most.
_PATIENCE = 10
#: Seconds between two looks at the files, at most.
_LOOK = 0.5
#: Problems of one file that are logged.
_MOST_PROBLEMS = 20


class Reloader:
    """Follows the config file from `run` until it is cancelled."""

    def __init__(self, paths: Paths, watch: Watch, applier: Applier, fleet: Fleet, journal: Journal, tasks: Tasks):
        self._paths = paths
        self._watch = watch
        self._applier = applier
        self._fleet = fleet
        self._journal = journal
        self._tasks = tasks
        self._complained: tuple[Problem, ...] = ()
        self._following: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """`watch` has been looked at before the configuration in force was read."""
        seen = self._watch.last
        while True:
            await asyncio.sleep(min(self._applier.plan.debounce / 2, _LOOK))
            if self._watch.look() != seen:
                seen = await self._quiet()
                async with self._applier.lock:
                    await self._changed()

    def cancel(self) -> None:
        """The gateway stops: who is being replaced is stopped like the others."""
        for task in self._following:
            task.cancel()

    async def _quiet(self) -> Marks:
        """Until the files have been left alone for a while; how they are then."""
        debounce, seen = self._applier.plan.debounce, self._watch.look()
        for _ in range(_PATIENCE):
            await asyncio.sleep(debounce)
            before, seen = seen, self._watch.look()
            if before == seen:
                break
        return seen

    async def _changed(self) -> None:
        mode = self._applier.plan.reload
        if mode == "off":
            self._say("info", "config change detected; gateway.reload.mode is off. hint: openclaw gateway restart")
            return
        if not self._paths.config.exists() and self._applier.plan.text is not None:
            gone = Problem(str(self._paths.config), "the file is gone", "openclaw doctor")
            self._applier.problem, self._applier.problems = f"{gone.path}: {gone.message}", (gone,)
            self._complain()
            return
        try:
            plan = await self._applier.read()
        except UserError:
            self._complain()
            return
        await self._evaluate(plan, mode)

    def _complain(self) -> None:
        """Once for each list of problems: an editor that saves again does not fill the log."""
        problems = self._applier.problems
        if problems == self._complained:
            return
        self._complained = problems
        self._say("warn", f"config reload skipped (invalid config, {len(problems)} problems); the old one stays")
        for one in problems[:_MOST_PROBLEMS]:
            self._say("warn", f"  {one.path}: {one.message}" + (f" hint: {one.hint}" if one.hint else ""))

    async def _evaluate(self, plan: Plan, mode: str) -> None:
        old, self._complained = self._applier.plan, ()
        self._applier.problem, self._applier.problems = "", ()
        found = differences.compare(old, plan)
        paths = changed_paths(old.values, plan.values)
        if not paths and found.nothing:
            return
        self._say("info", f"config change detected; evaluating reload ({summary(paths)})")
        applied = await self._applier.apply(plan, restart_router=mode != "hot")
        self._say("info", f"config hot reload applied ({differences.describe(applied)})")
        if found.listener and not applied.listener:
            self._say("warn", "the HTTP port changes with the next restart. hint: openclaw gateway restart")
        if found.log_file:
            self._say("warn", "logging.file takes effect with the next start. hint: openclaw gateway stop")
        self._follow(applied, everybody=mode == "restart")

    def _follow(self, applied: Changes, everybody: bool) -> None:
        """Workers take their time; the next change does not wait for them."""
        self._keep(self._report(self._applier.follow(applied, self._tell)))
        if everybody:
            self._keep(self._report(self._fleet.roll(self._fleet.agents(), self._tell)))

    async def _report(self, work: Coroutine[Any, Any, list[str]]) -> None:
        try:
            for problem in await work:
                self._say("error", problem)
        except OpenClawError as error:
            self._say("error", str(error))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.start(work, "reload")
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    def _tell(self, text: str) -> None:
        self._say("info", text)

    def _say(self, level: str, text: str) -> None:
        self._journal.log(level, "reload", text)
