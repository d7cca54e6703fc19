"""Checks of the disk: rights, folders, left-overs, room. Looks only; mending is `mend`'s part."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from supervisor.cli.checkup.facts import Facts, read_json
from supervisor.cli.checkup.finding import Chmod, Finding, MakeFolder, Repair, Seed, Unlink, error, note, warning
from supervisor.config import agents

#: What others must not have on private folders and files.
OTHERS = 0o077
#: Files looked at for each agent: a folder of transcripts may hold very many.
_MANY = 2000
#: Free bytes under which nothing may be lost yet, and under which messages cannot be taken any more.
LITTLE_ROOM, NO_ROOM = 1024**3, 100 * 1024**2
_FIRST_FILES = ("AGENTS.md", "SOUL.md")
_SHOWN = 3
_DAY = 86400.0


def rights(facts: Facts) -> Iterator[Finding]:
    """Private things are their owner's only (SPEC 1.4)."""
    paths = facts.paths
    if paths.state.is_dir() and not os.access(paths.state, os.W_OK | os.X_OK):
        yield error(
            "the state folder is not writable", where=str(paths.state), hint=f"sudo chown -R $USER {paths.state}"
        )
    folders = [paths.state, paths.credentials, paths.logs, paths.databases, paths.run]
    folders += [place for one in facts.agents for place in (facts.agent_dir(one), facts.sessions(one))]
    for folder in dict.fromkeys(folders):
        yield from _too_open(folder, 0o700)
    for file in dict.fromkeys(_private_files(facts)):
        yield from _too_open(file, 0o600)


def _private_files(facts: Facts) -> Iterator[Path]:
    paths = facts.paths
    yield from (paths.config, paths.state / ".env")
    yield from paths.config.parent.glob(f"{paths.config.name}.*")
    yield from paths.credentials.glob("*")
    for agent_id in facts.agents:
        yield facts.agent_dir(agent_id) / "auth-profiles.json"
        yield from islice(
            chain(facts.sessions(agent_id).glob("*.json"), facts.sessions(agent_id).glob("*.jsonl")), _MANY
        )


def _too_open(path: Path, mode: int) -> Iterator[Finding]:
    try:
        found = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode) or stat.S_ISDIR(found.st_mode) != (mode == 0o700):
        return
    have = stat.S_IMODE(found.st_mode)
    if have & OTHERS:
        text = f"others may look into it (mode {have:04o}, should be {mode:04o})"
        yield warning(text, where=str(path), hint=f"chmod {mode:o} {path}", repair=Chmod(path, mode))


def folders(facts: Facts) -> Iterator[Finding]:
    """An agent's places, and what its workspace should hold. The gateway makes them when it starts, if it can."""
    defaults = facts.settings.config.agents.defaults
    bare = defaults is not None and bool(defaults.skip_bootstrap)
    for agent_id in facts.agents if facts.settings.exists and facts.settings.readable else ():
        workspace = facts.workspace(agent_id)
        yield from _missing(agent_id, workspace, "workspace", MakeFolder(workspace, 0o755) if bare else Seed(workspace))
        if not bare and workspace.is_dir():
            yield from _unseeded(agent_id, workspace)
        for place, name in ((facts.agent_dir(agent_id), "agentDir"), (facts.sessions(agent_id), "sessions folder")):
            yield from _missing(agent_id, place, name, MakeFolder(place))


def _missing(agent_id: str, folder: Path, name: str, repair: Repair) -> Iterator[Finding]:
    if folder.is_dir():
        return
    if folder.exists():
        yield error(f"the {name} of agent {agent_id} is not a folder", where=str(folder), hint=f"ls -ld {folder}")
        return
    level = warning if name == "workspace" else note
    yield level(
        f"the {name} of agent {agent_id} is missing", where=str(folder), hint=f"mkdir -p {folder}", repair=repair
    )


def _unseeded(agent_id: str, workspace: Path) -> Iterator[Finding]:
    missing = [name for name in _FIRST_FILES if not (workspace / name).exists()]
    if missing:
        text = f"the workspace of agent {agent_id} lacks {' and '.join(missing)}"
        yield warning(text, where=str(workspace), hint="openclaw doctor --fix", repair=Seed(workspace))


