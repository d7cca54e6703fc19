"""Which folders an agent's tools may never touch, and what stays open inside of them.

The longest path that holds a file decides. So a few roots are enough, and they stay the same when an agent comes or
goes: with a list of everybody's folders each change of one agent would have to replace the workers of all.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from protocol.config import Config
from protocol.paths import Paths
from supervisor.config import agents
from supervisor.config.agents import agent_ids

#: Copies of the configuration beside it; in the state folder they are covered by its root.
_COPIES = ("", ".last-good", ".bak", ".bak.1", ".bak.2", ".bak.3", ".bak.4")


class Places:
    """The folders of all agents of one configuration; made once for a whole reading. Touches no disk."""

    def __init__(self, config: Config, paths: Paths) -> None:
        self._config = config
        self._paths = paths
        ids = agent_ids(config)
        self._workspaces = {one: str(agents.workspace(config, paths, one)) for one in ids}
        self._sessions = {one: str(agents.sessions_dir(config, paths, one)) for one in ids}
        self._dirs = {one: str(agents.agent_dir(config, paths, one)) for one in ids}
        everybody = {*self._workspaces.values(), *self._sessions.values(), *self._dirs.values()}
        self._sorted = sorted(everybody)
        roots = self._roots()
        outside = [place for place in self._sorted if not any(_inside(place, root) for root in roots)]
        self._common = (*roots, *self._config_files(), *outside)

    def allowed(self, agent: str, cross_agent: bool) -> tuple[str, ...]:
        """Its workspace, its sessions, shared skills; with `cross_agent` the workspaces of the others too."""
        others = self._workspaces.values() if cross_agent else ()
        found = (self._workspaces[agent], self._sessions[agent], *others, str(self._paths.state / "skills"))
        return tuple(dict.fromkeys(found))

    def forbidden(self, agent: str, cross_agent: bool) -> tuple[str, ...]:
        """Everybody's places and ours, but for what is allowed."""
        allowed = set(self.allowed(agent, cross_agent))
        nested = self._below(self._workspaces[agent])
        listed = dict.fromkeys((*self._common, *nested, self._dirs[agent]))
        return tuple(place for place in listed if place not in allowed)

    def _below(self, folder: str) -> list[str]:
        """Places inside of a workspace: that of the default agent may hold those of the others."""
        start = folder.rstrip("/") + "/"
        first = bisect_left(self._sorted, start)
        last = bisect_left(self._sorted, start + "\U0010ffff")
        return self._sorted[first:last]

    def _roots(self) -> list[str]:
        """The state folder, and where workspaces are made when the operator chose a place for them."""
        defaults = self._config.agents.defaults
        shared = ((defaults and defaults.workspace) or "").strip()
        return [str(self._paths.state), *([str(self._paths.expand(shared))] if shared else [])]

    def _config_files(self) -> list[str]:
        file: Path = self._paths.config
        return [] if file.is_relative_to(self._paths.state) else list(config_copies(file))


def config_copies(file: Path) -> tuple[str, ...]:
    """The configuration and everything beside it that was once the configuration."""
    return tuple(str(file) + end for end in _COPIES)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
