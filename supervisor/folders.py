"""The folders of one gateway: made before anything is started, closed to everybody but whom they are for.

As root each agent's own folders belong to the agent's user. What is only passed on the way to them may be passed where
workers cannot be given a file tree of their own, and is closed where they can.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from protocol.errors import UserError
from protocol.paths import Paths
from protocol.slices import WorkerSlice
from supervisor.config.walls import Owner
from supervisor.ground import survey
from supervisor.ownership import hand_over, inode
from supervisor.plan import Plan
from supervisor.uids import is_ours
from supervisor.workerplan import AgentPlan

#: Of the link's folder: the router opens the socket, the agent's group comes in, and the socket gets that group.
_LINK_MODE = 0o2710


def prepare_state(paths: Paths) -> None:
    """The state folder and what the supervisor itself needs. Raises UserError when it cannot be written."""
    _make([paths.state, paths.run, paths.records, paths.databases, paths.credentials, paths.run / "w"])
    _make([paths.proxy_folder])
    # Whoever made these folders before us may have been less strict, or other walls stood then.
    ground = survey()
    passed = 0o711 if ground.uids and not ground.mounts else 0o700
    for folder in (paths.run, paths.run / "w", *((paths.state,) if passed != 0o700 else ())):
        folder.chmod(passed)
    paths.proxy_folder.chmod(0o711)


def prepare_agents(paths: Paths, plan: Plan, before: Plan | None = None) -> None:
    """What each agent's worker finds when it starts; those of an earlier plan have it. Raises UserError."""
    known = {agent: one.slice for agent, one in before.agents.items()} if before else {}
    told = {agent: one.slice for agent, one in plan.agents.items()}
    new = {agent: worker for agent, worker in told.items() if _places(known.get(agent)) != _places(worker)}
    _make(paths.link_folder(agent) for agent in new)
    _make(folder for folder in plan.agent_dirs if before is None or folder not in before.agent_dirs)
    _make(Path(worker.sessions) for worker in new.values())
    _make(Path(worker.workspace) for worker in new.values())
    for agent in new:
        _close(paths, plan.agents[agent], plan)


def _close(paths: Paths, agent: AgentPlan, plan: Plan) -> None:
    """Make the agent's folders its own, and closed to others. Raises UserError."""
    workspace, sessions = Path(agent.slice.workspace), Path(agent.slice.sessions)
    try:
        if agent.uid:
            owner, keep = Owner(agent.uid, agent.gid, is_ours(agent.uid)), _others(agent, plan)
            former = {paths.state.stat().st_uid}
            for folder in (workspace, sessions):
                hand_over(folder, owner, keep, former if folder.is_relative_to(paths.state) else set())
            _lend(paths.link_folder(agent.id), agent.gid)
            _let_pass(paths, sessions)
        elif workspace.is_relative_to(paths.state):
            workspace.chmod(0o700)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else str(workspace)
        raise UserError(
            f"cannot make the folder the agent's own: {error.strerror}", where=where, hint=_hint()
        ) from None


def _lend(folder: Path, gid: int) -> None:
    os.chown(folder, os.getuid(), gid)
    folder.chmod(_LINK_MODE)


def _let_pass(paths: Paths, folder: Path) -> None:
    """Without file trees of their own agents' users must pass what lies between the state folder and theirs."""
    if survey().mounts:
        return
    for above in folder.parents:
        if above == paths.state or not above.is_relative_to(paths.state):
            return
        above.chmod(0o711)


def _others(agent: AgentPlan, plan: Plan) -> set[tuple[int, int]]:
    """The folders of everybody else, and what is never an agent's: a workspace may hold them."""
    return {known for path in _other_paths(agent, plan) if (known := inode(path)) is not None}


def _other_paths(agent: AgentPlan, plan: Plan) -> Iterator[Path]:
    yield from plan.agent_dirs
    for other in plan.agents.values():
        if other.id != agent.id:
            yield from (Path(other.slice.workspace), Path(other.slice.sessions))


def _places(worker: WorkerSlice | None) -> tuple[str, str] | None:
    return (worker.workspace, worker.sessions) if worker else None


def _make(folders: Iterable[Path], mode: int = 0o700) -> None:
    for folder in folders:
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=mode, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder: {error.strerror}", where=str(folder), hint=_hint()) from None
        if not _writable(folder):
            raise UserError("the folder is not writable", where=str(folder), hint=_hint())


def _writable(folder: Path) -> bool:
    """Asked by doing: a read-only file system and root make access(2) say what does not hold."""
    probe = folder / ".openclaw-probe"
    try:
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError:
        return False
    return True


def _hint() -> str:
    return "export OPENCLAW_STATE_DIR=$HOME/.openclaw"
