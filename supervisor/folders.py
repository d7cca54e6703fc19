"""The folders of one gateway: made before anything is started, 0700 unless the operator works in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from protocol.errors import UserError
from protocol.paths import Paths
from protocol.slices import WorkerSlice
from supervisor.plan import Plan


def prepare_state(paths: Paths) -> None:
    """The state folder and what the supervisor itself needs. Raises UserError when it cannot be written."""
    _make([paths.state, paths.run, paths.records, paths.databases, paths.credentials, paths.run / "w"])
    _make([paths.proxy_folder])
    # Sockets and the lock: whoever made this folder before us may have been less strict.
    paths.run.chmod(0o700)


def prepare_agents(paths: Paths, plan: Plan, before: Plan | None = None) -> None:
    """What each agent's worker finds when it starts; those of an earlier plan have it. Raises UserError."""
    known = {agent: one.slice for agent, one in before.agents.items()} if before else {}
    told = {agent: one.slice for agent, one in plan.agents.items()}
    new = {agent: worker for agent, worker in told.items() if _places(known.get(agent)) != _places(worker)}
    _make(paths.link_folder(agent) for agent in new)
    _make(folder for folder in plan.agent_dirs if before is None or folder not in before.agent_dirs)
    _make(Path(worker.sessions) for worker in new.values())
    _make((Path(worker.workspace) for worker in new.values()), mode=0o755)


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
