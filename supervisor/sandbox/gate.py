"""The last look at a container's binds before it is made: links may lead elsewhere by now.

An agent can put a link where a folder of its workspace was bound from. So the rule of `config.binds` is asked again,
and Docker is given the place that the link leads to now, not the link.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from protocol.config import Config
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config import binds
from supervisor.config.bind_rules import Guarded
from supervisor.plan import Plan
from supervisor.sandbox.spec import ContainerSpec
from supervisor.spawners.base import SpawnError


class Gate:
    """Asked for every container, by whoever makes or compares one."""

    def __init__(self, paths: Paths, plan: Callable[[], Plan]) -> None:
        self._paths = paths
        self._plan = plan
        self._known: tuple[str, Guarded] | None = None

    def admit(self, spec: ContainerSpec) -> ContainerSpec:
        """The same with the binds as they are on the disk now. Raises SpawnError for one that is refused."""
        listed = spec.docker.get("binds") or ()
        if not listed:
            return spec
        try:
            found = [self._resolved(bind, spec.agents) for bind in listed]
        except UserError as error:
            raise SpawnError(f"{error.message}; hint: openclaw config get agents") from None
        return msgspec.structs.replace(spec, docker={**spec.docker, "binds": found})

    def _resolved(self, bind: str, agents: tuple[str, ...]) -> str:
        source, target, read_only = binds.resolved_bind(bind, self._places(), agents, self._paths)
        return f"{source}:{target}:{'ro' if read_only else 'rw'}"

    def _places(self) -> Guarded:
        """Of the configuration as it is now; made once for each."""
        plan = self._plan()
        if self._known is None or self._known[0] != plan.digest:
            config = msgspec.convert(plan.values, Config)
            self._known = plan.digest, binds.guarded(config, self._paths)
        return self._known[1]
