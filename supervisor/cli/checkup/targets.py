"""What a hostile worker would go for on this very machine: targets of the attacks, made from the configuration.

The folders, sockets and processes are the real ones; what is not there is no target. Pairs of attack and target go to
the worker, which tries them (`worker.probe`); the names are those of `protocol.isolation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from protocol.control import GatewayStatus
from protocol.isolation import LOOPBACK, standard_targets
from protocol.paths import Paths
from protocol.probes import ProbeTarget
from supervisor.cli.checkup.facts import Facts

#: Other agents whose things are tried; with more, the first ones stand for all.
MOST_AGENTS = 12
#: Files of one folder that are tried.
_FILES = 2


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """What is not this agent's."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    sockets: tuple[str, ...]
    links: tuple[str, ...]
    pids: tuple[str, ...]
    addresses: tuple[str, ...]


def targets(facts: Facts, agent: str) -> tuple[ProbeTarget, ...]:
    """Everything the workers of this agent are to try. Looks at the disk."""
    found = others(facts, agent)
    tried = (
        *_each("read_file", found.files),
        # Of a folder above its own things a worker may see just those; what is in there is tried by name.
        *_each("list_dir", (one for one in found.folders if not _above(facts, agent, one))),
        *_each("write_file", found.folders),
        *_each("connect_unix", found.sockets),
        *_each("link_of_other", found.links),
        *(one for pid in found.pids for one in _of_process(pid)),
        *_each("connect_tcp", found.addresses),
    )
    return tuple(dict.fromkeys((*standard_targets(), *tried)))


def others(facts: Facts, agent: str) -> Others:
    """Of the gateway and of the other agents."""
    paths, status = facts.paths, facts.live.status
    neighbours = [one for one in facts.agents if one != agent][:MOST_AGENTS]
    mine = {facts.workspace(agent), facts.sessions(agent)}
    folders = [*_gateway_folders(paths), facts.agent_dir(agent)]
    for one in neighbours:
        folders += [place for place in _places(facts, one) if place not in mine]
    files = [paths.config, paths.spool, paths.log_file, *_first_files(folders)]
    port = (f"{LOOPBACK}:{status.port}",) if status else ()
    return Others(
        files=_there(files, Path.is_file),
        folders=_there(folders, Path.is_dir),
        sockets=_there([paths.control_socket, *paths.run.glob("c/*/boot")], Path.exists),
        links=_there(_links(paths, agent), Path.exists),
        pids=tuple(_pids(status, agent)) if status else (),
        addresses=port,
    )


def _above(facts: Facts, agent: str, folder: str) -> bool:
    own = (facts.workspace(agent), facts.sessions(agent), facts.paths.run / "w" / agent)
    return any(one.is_relative_to(folder) for one in own)


def _gateway_folders(paths: Paths) -> list[Path]:
    return [paths.state, paths.credentials, paths.databases, paths.logs, paths.run, paths.records, paths.sandboxes]


def _places(facts: Facts, agent: str) -> list[Path]:
    sessions = facts.sessions(agent)
    # Sandboxed sessions are kept beside those of the host.
    beside = sorted(sessions.parent.glob(f"{sessions.name}-*"))
    return [facts.workspace(agent), sessions, *beside, facts.agent_dir(agent)]


def _first_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            entries = sorted(islice(folder.iterdir(), 200))
        except OSError:
            continue
        yield from [one for one in entries if one.is_file() and not one.is_symlink()][:_FILES]


def _links(paths: Paths, agent: str) -> list[Path]:
    """Sockets of other agents; a worker's own folder is its id, or begins with it and a dot."""
    found = sorted((paths.run / "w").glob("*/link"))
    return [one for one in found if one.parent.name.partition(".")[0] != agent][:MOST_AGENTS]


def _pids(status: GatewayStatus, agent: str) -> Iterator[str]:
    """The gateway's processes and other agents' workers."""
    listed = [one for one in status.processes if one.pid and one.agent != agent]
    yield from dict.fromkeys(str(one.pid) for one in listed[: MOST_AGENTS + 4])


def _of_process(pid: str) -> tuple[ProbeTarget, ...]:
    names = ("signal_pid", "ptrace_pid", "read_proc_environ", "read_proc_mem")
    return tuple(ProbeTarget(what=name, on=pid) for name in names)


def _each(what: str, on: Iterable[str]) -> Iterator[ProbeTarget]:
    return (ProbeTarget(what=what, on=one) for one in on)


def _there(paths: Iterable[Path], exists: Callable[[Path], bool]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for path in paths:
        try:
            if exists(path):
                found.setdefault(str(path))
        except OSError:
            continue
    return tuple(found)
