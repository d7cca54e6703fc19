"""The walls of all agents of one reading of the configuration: what the machine allows, whom each agent runs as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from protocol.paths import Paths
from protocol.slices import Walls, WorkerSlice
from supervisor.config.places import config_copies
from supervisor.config.walls import Ground, Owner, walls_for
from supervisor.ground import survey
from supervisor.uids import Uids, owner_of


class Walling:
    """Made once for a whole reading. Where agents cannot have users of their own, everybody keeps ours."""

    def __init__(self, paths: Paths, agents: Iterable[str], ground: Ground | None = None) -> None:
        """Gives new agents their uids on disk. Raises UserError."""
        self.ground = ground or survey()
        self._paths = paths
        uids = Uids(paths.databases / "uids.json") if self.ground.uids else None
        self._given: Mapping[str, Owner] = uids.give(agents) if uids else {}

    def walls(self, told: WorkerSlice) -> Walls:
        """The walls of one agent's host worker; its uid and gid are in them, 0 for the gateway's own."""
        owner = Owner()
        if given := self._given.get(told.agent):
            owner = owner_of(Path(told.workspace), self._paths.state, given)
        return walls_for(told, self.ground, owner, str(self._paths.state), config_copies(self._paths.config))
