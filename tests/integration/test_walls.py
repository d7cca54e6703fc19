"""The walls of a host worker, tried from behind them: as root with a user of its own, and as nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from protocol.slices import Bind, Walls
from supervisor.uids import BASE

ROOT = Path(__file__).parents[2]
#: Takes the walls as JSON, then runs a command behind them.
BEHIND = """
import ctypes, os, subprocess, sys
import msgspec
from protocol.slices import Walls
from worker import walls
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
os.umask(0o077)
told = msgspec.json.decode(sys.argv[1], type=Walls)
walls.enforce(told)
os.chdir(told.needed[0])
sys.exit(subprocess.run(["sh", "-c", sys.argv[2]]).returncode)
"""
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the walls of other users are built by root")


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="oc"))
    for name in ("workspace", "workspace-b", "agents/a/sessions", "run/w/a"):
        (folder / name).mkdir(parents=True)
    for name in ("openclaw.json", "workspace-b/secret"):
        (folder / name).write_text("secret")
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def attempt(state: Path, kind: str, script: str) -> subprocess.CompletedProcess[str]:
    own = tuple(str(state / name) for name in ("workspace", "agents/a/sessions"))
    link, uid = str(state / "run/w/a"), BASE + 7 if kind == "root" else 65534
    for path in (state, *state.rglob("*")) if kind != "root" else map(Path, own):
        os.chown(path, uid, uid)
    state.chmod(0o700)
    walls = Walls(needed=own, denied=(str(state),), readable=(link,), writable=own)
    if kind != "landlock":
        binds = (*(Bind(path=path, writable=True) for path in own), Bind(path=link))
        runtime = tuple(Bind(path=path) for path in (sys.base_prefix, sys.prefix, str(ROOT)))
        walls = Walls(needed=own, mounts="user", covers=(str(state),), binds=(*binds, *runtime))
        if kind == "root":
            walls = msgspec.structs.replace(walls, mounts="root", uid=uid, gid=uid)
    python = [sys.executable]
    if kind != "root":  # the interpreter of a test may lie where nobody else comes to
        python = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3"]
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    return subprocess.run(
        [*python, "-c", BEHIND, msgspec.json.encode(walls).decode(), script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{packages}", "STATE": str(state)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["root", "user", "landlock"])
def test_own_things_work_and_those_of_others_cannot_be_read(state: Path, kind: str) -> None:
    found = attempt(state, kind, "echo x > f && cat f && echo y > $STATE/agents/a/sessions/s && ls /usr >/dev/null")
    assert (found.returncode, found.stdout) == (0, "x\n"), found.stderr
    for secret in ("openclaw.json", "workspace-b/secret"):
        found = attempt(state, kind, f"cat $STATE/{secret}")
        assert found.returncode != 0
        assert "secret\n" not in found.stdout
    assert attempt(state, kind, "ls $STATE/workspace-b").returncode != 0
    assert attempt(state, kind, "touch $STATE/run/w/a/mine").returncode != 0


@pytest.mark.parametrize("kind", ["root", "user", "landlock"])
@pytest.mark.parametrize(
    "attack",
    [
        "kill -0 1",
        "head -c 1 /proc/1/environ",
        "head -c 1 /proc/$PPID/environ",
        "ls /proc/1/root/",
        "umount -l $STATE",
        "unshare -Urm umount $STATE",
    ],
)
def test_other_processes_and_the_walls_themselves_are_out_of_reach(state: Path, kind: str, attack: str) -> None:
    assert attempt(state, kind, attack).returncode != 0
