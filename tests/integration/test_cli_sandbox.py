"""`openclaw sandbox` without a gateway, with a real Docker Engine: what it lists, removes, refuses and explains."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.sandbox.spec import owner_of
from tests.integration.test_cli import Home
from tests.support.docker_engine import DockerEngine

pytestmark = pytest.mark.timeout(180)

CONFIG = """{ agents: { list: [
  { id: "personal" },
  { id: "family", sandbox: { mode: "all" }, tools: { allow: ["read"] } },
] } }"""
NOWHERE = "unix:///nonexistent/docker.sock"


class Yard:
    """Containers that look like ours, on a real daemon."""

    def __init__(self, engine: DockerEngine, home: Home) -> None:
        self.client = engine.client()
        self.image = engine.base
        self.home = home
        self.made: list[str] = []

    def make(self, name: str, key: str, *, owner: str = "") -> str:
        labels = {
            "openclaw.sandbox": "1",
            "openclaw.owner": owner or owner_of(self.home.state),
            "openclaw.sessionKey": key,
            "openclaw.createdAtMs": "1700000000000",
            "openclaw.configHash": "h",
            "openclaw.agents": key.split(":")[1],
        }
        made = self.client.create_container(self.image, ["true"], name=name, labels=labels)["Id"]
        self.made.append(made)
        return str(made)

    def names(self) -> set[str]:
        return {one["Names"][0].lstrip("/") for one in self.client.containers(all=True) if one["Id"] in self.made}

    def close(self) -> None:
        for one in self.client.containers(all=True):
            if one["Id"] in self.made:
                self.client.remove_container(one["Id"], force=True)
        self.client.close()


@pytest.fixture
def yard(docker_engine: DockerEngine, tmp_path: Path) -> Iterator[Yard]:
    home = Home(tmp_path)
    home.environ["DOCKER_HOST"] = docker_engine.host
    home.write(CONFIG)
    made = Yard(docker_engine, home)
    yield made
    made.close()


def listed(home: Home) -> dict[str, Any]:
    result = home.run("sandbox", "list", "--json")
    assert result.code == 0, result
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_a_state_folder_lists_and_removes_its_own_containers_only(yard: Yard) -> None:
    """By label: those of another gateway on the same machine are not even seen."""
    mark = uuid.uuid4().hex[:8]
    first, second, foreign = (f"oc-{mark}-{name}" for name in ("family", "work", "foreign"))
    id_ = yard.make(first, "agent:family")
    yard.make(second, "agent:work")
    yard.make(foreign, "agent:family", owner="somebody-else")
    found = listed(yard.home)
    assert [one["containerName"] for one in found["containers"]] == [first, second]
    one = found["containers"][0]
    assert (one["sessionKey"], one["running"], one["createdAtMs"]) == ("agent:family", False, 1_700_000_000_000)
    assert (one["containerId"], one["configHash"], one["configMatch"]) == (id_, "h", None)
    text = yard.home.run("sandbox", "list").out
    assert f"{first}\n  status: stopped (Created)\n  backend: docker\n" in text and "Total: 2 (0 running)" in text

    refused = yard.home.run("sandbox", "recreate", "--agent", "family")
    assert (refused.code, yard.names()) == (1, {first, second, foreign})
    assert "aborted: nothing was removed" in refused.err
    done = yard.home.run("sandbox", "recreate", "--agent", "family", "--force")
    assert (done.code, yard.names()) == (0, {second, foreign})
    assert done.out == "Removed 1 container; they come back with the next message.\n"
    assert yard.home.run("sandbox", "recreate", "--session", "agent:work", "--force").code == 0
    assert yard.names() == {foreign}
    none = yard.home.run("sandbox", "recreate", "--all")
    assert (none.code, none.out) == (0, "No sandbox runtimes found matching the criteria.\n")
    assert yard.home.run("sandbox", "list").out == "No sandbox runtimes found.\nTotal: 0 (0 running)\n"


def test_without_docker_the_error_says_so(tmp_path: Path) -> None:
    """One error, one hint, exit code 1; doctor names who does not start."""
    home = Home(tmp_path)
    home.write(CONFIG)
    result = home.run("sandbox", "list", DOCKER_HOST=NOWHERE)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("error: ") and "hint: " in result.err and "Traceback" not in result.err
    report = json.loads(home.run("doctor", "--json", DOCKER_HOST=NOWHERE).out)
    (found,) = [one for one in report["findings"] if one["check"] == "sandboxes"]
    assert found["level"] == "error" and "sandboxed agents do not start: family" in found["message"]
    assert found["hint"]


def test_a_missing_image_is_told_before_anybody_waits_for_it(yard: Yard) -> None:
    """And one that is there is asked which worker it holds."""
    missing = CONFIG.replace('mode: "all"', 'mode: "all", docker: { image: "oc-nowhere/nothing:1" }')
    yard.home.write(missing)
    report = json.loads(yard.home.run("doctor", "--json").out)
    (found,) = [one for one in report["findings"] if one["check"] == "sandboxes"]
    assert "the image oc-nowhere/nothing:1 is not here; these agents do not start: family" in found["message"]
    yard.home.write(missing.replace("oc-nowhere/nothing:1", yard.image))
    report = json.loads(yard.home.run("doctor", "--json").out)
    (found,) = [one for one in report["findings"] if one["check"] == "sandboxes"]
    assert found["level"] == "note" and "is not built from ours" in found["message"]


def test_which_one_has_to_be_said(tmp_path: Path) -> None:
    """The words of the original."""
    result = Home(tmp_path).run("sandbox", "recreate")
    assert result.code == 1
    assert result.err.startswith("error: Please specify --all, --session <key>, or --agent <id>\n")


def test_why_is_this_blocked(tmp_path: Path) -> None:
    """The key that takes the tool away, and that nothing is known of what runs without a gateway."""
    home = Home(tmp_path)
    home.write(CONFIG)
    result = home.run("sandbox", "explain", "--agent", "family", "--tool", "exec")
    assert result.code == 0
    assert "  exec: blocked by agents.list[1].tools (not in the list of what is allowed)\n" in result.out
    assert "  runtime: sandboxed (mode all: every session runs in a sandbox)\n" in result.out
    assert "  not known: gateway not running (no control socket); no worker runs without one\n" in result.out
    found = json.loads(home.run("sandbox", "explain", "--session", "agent:personal:main", "--json").out)
    assert (found["agentId"], found["sandbox"]["sessionIsSandboxed"], found["live"]["proven"]) == (
        "personal",
        False,
        None,
    )
    unknown = home.run("sandbox", "explain", "--agent", "nobody")
    assert unknown.code == 1 and 'Unknown agent id "nobody"' in unknown.err


def test_isolation_needs_a_gateway(tmp_path: Path) -> None:
    """Nothing can be proved of what does not run."""
    home = Home(tmp_path)
    home.write(CONFIG)
    result = home.run("doctor", "--isolation")
    assert result.code == 1 and result.err.startswith("error: gateway not running")
