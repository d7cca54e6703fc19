"""Checks of what walls are built from: Docker and its images, users, Landlock, control groups. Looks only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocol.messages import PROTOCOL_VERSION
from protocol.sandbox import DOCKER
from supervisor.cli.checkup.facts import Facts
from supervisor.cli.checkup.finding import Finding, error, note, warning
from supervisor.config import agents
from supervisor.config.walls import weaknesses
from supervisor.ground import survey


def boxed(facts: Facts) -> tuple[str, ...]:
    """Agents that ask for a sandbox."""
    return tuple(one for one in facts.agents if agents.sandbox(facts.settings.config, one).mode != "off")


def containers(facts: Facts) -> Iterator[Finding]:
    """Whether the sandboxes that are asked for can be had: an agent without its one does not start (it never falls
    back to the host)."""
    named = boxed(facts)
    if not named:
        return
    yield from _shared(facts, named)
    # The Docker package takes a third of a second to load; only who has sandboxes pays for it.
    from supervisor.sandbox.engine import Engine, EngineError

    engine = Engine()
    try:
        info = engine.now(lambda client: client.info())
        yield from _runtimes(facts, named, info.get("Runtimes") or {})
        for image in dict.fromkeys(_image(facts, one) for one in named):
            yield from _of_image(engine, image, [one for one in named if _image(facts, one) == image])
    except EngineError as problem:
        message, _, hint = str(problem).replace("; hint: ", "\nhint: ").partition("\nhint: ")
        listed = ", ".join(named)
        yield error(
            f"{message}; sandboxed agents do not start: {listed}", where=engine.host, hint=hint or "docker info"
        )
    finally:
        engine.close()


def ground(facts: Facts) -> Iterator[Finding]:
    """What this machine lacks for walls between workers on the host."""
    for text in weaknesses(survey(), os.geteuid() == 0):
        yield warning(text, hint="openclaw config set agents.defaults.sandbox.mode all")
    if os.geteuid() != 0:
        yield note("the gateway does not run as root: agents on the host share its user, Landlock stands between them")


def groups(facts: Facts) -> Iterator[Finding]:
    """Whether workers on the host really are in control groups of ours."""
    for one in facts.live.status.processes if facts.live.status else ():
        if one.kind == "worker" and one.pid and one.name == f"worker {one.agent}" and not _in_group(one.pid):
            text = f"{one.name} is in no control group of its own: only rlimits bound what it uses"
            yield warning(text, hint="systemctl edit openclaw-gateway  # Delegate=yes")


def _in_group(pid: int) -> bool:
    try:
        return "/openclaw-" in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return True


def _image(facts: Facts, agent: str) -> str:
    return str(agents.sandbox(facts.settings.config, agent).docker.get("image") or DOCKER["image"])


def _shared(facts: Facts, named: tuple[str, ...]) -> Iterator[Finding]:
    """Several workers in one container are kept apart by their users, which only root can give."""
    shared = [one for one in named if agents.sandbox(facts.settings.config, one).scope == "shared"]
    if shared and os.geteuid() != 0:
        text = f"scope shared needs a gateway that runs as root; these agents do not start: {', '.join(shared)}"
        yield error(text, hint="openclaw config set agents.defaults.sandbox.scope agent")


def _runtimes(facts: Facts, named: tuple[str, ...], known: dict[str, Any]) -> Iterator[Finding]:
    for agent in named:
        wanted = str(agents.sandbox(facts.settings.config, agent).docker.get("runtime") or "").strip()
        if wanted and wanted not in known:
            text = f"agent {agent} wants the OCI runtime {wanted}, Docker has {', '.join(sorted(known)) or 'none'}"
            yield error(text, hint="docker info --format '{{.Runtimes}}'")


def _of_image(engine: Any, image: str, named: list[str]) -> Iterator[Finding]:
    from supervisor.sandbox.engine import Gone, ImageMissing
    from supervisor.sandbox.images import PROTOCOL_LABEL, SOURCES_LABEL, labels

    hint = "openclaw sandbox build" if image == DOCKER["image"] else f"docker pull {image}"
    try:
        found = engine.now(lambda client: client.inspect_image(image), image=image)
    except (Gone, ImageMissing):
        yield error(f"the image {image} is not here; these agents do not start: {', '.join(named)}", hint=hint)
        return
    built = (found.get("Config") or {}).get("Labels") or {}
    version = built.get(PROTOCOL_LABEL)
    if version is None:
        yield note(f"the image {image} is not built from ours; it must hold the worker itself", hint=hint)
    elif version != str(PROTOCOL_VERSION):
        text = f"the image {image} holds a worker of protocol {version}, this gateway speaks {PROTOCOL_VERSION}"
        yield error(text, hint="openclaw sandbox build")
    elif built.get(SOURCES_LABEL) != labels()[SOURCES_LABEL]:
        yield warning(f"the image {image} holds the worker of another build than this one", hint=hint)
