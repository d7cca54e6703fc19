"""What a bind leads to is decided when the container is made, not when the configuration was read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from protocol.paths import Paths
from supervisor.plan import Plan, RunOptions, reader
from supervisor.sandbox.gate import Gate
from supervisor.sandbox.spec import ContainerSpec
from supervisor.spawners.base import SpawnError

CONFIG = """{ gateway: { mode: "local", auth: { token: "0123456789abcdef01234567" } }, agents: { list: [
  { id: "a" },
  { id: "b", sandbox: { mode: "all", docker: {
    binds: ["~/.openclaw/workspace-b/data:/data", "~/project:/project:ro"] } } },
] } }"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths.from_environ({"HOME": str(tmp_path)})
    (found.agent_workspace("b") / "data").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    found.default_workspace.mkdir()
    found.config.write_text(CONFIG)
    return found


def planned(paths: Paths) -> tuple[Plan, ContainerSpec]:
    plan = reader(paths, RunOptions(), {})()
    (spec,) = [worker.container for worker in plan.fixed.values() if worker.container is not None]
    return plan, spec


def test_binds_are_given_to_docker_as_they_are_now(paths: Paths) -> None:
    """The home filled in, links followed; everything else is left alone."""
    plan, spec = planned(paths)
    admitted = Gate(paths, lambda: plan).admit(spec)
    home = paths.home
    assert admitted.docker["binds"] == [f"{home}/.openclaw/workspace-b/data:/data:rw", f"{home}/project:/project:ro"]
    assert msgspec.structs.replace(admitted, docker=spec.docker) == spec
    bare = msgspec.structs.replace(spec, docker={"network": "none"})
    assert Gate(paths, lambda: plan).admit(bare) is bare


@pytest.mark.parametrize("secret", ["/etc", "~/.openclaw/workspace", "~/.openclaw/credentials", "~"])
def test_an_agent_that_puts_a_link_where_a_folder_was_gets_no_container(paths: Paths, secret: str) -> None:
    """The configuration was good when it was read."""
    plan, spec = planned(paths)
    place = paths.agent_workspace("b") / "data"
    place.rmdir()
    place.symlink_to(paths.expand(secret))
    with pytest.raises(SpawnError, match=r"Sandbox security: bind mount .* blocked path"):
        Gate(paths, lambda: plan).admit(spec)
