"""The first steps of every worker, forked or not: lock the process down, read the boot message, run the service.

Exit codes: 0 drained, 1 failed, 78 bad boot message or settings (never try again with the same).
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import logging
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from protocol import log as logs
from protocol.errors import ProtocolViolation
from protocol.messages import PROTOCOL_VERSION, WorkerBoot, supervisor_to_worker
from protocol.pipe import FrameReader, PipeClosed, receive_blocking
from protocol.process import adopt_orphans, die_with_parent, dump_stacks_on_signal, set_title
from protocol.slices import WorkerSlice
from worker import prompt, walls
from worker.agent import Agent, conversation_keep
from worker.calls import Calls
from worker.llm.client import ProxyClient, RoutedModel
from worker.service import EXIT_FAILED, EXIT_REFUSED, Service, connect_with, sessions_of
from worker.tools.processes import Processes
from worker.tools.registry import file_access, toolbox
from worker.workspace import Workspace, prepare

log = logging.getLogger(__name__)

#: Seconds to wait for the new parent and for the boot message.
ADOPTED_WITHIN = 5.0
BOOTED_WITHIN = 30.0
_MAX_FILES = 1024
_PR_SET_NO_NEW_PRIVS = 38
#: What is left of the environment; the rest is forgotten.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")

_libc = ctypes.CDLL(None, use_errno=True)


def await_parent(intermediate: int, orphanage: int) -> None:
    """Wait until the supervisor is our parent, then die with it. Raises OSError when it never is."""
    try:
        pidfd = os.pidfd_open(intermediate)
    except ProcessLookupError:
        pidfd = -1
    if pidfd >= 0:
        waiter = select.poll()
        waiter.register(pidfd, select.POLLIN)
        waiter.poll(ADOPTED_WITHIN * 1000)
        os.close(pidfd)
    if os.getppid() != orphanage:
        raise OSError(f"this worker was adopted by process {os.getppid()} instead of {orphanage}")
    die_with_parent(orphanage)


def settle(boot_fd: int, log_fd: int) -> int:
    """Keep the two pipes and nothing else of what was inherited; returns where the boot pipe is now."""
    with suppress(PermissionError):  # it leads a session of its own already
        os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    boot_fd, log_fd = (_above_standard(fd) for fd in (boot_fd, log_fd))
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.dup2(boot_fd, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    # A supervisor that is slow to read must not stop the event loop; lines are lost instead.
    os.set_blocking(2, False)
    return 3


def lock_down() -> None:
    """Give up what an agent's process never needs. Raises OSError."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_FILES if hard == resource.RLIM_INFINITY else min(_MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    adopt_orphans()
    _scrub(os.environ)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    random.seed()
    gc.enable()


def read_boot(fd: int) -> WorkerBoot:
    """The one message on the boot pipe, which is closed then. Raises PipeClosed, ProtocolViolation or TimeoutError."""
    with socket.socket(fileno=fd) as pipe:
        pipe.settimeout(BOOTED_WITHIN)
        boot, _ = receive_blocking(pipe, FrameReader(supervisor_to_worker))
    if boot.version != PROTOCOL_VERSION:
        raise ProtocolViolation(f"boot message of protocol {boot.version}, this worker speaks {PROTOCOL_VERSION}")
    return boot


def work(boot_fd: int) -> int:
    """From the boot message to the exit code."""
    dump_stacks_on_signal()
    logs.setup("worker")
    # A full log pipe raises inside the handler; there is nowhere to say so.
    logging.raiseExceptions = False
    try:
        boot = read_boot(boot_fd)
    except PipeClosed:
        log.error("the supervisor closed the boot pipe")
        return EXIT_FAILED
    except (ProtocolViolation, TimeoutError) as error:
        log.critical("bad boot message: %s", error)
        return EXIT_REFUSED
    logs.setup("worker", boot.slice.log_level)
    set_title(f"openclaw: worker {boot.slice.agent}")
    try:
        walls.enforce(boot.walls)
    except walls.Unreachable as error:
        log.critical("%s", error)
        return EXIT_REFUSED
    except OSError as error:
        log.critical("the walls around this worker cannot be built: %s", error)
        return EXIT_FAILED
    try:
        _enter_workspace(boot.slice)
    except OSError as error:
        log.critical("workspace %s cannot be used: %s", boot.slice.workspace, error.strerror)
        return EXIT_REFUSED
    return asyncio.run(serve(boot))


async def serve(boot: WorkerBoot) -> int:
    """Put the agent together and run it."""
    settings = boot.slice
    processes = Processes(adopts=True)
    access = file_access(settings)
    calls = Calls()
    tools = toolbox(settings, access, processes, calls)
    workspace = Workspace(Path(settings.workspace), access, settings.bootstrap_max_chars)
    model = RoutedModel(ProxyClient(settings.proxy_socket, settings.proxy_token))
    try:
        sessions = sessions_of(settings, conversation_keep(settings))
    except OSError as error:
        log.critical("sessions folder %s cannot be used: %s", settings.sessions, error.strerror)
        return EXIT_REFUSED
    agent = Agent(settings, setting_of(settings), model, tools, workspace)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, processes.reap)
    try:
        service = Service(settings, boot.generation, agent, sessions, calls)
        return await service.run(connect_with(settings, boot.generation))
    finally:
        await model.close()
        processes.kill_orphans()


def setting_of(settings: WorkerSlice) -> prompt.Setting:
    """What the system prompt says about where the agent lives."""
    return prompt.Setting(
        agent=settings.agent,
        name=settings.name,
        workspace=settings.workspace,
        host=os.uname().nodename,
        identity=settings.identity,
        model=settings.model,
        time_zone=settings.user_timezone,
        file_limit=settings.bootstrap_max_chars,
        total_limit=settings.bootstrap_total_max_chars,
        workspace_only=settings.workspace_only,
        override=settings.system_prompt_override,
    )


def _enter_workspace(settings: WorkerSlice) -> None:
    folder = Path(settings.workspace)
    prepare(folder, skip_bootstrap=settings.skip_bootstrap, now=time.time())
    os.chdir(folder)
    os.environ["HOME"] = str(folder)


def _above_standard(fd: int) -> int:
    """A copy that the three standard descriptors and the boot pipe's new place cannot overwrite."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def _scrub(environ: Mapping[str, str]) -> None:
    kept = {name: environ[name] for name in KEPT_VARIABLES if name in environ}
    os.environ.clear()
    os.environ.update(kept)
    sys.argv[1:] = []