def apart(facts: Facts) -> Iterator[Finding]:
    """Agents do not lie in each other's folders, also not by a link."""
    workspaces = {one: _real(facts.workspace(one)) for one in facts.agents}
    yield from nested(workspaces)
    owners: dict[Path, str] = {}
    for agent_id in facts.agents:
        own = agents.entry(facts.settings.config, agent_id).agent_dir
        first = owners.setdefault(_real(facts.agent_dir(agent_id)), agent_id)
        if first != agent_id and facts.agent_dir(first) != facts.agent_dir(agent_id):
            text = f"the agentDirs of {first} and {agent_id} are the same folder by a link: their keys and sessions mix"
            yield error(
                text,
                where=str(own),
                hint=f"openclaw config unset 'agents.list[{facts.agents.index(agent_id)}].agentDir'",
            )


def nested(workspaces: dict[str, Path]) -> Iterator[Finding]:
    """Workspaces that are equal, or of which one lies in the other. Pure."""
    inside = sorted(workspaces.items(), key=lambda item: (len(item[1].parts), str(item[1]), item[0]))
    for number, (agent_id, place) in enumerate(inside):
        for outer_id, outer in inside[:number]:
            if place == outer:
                text = f"agents {outer_id} and {agent_id} share one workspace: each changes the other's files"
            elif outer in place.parents:
                text = f"the workspace of {agent_id} lies in that of {outer_id}"
            else:
                continue
            hint = f"openclaw agents delete {agent_id} && openclaw agents add {agent_id}"
            yield warning(text, where=str(place), hint=hint)
            break


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def leftovers(facts: Facts) -> Iterator[Finding]:
    """Sockets and locks without an owner, files that somebody put aside, workspaces without an agent."""
    yield from _dead_socket(facts)
    yield from _put_aside(facts)
    used = {facts.workspace(one) for one in facts.agents}
    for folder in sorted(facts.paths.state.glob("workspace-*")) if facts.settings.readable else ():
        if folder not in used and not any(folder in one.parents for one in used):
            yield note("a workspace that no agent has", where=str(folder), hint=f"ls -la {folder}")


def _dead_socket(facts: Facts) -> Iterator[Finding]:
    if facts.live.status is None:
        socket = facts.paths.run / "control.sock"
        if _locked(facts.paths.lock):
            yield error(
                f"a gateway holds {facts.paths.shorten(facts.paths.lock)} and does not answer ({facts.live.reason})",
                where=str(facts.paths.lock),
                hint=f"fuser -v {facts.paths.lock}",
            )
        elif socket.exists():
            text = "a control socket without a gateway: the last one was killed"
            yield note(text, where=str(socket), hint="openclaw gateway start", repair=Unlink(socket))


def _put_aside(facts: Facts) -> Iterator[Finding]:
    for pattern, text in (
        ("clobbered", "a ruined config was replaced by the last good one"),
        ("rejected", "a change was refused, and what it would have been is kept"),
    ):
        for file in sorted(facts.paths.config.parent.glob(f"{facts.paths.config.name}.{pattern}.*"))[-_SHOWN:]:
            yield note(text, where=str(file), hint=f"diff {file} {facts.paths.config}")


def _locked(file: Path) -> bool:
    """Whether some process holds the gateway's lock; asked by trying, for a moment."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def room(facts: Facts) -> Iterator[Finding]:
    """A message is taken only once it is on disk."""
    place = next((one for one in (facts.paths.state, *facts.paths.state.parents) if one.is_dir()), Path("/"))
    yield from enough(shutil.disk_usage(place).free, place)


def enough(free: int, place: Path) -> Iterator[Finding]:
    """Whether so many free bytes will do. Pure."""
    text = f"the disk is nearly full: {free // 1024**2} MB are free"
    if free < NO_ROOM:
        yield error(f"{text}; messages cannot be taken", where=str(place), hint=f"du -sh {place}/*")
    elif free < LITTLE_ROOM:
        yield warning(text, where=str(place), hint=f"du -sh {place}/*")


def crashes(facts: Facts) -> Iterator[Finding]:
    """What ended unasked within the last day."""
    seen: dict[str, list[tuple[float, Path]]] = {}
    for file in facts.paths.records.glob("crash-*.json"):
        if (when := _modified(file)) > facts.now - _DAY:
            name = file.stem.split("-", 2)[-1]
            seen.setdefault(name, []).append((when, file))
    for name, files in sorted(seen.items()):
        last = max(files)[1]
        times = "once" if len(files) == 1 else f"{len(files)} times"
        yield warning(
            f"{name} ended unasked {times} since yesterday{_why(last)}",
            where=str(last),
            hint="openclaw logs --lines 50",
        )


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _why(file: Path) -> str:
    try:
        report = read_json(file)
    except ValueError:
        return ""
    reason = report.get("reason") or report.get("ended") if isinstance(report, dict) else ""
    return f", last: {str(reason)[:200]}" if reason else ""
