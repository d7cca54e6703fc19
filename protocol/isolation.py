"""The attacks of `openclaw doctor --isolation`: their names, why each matters, and where each must fail. Pure.

The worker tries them (`worker.probe`), the command line says what should have held; both read this one table. A wall
that must stand and does not is an error, one that nobody promised is only told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from protocol.messages import Finding, ProbeTarget
from protocol.sandbox import HOST

#: Where a worker lives: on the host under a uid of its own, on the host under the supervisor's own uid and held by
#: Landlock alone, or in a container.
Kind = Literal["uid", "landlock", "container"]
#: What `ProbeTarget.on` must hold: nothing, a file, a folder, a unix socket, a process, `host:port`, a uid and so on.
#: An attack that wants something of the worker's own (workspace, proxy) knows it without being told.
Wants = Literal["", "file", "folder", "socket", "pid", "address"]

#: The Landlock ABI from which signals and abstract sockets can be kept within a worker's own domain.
SCOPED_SINCE = 6
#: Where the metadata service of every large cloud answers.
METADATA = "169.254.169.254:80"
#: Addresses with a name instead of a number: where the default route leads (a container's host), and this machine.
GATEWAY, LOOPBACK = "gateway", "loopback"


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a hostile worker would try.

    `held` says in a few words what it means that it failed, `matters` why anybody cares. `holds` tells in which kinds
    of places it must fail, each with the Landlock ABI that needs (0 for "on every kernel").
    """

    name: str
    held: str
    matters: str
    wants: Wants = ""
    holds: Mapping[Kind, int] = {}


_EVERYWHERE: Mapping[Kind, int] = {"uid": 0, "landlock": 1, "container": 0}
_NOT_BY_LANDLOCK: Mapping[Kind, int] = {"uid": 0, "container": 0}
_CONTAINER: Mapping[Kind, int] = {"container": 0}


def _attack(name: str, held: str, matters: str, holds: Mapping[Kind, int], wants: Wants = "") -> Attack:
    return Attack(name=name, held=held, matters=matters, wants=wants, holds=holds)


_FILES = (
    _attack("read_file", "cannot read", "other agents' files, keys and the config are not this agent's",
            _EVERYWHERE, "file"),
    _attack("list_dir", "cannot list", "names of files and sessions tell who talks to whom", _EVERYWHERE, "folder"),
    _attack("write_file", "cannot create a file in", "a file put into another's folder becomes its instructions",
            _EVERYWHERE, "folder"),
    _attack("workspace_escape", "file tools stay inside", "a link or a swapped folder must not lead the tools outside",
            _EVERYWHERE),
    _attack("mknod", "cannot make a device", "a device file is a way to the disk around all permissions", _EVERYWHERE),
    _attack("chroot", "cannot change the root", "a root of one's own choice deceives set-uid programs", _EVERYWHERE),
    _attack("mount", "cannot mount", "a mount lays open what another one covers", _EVERYWHERE),
)  # fmt: skip

_PEERS = (
    _attack("connect_unix", "cannot connect to", "control sockets obey whoever reaches them",
            _NOT_BY_LANDLOCK, "socket"),
    _attack("link_of_other", "no entry to the link", "whoever speaks on a link is taken for its agent",
            _EVERYWHERE, "socket"),
    _attack("proxy_token_of_other", "a wrong token gets no model", "models are paid for by the agent that asks",
            _EVERYWHERE),
    _attack("docker_socket", "cannot reach Docker", "whoever commands Docker is root on the machine",
            _NOT_BY_LANDLOCK),
    _attack("abstract_sockets", "no foreign abstract socket answers", "abstract sockets have no file and so no owner",
            {"landlock": SCOPED_SINCE, "uid": SCOPED_SINCE, "container": 0}),
    _attack("connect_tcp", "cannot reach", "metadata services and other machines trust whoever is inside",
            _CONTAINER, "address"),
)  # fmt: skip

