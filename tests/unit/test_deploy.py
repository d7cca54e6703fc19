"""What lies in deploy/ is what this product reads and runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from protocol.paths import Paths
from supervisor.config.load import load

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_example_configuration_is_valid_as_written(tmp_path: Path) -> None:
    state = tmp_path / ".openclaw"
    state.mkdir(mode=0o700)
    shutil.copy(DEPLOY / "openclaw.example.json5", state / "openclaw.json")
    (state / "openclaw.json").chmod(0o600)
    names = ("CLIENT_A_KEY", "CLIENT_B_KEY", "CLIENT_A_BOT", "CLIENT_B_BOT")
    environ = {"HOME": str(tmp_path)} | {
        name: f"{number}:{name.lower()}-secret" for number, name in enumerate(names, 1)
    }
    loaded = load(Paths.from_environ(environ), environ)
    assert loaded.warnings == ()
    assert [agent.id for agent in loaded.config.agents.list] == ["main", "client-a", "client-b"]


def test_the_unit_runs_the_command_and_respects_its_exit_code() -> None:
    unit = (DEPLOY / "openclaw-gateway.service").read_text()
    assert re.search(r"^ExecStart=\S+/openclaw gateway run$", unit, re.MULTILINE)
    assert "RestartPreventExitStatus=78" in unit


def test_the_unit_has_what_walls_need() -> None:
    """A control group that is ours to divide; and as root the capabilities without which agents have no users."""
    unit = (DEPLOY / "openclaw-gateway.service").read_text()
    assert re.search(r"^Delegate=yes$", unit, re.MULTILINE)
    listed = re.search(r"^#CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    needed = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SYS_ADMIN", "SYS_PTRACE"]
    assert listed is not None and listed[1].split() == [f"CAP_{name}" for name in needed]
