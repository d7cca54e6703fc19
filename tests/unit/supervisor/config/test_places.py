"""What an agent's file tools may touch, decided by the worker's own rules on what the supervisor tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.paths import Paths
from supervisor.config.load import evaluate
from supervisor.config.places import Places
from worker.tools.access import FileAccess
from worker.tools.base import ToolError

HOME = Path("/home/someone")
STATE = HOME / ".openclaw"


def places(**agents: Any) -> Places:
    paths = Paths.from_environ({"HOME": str(HOME)})
    return Places(evaluate({"agents": agents}, paths, {}).config, paths)


def may(found: Places, agent: str, path: Path | str, cross_agent: bool = False) -> bool:
    access = FileAccess(
        HOME / "x", forbidden=found.forbidden(agent, cross_agent), allowed=found.allowed(agent, cross_agent)
    )
    try:
        access.resolve(str(path), "access")
    except ToolError:
        return False
    return True


TWO = {"list": [{"id": "main"}, {"id": "work"}]}


@pytest.mark.parametrize("path", ["workspace-work/a", "agents/work/sessions/x.jsonl", "skills/git/SKILL.md"])
def test_an_agent_reaches_its_own_things(path: str) -> None:
    assert may(places(**TWO), "work", STATE / path)


@pytest.mark.parametrize(
    "path",
    [
        "workspace/a", "workspace-later/a", "agents/main/sessions/x.jsonl", "agents/main/agent/auth-profiles.json",
        "agents/work/agent/auth-profiles.json", "openclaw.json", "openclaw.json.bak", "openclaw.json.last-good",
        "credentials/x", "state/spool.sqlite", "run/control.sock", "logs/openclaw.log", ".env",
    ],
)  # fmt: skip
def test_an_agent_reaches_nothing_else_in_the_state_folder(path: str) -> None:
    assert not may(places(**TWO), "work", STATE / path)


def test_nobody_elses_rules_change_when_an_agent_comes() -> None:
    """So no other worker has to be replaced."""
    before, after = places(**TWO), places(list=[*TWO["list"], {"id": "later"}])
    for agent in ("main", "work"):
        assert before.forbidden(agent, False) == after.forbidden(agent, False)
        assert before.allowed(agent, False) == after.allowed(agent, False)


def test_a_workspace_elsewhere_is_closed_to_the_others_unless_they_may_cross() -> None:
    found = places(list=[{"id": "main", "workspace": "~/projects"}, {"id": "work", "workspace": "~/projects/work"}])
    assert may(found, "main", HOME / "projects/a") and not may(found, "main", HOME / "projects/work/a")
    assert may(found, "work", HOME / "projects/work/a") and not may(found, "work", HOME / "projects/a")
    assert may(found, "main", HOME / "projects/work/a", cross_agent=True)


def test_the_default_agents_folder_around_the_others_is_its_own_without_theirs() -> None:
    found = places(defaults={"workspace": "~/ws"}, list=[{"id": "main"}, {"id": "work"}])
    assert may(found, "main", HOME / "ws/a") and not may(found, "main", HOME / "ws/work/a")
    assert may(found, "work", HOME / "ws/work/a") and not may(found, "work", HOME / "ws/a")


def test_a_workspace_that_two_share_is_open_to_both() -> None:
    found = places(list=[{"id": "main", "workspace": "~/one"}, {"id": "work", "workspace": "~/one"}])
    assert may(found, "main", HOME / "one/a") and may(found, "work", HOME / "one/a")


def test_a_home_as_workspace_does_not_open_the_state_folder() -> None:
    found = places(list=[{"id": "main", "workspace": "~"}])
    assert may(found, "main", HOME / "notes") and not may(found, "main", STATE / "openclaw.json")
