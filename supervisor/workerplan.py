"""What one worker is: at which seat, told what, behind which walls, in which container. Pure.

An agent has one worker on the host, one in a container, both (mode non-main), or one for each session (scope session);
all of them are cut from its `AgentPlan`. Inside a container the same folders have other names: `_inside`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.config import ToolList
from protocol.paths import Paths
from protocol.sandbox import HOST, Placement, SandboxSettings, Seat, container_name, slug, workspace_folder
from protocol.slices import AgentLink, Limits, ToolRules, Walls, WorkerSlice
from supervisor.config.slices import LinkKeys
from supervisor.sandbox.spec import (
    AGENT_WORKSPACE,
    BOOT,
    LINK,
    PROXY,
    SESSIONS,
    WORKSPACE,
    ContainerSpec,
    Folder,
    Mount,
    owner_of,
)

#: Not in a sandbox whose agent may only read its own workspace (SPEC 5.8).
_READ_ONLY = ToolList(deny=("write", "edit", "apply_patch"))


class AgentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One agent. `slice` is what its worker on the host is told, link keys left out; `uid` 0 is the gateway's own."""

    slice: WorkerSlice
    placement: Placement
    sandbox: SandboxSettings
    tools: ToolRules
    uid: int = 0
    gid: int = 0
    walls: Walls = Walls()
    limits: Limits = Limits()

    @property
    def id(self) -> str:
        return self.slice.agent


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One worker. `folders` are made for it before its container is, that of its link last.

    In a container the engine sets the limits, but for that of the disk.
    """

    seat: Seat
    slice: WorkerSlice
    link: AgentLink
    uid: int = 0
    gid: int = 0
    walls: Walls = Walls()
    limits: Limits = Limits()
    container: ContainerSpec | None = None
    folders: tuple[Folder, ...] = ()

    @property
    def written(self) -> frozenset[str]:
        """The folders of this machine that it writes to."""
        if self.container is None:
            return frozenset((self.slice.workspace, self.slice.sessions))
        return frozenset(folder.path for folder in self.folders if not folder.is_link)


class Cutter:
    """Cuts workers from the agents of one configuration. `keys(seat)` are those of its link, always the same ones."""

    def __init__(
        self, agents: Mapping[str, AgentPlan], paths: Paths, keys: Callable[[Seat], LinkKeys], own: tuple[int, int]
    ) -> None:
        self._agents = agents
        self._paths = paths
        self._keys = keys
        self._own = own

    def __repr__(self) -> str:
        return f"Cutter({len(self._agents)} agents)"

    def fixed(self) -> dict[Seat, WorkerPlan]:
        """The workers that are there whatever sessions come."""
        seats = (Seat(agent, place) for agent, one in self._agents.items() for place in one.placement.fixed(agent))
        return {seat: self._cut(self._agents[seat.agent], seat, "") for seat in seats}

    def worker(self, seat: Seat, session_key: str) -> WorkerPlan | None:
        """The worker at this seat; None when that is not where this session of the agent is worked on."""
        agent = self._agents.get(seat.agent)
        if agent is None or agent.placement.place(seat.agent, session_key) != seat.place:
            return None
        return self._cut(agent, seat, session_key)

    def _cut(self, agent: AgentPlan, seat: Seat, session_key: str) -> WorkerPlan:
        keys = self._keys(seat)
        socket = str(self._paths.link_socket(seat.agent, seat.place))
        link = AgentLink(
            agent=seat.agent,
            place=seat.place,
            socket=socket,
            router_secret=keys.router_secret,
            router_public=keys.router_public,
            worker_public=keys.worker_public,
        )
        told = msgspec.structs.replace(
            agent.slice,
            place=seat.place,
            link_socket=socket,
            router_public=keys.router_public,
            worker_public=keys.worker_public,
            worker_secret=keys.worker_secret,
        )
        if seat.place == HOST:
            return WorkerPlan(
                seat=seat,
                slice=told,
                link=link,
                uid=agent.uid,
                gid=agent.gid,
                walls=agent.walls,
                limits=agent.limits,
            )
        key = agent.placement.scope_key(seat.agent, session_key)
        box = _Box(agent, seat.place, key, self._paths)
        uid, gid = self._user(agent)
        return WorkerPlan(
            seat=seat, slice=box.inside(told), link=link, uid=uid, gid=gid, container=self._container(agent, box, key),
            folders=box.folders(), limits=Limits(disk=agent.limits.disk),
        )  # fmt: skip

    def _container(self, agent: AgentPlan, box: _Box, key: str) -> ContainerSpec:
        docker, paths = agent.sandbox.docker, self._paths
        boxes = [_Box(one, box.place, key, paths) for one in self._sharing(agent)]
        name = container_name(str(docker["containerPrefix"]), agent.sandbox.scope, key)
        if agent.placement.tenant and box.shared:
            name = f"{name}-{slug(key)}"[:63]
        boot = str(paths.boot_folder(name))
        uid, gid = (0, 0) if box.shared else self._user(agent)
        # A busy container must leave processors to the others; who shares one has what the least bounded of them has.
        ceilings = [one.agent.limits.cpus for one in boxes]
        cpus = max(ceilings) if all(ceilings) else 0
        mounts = [mount for one in boxes for mount in one.mounts()]
        mounts += [Mount(source=str(paths.proxy_folder), target=PROXY), Mount(source=boot, target=BOOT)]
        return ContainerSpec(
            name=name,
            scope_key=key,
            agents=tuple(one.agent.id for one in boxes),
            image=str(docker["image"]),
            uid=uid,
            gid=gid,
            mounts=tuple(mounts),
            boot_folder=boot,
            owner=owner_of(paths.state),
            setup=setup_text(docker.get("setupCommand")),
            docker={"cpus": cpus, **_without(docker, "setupCommand", "image", "user")},
        )

    def _sharing(self, agent: AgentPlan) -> Iterator[AgentPlan]:
        if agent.sandbox.scope != "shared":
            yield agent
            return
        for other in self._agents.values():
            if other.placement.mode != "off" and (other.placement.scope, other.placement.tenant) == (
                agent.placement.scope, agent.placement.tenant
            ):  # fmt: skip
                yield other

    def _user(self, agent: AgentPlan) -> tuple[int, int]:
        """`docker.user` where it is numbers, else the agent's own uid, else ours."""
        uid, _, gid = str(agent.sandbox.docker.get("user") or "").partition(":")
        if agent.sandbox.scope != "shared" and uid.isdecimal() and int(uid) > 0:
            return int(uid), int(gid) if gid.isdecimal() else int(uid)
        return (agent.uid, agent.gid) if agent.uid else self._own