_PROCESSES = (
    _attack("signal_pid", "cannot signal process", "a signal stops or kills others",
            {"uid": 0, "landlock": SCOPED_SINCE, "container": 0}, "pid"),
    _attack("ptrace_pid", "cannot trace process", "a traced process does whatever the tracer wants",
            _EVERYWHERE, "pid"),
    _attack("read_proc_environ", "cannot read the environment of process", "environments hold keys",
            _EVERYWHERE, "pid"),
    _attack("read_proc_mem", "cannot read the memory of process", "memory holds every key in use",
            _EVERYWHERE, "pid"),
    _attack("scan_proc_environ", "no foreign environment is readable", "environments hold keys", _EVERYWHERE),
)  # fmt: skip

_RIGHTS = (
    _attack("ids", "no rights of root", "root and its capabilities undo every other wall", _EVERYWHERE),
    _attack("seccomp", "system calls are filtered", "fewer system calls are fewer ways into the kernel", _CONTAINER),
    _attack("setuid_root", "cannot become root", "root undoes every other wall", _EVERYWHERE),
    _attack("raise_rlimit", "cannot raise its limits", "limits that can be raised are none", _EVERYWHERE),
    _attack("unshare_user_ns", "no user namespace of its own", "being root in a namespace opens much of the kernel",
            _CONTAINER),
    _attack("load_module", "cannot load a kernel module", "a module is the kernel", _EVERYWHERE),
    _attack("bpf", "no bpf", "bpf sees what all processes do", _CONTAINER),
    _attack("perf_event_open", "no perf events", "perf measures other processes", _CONTAINER),
    _attack("keyctl", "no kernel keyring", "keyrings are shared by uid, not by container", _CONTAINER),
)  # fmt: skip

_LEFTOVERS = (
    _attack("inherited_descriptors", "no open file that it could not open itself",
            "an inherited descriptor passes every wall", _EVERYWHERE),
    _attack("environment", "no key in the environment", "commands and crash reports show the environment",
            _EVERYWHERE),
    _attack("preload_and_argv", "no preloaded library, no key among the arguments",
            "arguments can be read by every process of the machine", _EVERYWHERE),
    _attack("core_dumps", "no core dumps", "a core file holds everything the process knew", _EVERYWHERE),
    _attack("limit_files", "open files are limited", "one process must not use up the machine's", _EVERYWHERE),
    _attack("limit_processes", "processes are limited", "a fork bomb must stop at its own walls", _EVERYWHERE),
    _attack("limit_memory", "memory is limited", "one agent must not starve the others", _CONTAINER),
)  # fmt: skip

#: Every attack by its name.
ATTACKS: Mapping[str, Attack] = {
    attack.name: attack for attack in (*_FILES, *_PEERS, *_PROCESSES, *_RIGHTS, *_LEFTOVERS)
}


def kind_of(place: str, uid: int) -> Kind:
    """What kind of place it is. `uid` is what the walls turn the worker into, 0 for "as the supervisor" (`Walls`)."""
    if place != HOST:
        return "container"
    return "uid" if uid else "landlock"


def must_hold(name: str, kind: Kind, landlock_abi: int) -> bool:
    """Whether this wall is promised there; `landlock_abi` is the kernel's, 0 for none."""
    attack = ATTACKS.get(name)
    return attack is not None and kind in attack.holds and attack.holds[kind] <= landlock_abi


def breaches(findings: tuple[Finding, ...], kind: Kind, landlock_abi: int) -> tuple[Finding, ...]:
    """Those that are errors: promised and not held."""
    return tuple(found for found in findings if not found.held and must_hold(found.what, kind, landlock_abi))


def standard_targets() -> tuple[ProbeTarget, ...]:
    """What can be tried from everywhere without knowing anything of the machine."""
    alone = tuple(ProbeTarget(what=attack.name) for attack in ATTACKS.values() if not attack.wants)
    network = tuple(ProbeTarget(what="connect_tcp", on=address) for address in (METADATA, GATEWAY))
    return (*alone, *network)
