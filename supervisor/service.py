"""The supervisor put together: what is started first, who hears what, what ends last.

Only wiring and order. When a child is started or given up is decided in `policy`; what is told to whom is read by
`plan`. The supervisor has no network and reads no chat text. Signal handlers and callbacks only enqueue orders; one
loop carries them out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from protocol import control as c
from protocol import messages as m
from protocol.errors import OpenClawError, UserError
from protocol.paths import Paths
from protocol.process import become_subreaper, set_title
from protocol.tasks import Tasks
from supervisor import cgroups, elevated, folders, lastgood, life, orphans
from supervisor.apply import Applier
from supervisor.child import Child, Office
from supervisor.children import Commands, default_commands, settings
from supervisor.config.version import VERSION
from supervisor.config.walls import weaknesses
from supervisor.config.watch import Watch
from supervisor.control import ControlServer, Say
from supervisor.disk_guard import DiskGuard
from supervisor.fleet import Fleet
from supervisor.ground import survey
from supervisor.life import State
from supervisor.lock import Lock
from supervisor.logs import Journal, JournalHandler, LogFile, console_for_people
from supervisor.plan import Plan, ReadPlan, RunOptions, reader, secret_values
from supervisor.programs import Programs
from supervisor.records import Records
from supervisor.reload import Reloader
from supervisor.restart import Restarter
from supervisor.sandbox import housekeeping, seccomp
from supervisor.sandbox.containers import Containers
from supervisor.sandbox.desk import SandboxDesk
from supervisor.sandbox.engine import Engine
from supervisor.sandbox.gate import Gate
from supervisor.sandbox.spec import owner_of
from supervisor.spawners.choice import ChoiceSpawner
from supervisor.spawners.docker import DockerSpawner
from supervisor.spawners.process import ProcessSpawner
from supervisor.workerplan import WorkerPlan

__all__ = ["RunOptions", "Service", "StartFailed", "run_gateway"]

Order = Literal["stop", "restart", "crashed"]

_USAGE_WITHIN = 5.0


class StartFailed(OpenClawError):
    """A program that the gateway cannot do without does not start, and it is not the operator's doing."""


