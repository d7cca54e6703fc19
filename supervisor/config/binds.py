"""Binds of containers against the disk as it is: symbolic links are followed before anything is decided.

Asked when the configuration is read, and again right before a container is made: what a link points at may change in
between. The second time the resolved path is what Docker is given.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator

from protocol.config import Config, Sandbox
from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from protocol.paths import Paths
from protocol.sandbox import workspace_folder
from supervisor.config import agents as roster
from supervisor.config.bind_rules import Guarded, inside, normal, parse_bind, refusal, system_paths, upwards
from supervisor.config.problems import Problem, dotted

WHY = "Mounting system directories, the gateway's files or a container engine's socket into a sandbox is not allowed."
HINT = "use a folder of a project, e.g. /home/user/project:/project:ro"
NEW_PLACE = "use a folder of its own, e.g. ~/.openclaw/workspace-<agentId>"


def guarded(config: Config, paths: Paths) -> Guarded:
    """Everything that is not just anybody's, as written and where its links lead."""
    return Guarded.of((place, agent) for path, agent in _places(config, paths) for place in _both(path))


def refuse_bind(bind: str, places: Guarded, agents: Iterable[str], paths: Paths, *, reading: bool = False) -> str:
    """Why a container that holds these agents may not be given this bind; empty when it may. Looks at the disk.

    `reading` is for when the configuration is read: then a link that an agent could have put there decides nothing.
    """
    parsed = parse_bind(bind)
    if isinstance(parsed, str):
        return f'Sandbox security: bind mount "{bind}": {parsed}'
    source, who = str(paths.expand(parsed.source)), frozenset(agents)
    seen = _by_operator(source, places) if reading else _both(source)
    found = next((text for place in seen if (text := refusal(place, places, who))), "")
    return f'Sandbox security: bind mount "{bind}" {found}. {WHY}' if found else ""


def resolved_bind(bind: str, places: Guarded, agents: Iterable[str], paths: Paths) -> tuple[str, str, bool]:
    """Source (links followed), target, and whether it is read-only. Raises UserError for a bind that is refused."""
    parsed = parse_bind(bind)
    if (problem := refuse_bind(bind, places, agents, paths)) or isinstance(parsed, str):
        raise UserError(problem, where="$.agents.…sandbox.docker.binds", hint=HINT)
    return os.path.realpath(paths.expand(parsed.source)), parsed.target, parsed.read_only


def problems(config: Config, paths: Paths) -> Iterator[Problem]:
    """Every refused bind of a configuration. One of the defaults is for everybody."""
    defaults = config.agents.defaults
    shared = _binds(defaults.sandbox if defaults else None)
    own = [(index, normalize_agent_id(one.id), _binds(one.sandbox)) for index, one in enumerate(config.agents.list)]
    boxed = [agent for agent in roster.agent_ids(config) if roster.sandbox(config, agent).mode != "off"]
    if not boxed and not shared and not any(binds for _, _, binds in own):
        return
    places, everybody = guarded(config, paths), roster.agent_ids(config)
    yield from _refused(shared, ("agents", "defaults"), places, everybody, paths)
    for index, agent, binds in own:
        yield from _refused(binds, ("agents", "list", index), places, (agent,), paths)
    yield from _workspaces(config, paths, places, boxed)


def _workspaces(config: Config, paths: Paths, places: Guarded, boxed: Iterable[str]) -> Iterator[Problem]:
    """What a sandbox mounts by itself is a bind, too: a workspace that is somebody's home shows all that is in it."""
    at = {normalize_agent_id(one.id): index for index, one in reversed(list(enumerate(config.agents.list)))}
    for agent in boxed:
        settings, mine = roster.sandbox(config, agent), frozenset({agent})
        where = dotted(("agents", "list", at[agent])) if agent in at else "agents.defaults"
        if settings.workspace_access != "none":
            folder = str(roster.workspace(config, paths, agent))
            found = next((text for place in _by_operator(folder, places) if (text := refusal(place, places, mine))), "")
            if found:
                yield Problem(f"{where}.workspace", f'Sandbox security: workspace "{folder}" {found}. {WHY}', NEW_PLACE)
        if root := (settings.workspace_root or "").strip():
            # Of a root only the folder of one sandbox is mounted, but where all share it.
            folder = str(paths.expand(workspace_folder(root, settings.scope, f"agent:{agent}")))
            outside = not any(inside(place, str(paths.sandboxes)) for place in _both(folder))
            found = next((text for place in _both(folder) if outside and (text := refusal(place, places, mine))), "")
            if found:
                text = f'Sandbox security: workspaceRoot "{folder}" {found}. {WHY}'
                yield Problem(f"{where}.sandbox.workspaceRoot", text, NEW_PLACE)


def _refused(
    binds: list[str], at: tuple[str | int, ...], places: Guarded, agents: Iterable[str], paths: Paths
) -> Iterator[Problem]:
    for index, bind in enumerate(binds):
        # What has the wrong form is told where forms are looked at.
        if not isinstance(parse_bind(bind), str) and (text := refuse_bind(bind, places, agents, paths, reading=True)):
            yield Problem(dotted((*at, "sandbox", "docker", "binds", index)), text, HINT)


def _binds(sandbox: Sandbox | None) -> list[str]:
    listed = ((sandbox and sandbox.docker) or {}).get("binds")
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []


def _places(config: Config, paths: Paths) -> Iterator[tuple[str, str]]:
    yield from ((path, "") for path in system_paths(paths))
    for agent in roster.agent_ids(config):
        yield str(roster.workspace(config, paths, agent)), agent
        yield str(roster.agent_dir(config, paths, agent)), ""
        yield str(roster.sessions_dir(config, paths, agent)), ""


def _by_operator(path: str, places: Guarded) -> tuple[str, ...]:
    """As `_both`; but below a workspace its agent chooses where links lead, and one agent must not be able to make the
    whole configuration invalid. There only the path as written counts, until a container is made."""
    above = upwards(posixpath.dirname(normal(path)))
    return (normal(path),) if any(places.owners.get(one) for one in above) else _both(path)


def _both(path: str) -> tuple[str, ...]:
    """The path as it stands, and what it is when every link of its existing part has been followed."""
    return tuple(dict.fromkeys((os.path.normpath(path), os.path.realpath(path))))