class _Box:
    """One agent's things in a container."""

    def __init__(self, agent: AgentPlan, place: str, key: str, paths: Paths) -> None:
        self.agent = agent
        self.place = place
        self.shared = agent.sandbox.scope == "shared"
        # In a container of several agents each has a folder of its own below the common one.
        self._under = f"/{agent.id}" if self.shared else ""
        self._access = agent.sandbox.workspace_access
        root = agent.sandbox.workspace_root
        self._root = str(paths.expand(root) if root else paths.sandboxes)
        self._key = f"agent:{agent.id}" if self.shared else key
        self._link = str(paths.link_folder(agent.id, place))

    @property
    def _workspace(self) -> str:
        if self._access == "rw":
            return self.agent.slice.workspace
        return workspace_folder(self._root, "agent", self._key)

    @property
    def _sessions(self) -> str:
        """The agent's own where every session of it is worked on here; else beside it: a sandboxed session must not
        read what was said elsewhere."""
        own = Path(self.agent.slice.sessions)
        only = self.agent.placement.fixed(self.agent.id) == (self.place,)
        return str(own if only else own.with_name(f"{own.name}-{self.place}"))

    def mounts(self) -> Iterator[Mount]:
        yield Mount(source=self._workspace, target=WORKSPACE + self._under, read_only=False)
        yield Mount(source=self._sessions, target=SESSIONS + self._under, read_only=False)
        yield Mount(source=self._link, target=LINK + self._under)
        if self._access == "ro":
            yield Mount(source=self.agent.slice.workspace, target=AGENT_WORKSPACE + self._under)

    def folders(self) -> tuple[Folder, ...]:
        seeded_from = "" if self._access == "rw" else self.agent.slice.workspace
        return (
            Folder(path=self.agent.slice.workspace),
            Folder(path=self._workspace, seeded_from=seeded_from),
            Folder(path=self._sessions),
            Folder(path=self._link, is_link=True),
        )

    def inside(self, told: WorkerSlice) -> WorkerSlice:
        """What the worker is told, with the names that things have in the container."""
        own = (self.agent.tools.inside, *((_READ_ONLY,) if self._access == "ro" else ()))
        return msgspec.structs.replace(
            told,
            workspace=WORKSPACE + self._under,
            agent_workspace=AGENT_WORKSPACE + self._under if self._access == "ro" else "",
            sessions=SESSIONS + self._under,
            link_socket=f"{LINK}{self._under}/{Path(told.link_socket).name}",
            proxy_socket=f"{PROXY}/{Path(told.proxy_socket).name}",
            tool_layers=(*told.tool_layers, *own),
            workspace_only=True,
            forbidden_paths=(),
            # What the operator mounted for it besides: `host:inside[:mode]`.
            allowed_paths=tuple(str(bind).split(":")[1] for bind in self.agent.sandbox.docker.get("binds") or ()),
        )


def _without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def setup_text(command: object) -> str:
    """`docker.setupCommand`: a text, or lines."""
    return "\n".join(map(str, command)) if isinstance(command, list | tuple) else str(command or "").strip()