class Service:
    """One life of the gateway. `run` returns when it has ended."""

    def __init__(
        self,
        paths: Paths,
        options: RunOptions,
        environ: Mapping[str, str],
        plan: Plan,
        read_plan: ReadPlan,
        journal: Journal,
        commands: Commands,
        watch: Watch,
        recovered: str,
    ) -> None:
        self._paths = paths
        self._options = options
        self._journal = journal
        self._plan = plan
        self._noted: tuple[tuple[str, str], ...] = ()
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._crash: BaseException | None = None
        self._started_at = time.time()
        self._waiting_for_end: list[Say] = []
        self._tasks = Tasks(self._crashed)
        self._groups = self._find_groups()
        self._spawner = ProcessSpawner(self._groups)
        self._engine = Engine()
        gate = Gate(paths, lambda: self._plan)
        self._boxes = DockerSpawner(
            Containers(
                self._engine, paths.state / "sandbox", owner_of(paths.state), seccomp.profile(), journal, self._tasks
            ),
            gate.admit,
        )
        office = Office(journal, Records(paths.records, self._warn), self._tasks, random.random)
        self._office = office
        self._programs = Programs(
            office, commands, environ, options.grace, self._spawner, self._hear_router,
            router_boot=self._router_boot, proxy_boot=self._proxy_boot,
        )  # fmt: skip
        self._sweeper = orphans.Sweeper(self._known_pids, lambda: self._spawner.busy, journal)
        self._fleet = Fleet(
            office,
            ChoiceSpawner(self._spawner, self._boxes),
            self._programs.tell_router,
            self._worker_settings,
            self._sweeper.soon,
        )
        self._applier = Applier(
            paths, plan, read_plan, self._take, self._programs, self._fleet, journal, options.grace
        )  # fmt: skip
        self._restarter = Restarter(self._applier, self._fleet, journal, self._tasks)
        self._reloader = Reloader(paths, watch, self._applier, self._fleet, journal, self._tasks)
        self._broker = elevated.Broker(
            elevated.AuditLog(paths.logs / "audit.jsonl"), paths, self._home_of, self._programs.tell_router,
            self._tasks, journal, self._sweeper.soon,
        )  # fmt: skip
        self._disk = DiskGuard(paths.state, self._fleet.homes, self._fleet.bar, self._warn)
        self._sandboxes = SandboxDesk(
            paths, self._engine, lambda: self._plan, self._fleet.children, self._fleet.start,
            self._boxes.remove, self._fleet.hear, gate.admit,
        )  # fmt: skip
        self._control = ControlServer(
            paths.control_socket, self._answer, self._hand_over, self._tasks, lambda why: self._warn(f"control: {why}")
        )
        self._take(plan)
        self._applier.problem = recovered

    # --- life ---

    async def run(self) -> int:
        """Until somebody says stop. Raises UserError when it cannot start by the operator's doing."""
        self._listen_to_signals()
        self._control.start()
        self._tasks.start(self._come_up(), "start")
        while (order := await self._orders.get()) == "restart":
            self._restart_by_signal()
        self._journal.log("info", "gateway", "stopping" if order == "stop" else "stopping after a failure")
        await self._go_down(order)
        if self._crash is not None:
            raise self._crash
        return 0

    async def _come_up(self) -> None:
        """All programs side by side; ready means that messages are taken and models can be asked."""
        self._journal.log("info", "gateway", "starting...")
        self._programs.start()
        await asyncio.gather(self._first_ready(self._programs.router), self._first_ready(self._programs.cliproxy))
        await housekeeping.reap(self._boxes, self._plan)
        self._fleet.start_eagerly()
        self._journal.log("info", "gateway", f"http server listening ({self._address()})")
        self._journal.log("info", "gateway", f"log file: {self._plan.log_file}")
        self._tasks.start(self._applier.keep_copy(), "copy of the configuration")
        self._tasks.start(self._reloader.run(), "config watch")
        self._tasks.start(self._disk.run(), "free space")
        self._tasks.start(housekeeping.prune(self._boxes, lambda: self._plan), "old containers")
        self._journal.log("info", "gateway", "ready", seconds=round(time.time() - self._started_at, 3))
        if self._options.print_url or sys.stdout.isatty():
            # Only to the terminal of the person who started it: the token opens the page.
            sys.stdout.write(f"OpenClaw gateway ready: {self._address()}#token={self._plan.router.token}\n")
            sys.stdout.flush()

    async def _first_ready(self, child: Child) -> None:
        """Wait for the first readiness. Raises what the operator is to be shown when that is not to be had."""
        while not child.serving:
            state = await child.until(State.READY, State.STABLE, State.BACKOFF, State.QUARANTINED)
            if state in {State.BACKOFF, State.QUARANTINED}:
                _raise_if_hopeless(child)
                await child.until(State.SPAWNING)

    async def _go_down(self, order: Order) -> None:
        self._restarter.cancel()
        self._reloader.cancel()
        hurry = self._tasks.start(self._hurry_on_second_order(), "second signal")
        await self._stop_in_order()
        hurry.cancel()
        for say in self._waiting_for_end:
            say(c.Finished(text="stopped"))
        self._control.close()
        await self._tasks.cancel()
        self._sweeper.close()
        if self._groups is not None:
            self._groups.close()
        self._journal.log("info", "gateway", "stopped")

    async def _stop_in_order(self) -> None:
        """Workers first, while the router still takes what they say and the cliproxy their last requests; then the
        router, which sends out what it has; then the cliproxy, that nobody asks any more; the zygote has no use."""
        deadline = time.monotonic() + self._options.grace
        await asyncio.gather(self._fleet.stop(), self._broker.close())
        await self._boxes.close()
        self._programs.grace = max(1.0, deadline - time.monotonic())
        for child in (self._programs.router, self._programs.cliproxy, self._programs.zygote):
            child.post(life.Unwant())
            await child.until(State.STOPPED)

    async def _hurry_on_second_order(self) -> None:
        while await self._orders.get() != "stop":
            pass
        self._journal.log("warn", "gateway", "second signal: stopping at once")
        self._fleet.stop_now()
        for child in self._programs.all():
            child.post(life.StopNow())

    def _take(self, plan: Plan) -> None:
        """From here on this plan holds for everybody who is started."""
        self._plan = plan
        self._journal.learn(secret_values(plan))
        self._journal.set_level("debug" if self._options.verbose else plan.log_level)
        self._office.config_digest = plan.digest
        for level, text in plan.notes:
            if (level, text) not in self._noted:
                self._journal.log(level, "gateway", text)
        self._noted = plan.notes
        self._fleet.seat_all(plan)

    def _restart_by_signal(self) -> None:
        """There is nobody to tell; what comes of it is in the log."""
        try:
            self._restarter.start((), lambda _: None)
        except UserError as error:
            self._journal.log("warn", "gateway", str(error))

    # --- operators ---

    async def _answer(self, request: c.ToSupervisor, say: Say) -> None:
        match request:
            case c.GetStatus():
                say(self.status())
            case c.GetUsage():
                say(c.Usage(json=await self._programs.usage(_USAGE_WITHIN)))
            case c.Restart(agents=agents):
                outcome = self._restarter.start(agents, lambda text: say(c.Progress(text=text)))
                if (problem := await outcome) is not None:
                    raise problem
                say(c.Finished(text="restarted"))
            case c.ListSandboxes() | c.RecreateSandboxes() | c.InspectPlace() | c.StartWorkers():
                await self._sandboxes.answer(request, say)
            case c.Stop():
                self._waiting_for_end.append(say)
                self._orders.put_nowait("stop")
                await asyncio.get_running_loop().create_future()

    def _hand_over(self, fd: int) -> bool:
        return self._programs.router.serving and self._programs.tell_router(m.OperatorHandover(), (fd,))

    def status(self) -> c.GatewayStatus:
        """What `openclaw gateway status` shows."""
        host, port = self._programs.address or (self._plan.router.host, self._plan.router.port)
        own = c.ProcessStatus(
            name="supervisor", kind="supervisor", state="ready", pid=os.getpid(), started_at=self._started_at,
            ready_at=self._started_at,
        )  # fmt: skip
        return c.GatewayStatus(
            version=VERSION,
            pid=os.getpid(),
            started_at=self._started_at,
            config=str(self._paths.config),
            config_problem=self._applier.problem,
            host=host,
            port=port,
            processes=(own, *(child.status() for child in self._programs.all()), *self._fleet.statuses()),
        )

    # --- what children are told and say ---

    def _worker_settings(self, plan: WorkerPlan) -> life.Settings:
        return settings("container" if plan.container else "worker", self._options.grace)

    def _router_boot(self) -> m.RouterBoot:
        slice_, generations = self._applier.router_slice(), self._fleet.generations()
        return m.RouterBoot(version=m.PROTOCOL_VERSION, slice=slice_, generations=generations)

    def _proxy_boot(self) -> m.ProxyBoot:
        return m.ProxyBoot(version=m.PROTOCOL_VERSION, slice=self._applier.proxy_slice())

    def _hear_router(self, message: m.RouterToSupervisor) -> None:
        match message:
            case m.RouterReady():
                self._fleet.tell_again()
            case m.RunElevated():
                self._broker.run(message)
            case m.RememberApproval():
                self._broker.remember(message)
            case _:
                self._fleet.hear(message)

    def _home_of(self, agent: str) -> elevated.Home | None:
        known = self._plan.agents.get(agent)
        return elevated.Home(Path(known.slice.workspace), known.slice.exec_policy.security == "deny") if known else None

    # --- details ---

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        hangup: Order = "stop" if sys.stdin is not None and sys.stdin.isatty() else "restart"
        orders: dict[signal.Signals, Order] = {
            signal.SIGTERM: "stop",
            signal.SIGINT: "stop",
            signal.SIGUSR1: "restart",
            signal.SIGHUP: hangup,  # of a terminal that is closed, or from a service manager
        }
        for number, order in orders.items():
            loop.add_signal_handler(number, self._orders.put_nowait, order)

    def _crashed(self, name: str, error: BaseException) -> None:
        self._crash = self._crash or error
        if isinstance(error, OpenClawError):
            self._journal.log("fatal", "gateway", str(error))
        else:
            text = "".join(traceback.format_exception(error))
            self._journal.log("fatal", "supervisor", f"{name} failed: {error}", error=text[-8000:])
        self._orders.put_nowait("crashed")

    def _find_groups(self) -> cgroups.Cgroups | None:
        """The control groups of this state folder, empty, and what this machine cannot do, told once."""
        for line in weaknesses(survey(), os.getuid() == 0):
            self._warn(line)
        if (groups := cgroups.find(self._paths.state)) is None:
            self._journal.log("info", "supervisor", "no control groups here: agents have limits per process only")
            return None
        if gone := groups.sweep():
            self._warn(f"ended {gone} processes of agents that a killed gateway had left running")
        groups.tidy()
        return groups

    def _known_pids(self) -> set[int]:
        handles = (child.handle for child in (*self._programs.all(), *self._fleet.children()))
        pids = {int(handle.pid_text) for handle in handles if handle is not None and handle.pid_text.isdigit()}
        return pids | self._broker.pids

    def _address(self) -> str:
        host, port = self._programs.address or (self._plan.router.host, self._plan.router.port)
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/"

    def _warn(self, text: str) -> None:
        self._journal.log("warn", "supervisor", text)


