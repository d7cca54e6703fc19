"""A uid of its own for each agent, where we are root: `state/uids.json`, 0600.

A number is given once and never again, also not after its agent is gone: files of the old one may still lie about.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from protocol.errors import UserError
from supervisor.config.walls import Owner

#: Above anything that users, containers and systemd's dynamic users are given (uids and gids are 32 bits).
BASE = 2_000_000_000
MOST = 1_000_000
#: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID (capabilities(7)). Without FSETID a link folder loses its
#: setgid bit without a word, and no worker can open its socket.
_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7)


class _Given(msgspec.Struct, frozen=True):
    """`next` is the number given next, over BASE."""

    next: int = 0
    agents: dict[str, int] = {}


def can_have_uids() -> bool:
    """Whether we are root, over a range of users that reaches so far, with the capabilities it takes."""
    return os.getuid() == 0 and _mapped("uid_map") and _mapped("gid_map") and _capable()


def is_ours(uid: int) -> bool:
    """Whether a uid is out of our range."""
    return BASE <= uid < BASE + MOST


def owner_of(workspace: Path, state: Path, given: Owner) -> Owner:
    """Whom an agent runs as: the uid given to it, or the user of this machine whose folder it works in.

    Folders of root and of other agents, and all in the state folder, become the agent's own.
    """
    try:
        found = workspace.stat()
    except OSError:
        return given
    if workspace.is_relative_to(state) or found.st_uid == 0 or is_ours(found.st_uid):
        return given
    return Owner(found.st_uid, found.st_gid, False)


class Uids:
    """Whose number is whose. Nothing is written until somebody new comes."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that cannot be understood: guessing could give an agent another's files."""
        self._path = path
        try:
            self._given = msgspec.json.decode(path.read_bytes(), type=_Given)
        except FileNotFoundError:
            self._given = _Given()
        except (OSError, msgspec.MsgspecError) as error:
            raise UserError(
                f"the users of the agents cannot be read: {error}", where=str(path), hint=f"mv {path} {path}.broken"
            ) from None

    def give(self, agents: Iterable[str]) -> dict[str, Owner]:
        """The owner of each of these agents. Raises UserError when the file cannot be written."""
        wanted = tuple(agents)
        if new := [agent for agent in wanted if agent not in self._given.agents]:
            numbers = {agent: BASE + self._given.next + place for place, agent in enumerate(new)}
            given = _Given(self._given.next + len(new), {**self._given.agents, **numbers})
            if given.next > MOST:
                raise UserError("there are no numbers left for users of agents", where=str(self._path))
            self._save(given)
            self._given = given
        return {agent: Owner(self._given.agents[agent], self._given.agents[agent], True) for agent in wanted}

    def agent_of(self, uid: int) -> str:
        """Whose number this is, empty for nobody's."""
        return next((agent for agent, number in self._given.agents.items() if number == uid), "")

    def _save(self, given: _Given) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(dir=self._path.parent, prefix=".uids-")  # 0600
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(given)))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise UserError(
                f"cannot write the users of the agents: {error.strerror}",
                where=str(self._path),
                hint="export OPENCLAW_STATE_DIR=$HOME/.openclaw",
            ) from None


def _mapped(name: str) -> bool:
    """Whether our range exists in this user namespace (user_namespaces(7)): lines of inside, outside, length."""
    try:
        lines = Path("/proc/self", name).read_text().splitlines()
    except OSError:
        return False
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= BASE and first + length >= BASE + MOST for first, _, length in ranges)


def _capable() -> bool:
    status = Path("/proc/self/status").read_text()
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return all(held & (1 << number) for number in _CAPABILITIES)
