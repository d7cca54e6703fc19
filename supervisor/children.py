"""The graph: which processes there are, how each is started, and who is connected to whom.

    supervisor ── pipe ── zygote       forks the workers, knows nothing else
    supervisor ── pipe ── cliproxy     model keys; in from workers over its own unix socket
    supervisor ── pipe ── router       chat connections; one link socket per agent
    supervisor ── boot pipe ── worker  one message, then closed
    worker ── link (ZeroMQ, CURVE) ── router
    worker ── HTTP, own token ── cliproxy
    command line ── control.sock ── supervisor, handed over to the router on request

Nothing else can ever talk: a child inherits its pipe and its log, and finds the rest in the one message it is given.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from supervisor.life import Settings

ProgramKind = Literal["zygote", "cliproxy", "router"]
Kind = Literal["zygote", "cliproxy", "router", "worker"]

#: What any child may see of our environment: where things are and how to write text. No keys, no tokens.
_PLAIN = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "NO_COLOR")
#: For those who talk to the outside: how to get there and whom to trust.
_NETWORK = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
            "no_proxy")  # fmt: skip
_PACKAGES = str(Path(__file__).parents[1])


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One program started by the supervisor itself."""

    kind: ProgramKind
    module: str
    network: bool


#: In the order of starting. They start side by side: each waits for its boot message, and workers for all of them.
PROGRAMS = (
    Program(kind="zygote", module="worker.zygote", network=False),
    Program(kind="cliproxy", module="router.cliproxy", network=True),
    Program(kind="router", module="router", network=True),
)

#: Command of each program, without `--pipe FD`. Tests put other programs in their place.
Commands = Mapping[ProgramKind, tuple[str, ...]]


def default_commands() -> Commands:
    """This interpreter and our modules; -P keeps the current folder out of the import path."""
    return {program.kind: (sys.executable, "-P", "-m", program.module) for program in PROGRAMS}


def command_line(commands: Commands, kind: ProgramKind, fd: int) -> tuple[str, ...]:
    """The whole command line of a program whose end of the pipe is descriptor `fd`."""
    return (*commands[kind], "--pipe", str(fd))


def environment(program: Program, environ: Mapping[str, str]) -> dict[str, str]:
    """What one program sees of our environment, and where our own packages are."""
    names = (*_PLAIN, *_NETWORK) if program.network else _PLAIN
    visible = {name: environ[name] for name in names if name in environ}
    if not _installed():
        visible["PYTHONPATH"] = os.pathsep.join(filter(None, [_PACKAGES, visible.get("PYTHONPATH", "")]))
    return visible | {"PYTHONUNBUFFERED": "1"}


def settings(kind: Kind | Literal["container"], grace: float) -> Settings:
    """How each kind is supervised. `grace` is how long running work may take to finish, in seconds."""
    match kind:
        case "worker":
            return Settings(ready_within=30, drain_for=grace, rests=True)
        case "container":
            # The first start may have to make the container; a setupCommand has a limit of its own, in the spawner.
            # What keeps a container from being made (no Docker, no image) is mended outside: look again soon.
            return Settings(ready_within=60, drain_for=grace, rests=True, stop_for=8, quarantine=5, max_quarantine=30)
        case "router" | "cliproxy":
            # They get the grace with the message that tells them to stop, and a little to close their files.
            return Settings(ready_within=30, drain_for=grace + 3)
        case "zygote":
            return Settings(ready_within=30, drain_for=2, stop_for=1)


def _installed() -> bool:
    return _PACKAGES in (*site.getsitepackages(), site.getusersitepackages())