def _raise_if_hopeless(child: Child) -> None:
    """A program that says why it cannot start is believed; one that only crashes is tried again for a while."""
    end, fatal = child.last_exit, child.log.fatal if child.log else None
    if end is not None and end.code in {1, life.EX_CONFIG} and fatal is not None:
        # Programs end a fatal line with their hint, if they have one.
        message, _, hint = str(fatal["message"]).partition(" hint: ")
        raise UserError(f"Gateway failed to start: {message}", hint=hint or None, exit_code=end.code)
    if child.state is State.QUARANTINED:
        last = child.log.tail[-1] if child.log and child.log.tail else "nothing"
        raise StartFailed(f"{child.name} does not start: {child.policy.reason}; it said last: {last}")


def run_gateway(
    paths: Paths, options: RunOptions, environ: Mapping[str, str], *, commands: Commands | None = None
) -> int:
    """`openclaw gateway run`: run until told to stop; returns the exit code.

    Raises UserError (its `exit_code` is 1, or 78 where starting is refused) before anything runs or after everything
    has been stopped again; any other exception is our fault (exit code 2).
    """
    read_plan, watch = reader(paths, options, environ), Watch(paths)
    recovered = _recover(paths, environ) if lastgood.ruin(paths.config) else ""
    watch.look()
    plan = read_plan()
    folders.prepare_state(paths)
    folders.prepare_agents(paths, plan)
    lock = Lock(paths.lock)
    try:
        file = LogFile(plan.log_file, plan.log_max_bytes)
        journal = Journal(file, level=plan.log_level, console=console_for_people(options.verbose))
        with contextlib.closing(journal):
            _prepare_process(journal)
            if gone := orphans.sweep_leftovers(paths.run):
                journal.log("warn", "supervisor", f"ended {gone} commands that a killed gateway had left running")
            if recovered:
                journal.log("error", "reload", recovered)
            chosen = commands or default_commands()
            return asyncio.run(_run(paths, options, environ, plan, read_plan, journal, chosen, watch, recovered))
    finally:
        lock.release()


def _recover(paths: Paths, environ: Mapping[str, str]) -> str:
    """A ruined config file gives way to its last good copy, aloud; never below a gateway that runs."""
    folders.prepare_state(paths)
    lock = Lock(paths.lock)
    try:
        recovered = lastgood.recover(paths, environ, datetime.now())
    finally:
        lock.release()
    if recovered:
        sys.stderr.write(f"warning: {recovered}\n")
    return recovered


async def _run(*arguments: Any) -> int:
    # Inside the loop: children and pipes need a running one.
    return await Service(*arguments).run()


def _prepare_process(journal: Journal) -> None:
    set_title("openclaw: supervisor")
    become_subreaper()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.root.handlers[:] = [JournalHandler(journal)]
    logging.root.setLevel(logging.INFO)
