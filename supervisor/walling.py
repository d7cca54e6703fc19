"""The walls of all agents of one reading of the configuration: what the machine allows, whom each agent runs as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from protocol.config import AgentLimits
from protocol.paths import Paths
from protocol.slices import Limits, Walls, WorkerSlice
from supervisor.config.places import config_copies
from supervisor.config.walls import Owner, limits_for, walls_for
from supervisor.ground import survey
from supervisor.uids import Uids, owner_of


class Walling:
    """Made once for a whole reading. Where agents cannot have users of their own, everybody keeps ours."""

    def __init__(self, paths: Paths, agents: Iterable[str]) -> None:
        """Gives new agents their uids on disk. Raises UserError."""
        self._ground = survey()
        self._paths = paths
        uids = Uids(paths.databases / "uids.json") if self._ground.uids else None
        self._given: Mapping[str, Owner] = uids.give(agents) if uids else {}

    def limits(self, own: AgentLimits | None, shared: AgentLimits | None) -> Limits:
        """What one agent may use, by its entry and by `agents.defaults`."""
        return limits_for(self._ground, own, shared)

    def walls(self, told: WorkerSlice, limits: Limits) -> Walls:
        """The walls of one agent's host worker; its uid and gid are in them, 0 for the gateway's own."""
        owner = Owner()
        if given := self._given.get(told.agent):
            owner = owner_of(Path(told.workspace), self._paths.state, given)
        copies = config_copies(self._paths.config)
        return walls_for(told, self._ground, owner, str(self._paths.state), copies, limits.pids)
