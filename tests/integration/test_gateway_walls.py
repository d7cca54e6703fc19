"""Agents on the host against each other and against the gateway, by commands that really run: under a gateway of root,
under one of an ordinary user, and under one of a user who may not make namespaces, so that Landlock is all there is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor import cgroups
from tests.support.gateway import ROOT, Gateway

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start a gateway as somebody else"),
    pytest.mark.timeout(180),
]
NOBODY = 65534
#: An interpreter that is not in root's home.
PYTHON = "/usr/bin/python3"
PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
VARIABLES = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
#: The same user in a user namespace in which no other one can be made.
CONFINED = (
    *AS_NOBODY, "unshare", "--user", "--keep-caps", "--map-current-user", "sh", "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"', "sh",
)  # fmt: skip
TYPED = (*AS_NOBODY, PYTHON, "-m", "supervisor.cli.main")
#: Says nothing but "DONE" in case somebody answers.
KNOCK = """
import json, socket
with socket.socket(socket.AF_UNIX) as knock:
    knock.settimeout(10)
    knock.connect(json.load(open("told.json")))
    try:
        knock.sendall(b"\\0\\0\\0\\x15" + b'{"type":"GetStatus"}!')
        print("DONE" if knock.recv(1) else "refused")
    except OSError:
        print("refused")
"""
SECRET = "not-for-others"
#: Reads, changes and ends whatever it is told to, and says what it could do.
ATTACK = """
import errno, json, os, signal, socket, sys
told, done = json.load(open("told.json")), []

def attempt(name, action):
    try:
        result = action()
    except OSError as error:
        return
    if result:
        done.append(name)

for path in told["paths"]:
    for way in (path, "/proc/self/root" + path, f"/proc/{told['pids'][0]}/root{path}"):
        attempt(f"read {way}", lambda: open(way, "rb").read(20))
        attempt(f"list {way}", lambda: os.listdir(way))
        attempt(f"append {way}", lambda: open(way, "ab"))
        attempt(f"remove {way}", lambda: os.unlink(way) is None)
    attempt(f"link {path}", lambda: os.link(path, "stolen") is None)
    attempt(f"move {path}", lambda: os.rename(path, "stolen") is None)
for pid in told["pids"]:
    for number in (0, signal.SIGKILL):
        attempt(f"signal {number} to {pid}", lambda: os.kill(pid, number) is None)
    for name in ("environ", "mem", "maps"):
        attempt(f"{name} of {pid}", lambda: open(f"/proc/{pid}/{name}", "rb").read(1))
for path in told["sockets"]:
    attempt(f"connect {path}", lambda: socket.socket(socket.AF_UNIX).connect(path) is None)
open("own", "w").write("x")
print("DONE" + json.dumps(done))
"""


class Rooted(Gateway):
    """As root starts it."""

    python = sys.executable

    @property
    def workspace(self) -> Path:
        return self.state / "workspace"

    def hand_over(self) -> None:
        """Its files, written by the test, become its own."""

    async def ask(self, agent: str, text: str) -> str:
        ran = await self.run("agent", "--agent", agent, "-m", text)
        return ran.out + ran.err

    async def status(self, name: str) -> dict[str, Any]:
        """What `gateway status` says of one process."""
        told = json.loads((await self.run("gateway", "status", "--json")).out)
        found: dict[str, Any] = next(one for one in told["processes"] if one["name"] == name)
        return found


@pytest.fixture(params=["root", "nobody", "landlock"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Rooted]:
    kind = {"root": Rooted, "nobody": Unprivileged, "landlock": Confined}[request.param]
    async with _made(kind) as made:
        yield made


@pytest.fixture
async def confined() -> AsyncIterator[Rooted]:
    async with _made(Confined) as made:
        yield made


@asynccontextmanager
async def _made(kind: type[Rooted]) -> AsyncIterator[Rooted]:
    if issubclass(kind, Unprivileged) and not _nobody_has_a_python():
        pytest.skip("no interpreter that nobody can start")
    async with kind() as made:
        made.write(config())
        made.hand_over()
        yield made


@pytest.fixture
async def rooted() -> AsyncIterator[Rooted]:
    async with Rooted() as made:
        groups = cgroups.find(made.state)
        if groups is None:
            pytest.skip("no control groups here")
        groups.close()
        yield made


def _nobody_has_a_python() -> bool:
    command = [*AS_NOBODY, PYTHON, "-c", "import msgspec, zmq, aiohttp, worker.agent"]
    return (
        os.path.exists(PYTHON)
        and subprocess.run(command, env=VARIABLES, capture_output=True, check=False).returncode == 0
    )


class Unprivileged(Rooted):
    """As an ordinary user starts it."""

    python = PYTHON
    command = [*TYPED, "gateway", "run"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(environ=VARIABLES)

    def hand_over(self) -> None:
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)

    async def ask(self, agent: str, text: str) -> str:
        return await self._typed("agent", "--agent", agent, "-m", text)

    async def status(self, name: str) -> dict[str, Any]:
        told = json.loads(await self._typed("gateway", "status", "--json"))
        found: dict[str, Any] = next(one for one in told["processes"] if one["name"] == name)
        return found

    async def _typed(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *TYPED, *arguments, env=self.environ, cwd=self.home, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return (out + (err if process.returncode else b"")).decode()


class Confined(Unprivileged):
    """As a user starts it who may make no user namespace."""

    command = [*CONFINED, *TYPED[len(AS_NOBODY) :], "gateway", "run"]  # noqa: RUF012


def config(**limits: Any) -> dict[str, Any]:
    return {"agents": {"list": [{"id": "main", "limits": limits}, {"id": "other"}]}}


async def until(fact: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.05)


async def started(gateway: Rooted) -> None:
    await gateway.start()
    await until(lambda: bool(gateway.pid("worker main") and gateway.pid("worker other")))


def give(folder: Path, name: str, text: str) -> None:
    """A file in a workspace, its owner's."""
    (folder / name).write_text(text)
    found = folder.stat()
    os.chown(folder / name, found.st_uid, found.st_gid)


def secrets_of(gateway: Gateway) -> list[Path]:
    """The gateway's own files and another agent's, each with something to be read in it."""
    state = gateway.state
    made = [
        state / "workspace-other/secret",
        state / "agents/other/sessions/secret.jsonl",
        state / "agents/other/agent/auth-profiles.json",
        state / "agents/main/agent/auth-profiles.json",
        state / "credentials/secret",
        state / "openclaw.json.bak",
        state / ".env",
    ]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}" if path.suffix == ".json" else f"X={SECRET}\n")
        path.chmod(0o600)
        os.chown(path, *(getattr(state.stat(), name) for name in ("st_uid", "st_gid")))
    return [*made, state / "openclaw.json", *(path for path in (state / "state").rglob("*") if path.is_file())]


async def test_what_is_not_its_own_is_out_of_reach_and_its_own_is_not(gateway: Rooted) -> None:
    await started(gateway)
    secrets = secrets_of(gateway)
    assert any(path.name.startswith("spool") for path in secrets)
    pids = [gateway.pid(name) for name in ("supervisor", "router", "cliproxy", "worker other")]
    assert all(pids)
    own_tree = len({os.readlink(f"/proc/{pid}/ns/mnt") for pid in (pids[0], gateway.pid("worker main"))}) == 2
    assert own_tree is not isinstance(gateway, Confined)
    sockets = [path for path in (gateway.state / "run").rglob("*") if path.is_socket()]
    assert [path for path in sockets if path.name == "control.sock"]
    own = [path for path in sockets if "main" in str(path.relative_to(gateway.state)) or "proxy" in str(path)]
    mine = str(gateway.workspace / "mine")
    told = {
        "paths": list(map(str, [mine, *secrets, gateway.state / "workspace-other", gateway.state / "credentials"])),
        "pids": pids,
        # No Landlock of today keeps a user's own sockets from him: see the next test.
        "sockets": [] if isinstance(gateway, Confined) else [str(path) for path in sockets if path not in own],
    }
    give(gateway.workspace, "mine", "its own")
    give(gateway.workspace, "attack.py", ATTACK)
    give(gateway.workspace, "told.json", json.dumps(told))
    answer = await gateway.ask("main", f"/run {gateway.python} attack.py && cat own")
    done = json.loads(answer.partition("DONE")[2].partition("\n")[0])
    assert f"read {mine}" in done and f"remove {mine}" in done
    assert [one for one in done if not one.endswith(mine)] == []
    assert (gateway.workspace / "own").read_text() == "x"
    assert pids == [gateway.pid(name) for name in ("supervisor", "router", "cliproxy", "worker other")]
    assert all(path.exists() for path in secrets if "state/state" not in str(path))


async def test_the_operators_socket_is_refused_to_an_agent_and_told_with_its_name(confined: Rooted) -> None:
    await started(confined)
    give(confined.workspace, "knock.py", KNOCK)
    give(confined.workspace, "told.json", json.dumps(str(confined.state / "run/control.sock")))
    answer = await confined.ask("main", f"/run {confined.python} knock.py")
    assert "refused" in answer, answer
    assert "(openclaw: worker main) of this gateway" in confined.output()


async def test_the_file_tools_are_held_as_commands_are(gateway: Rooted) -> None:
    await started(gateway)
    secrets_of(gateway)
    answer = await gateway.ask("main", f"/read {gateway.state}/workspace-other/secret")
    assert SECRET not in answer


async def test_what_left_its_session_and_its_environment_ends_with_its_worker(gateway: Rooted) -> None:
    await started(gateway)
    mark = f"8639{gateway.port}"
    await gateway.ask("main", f"/run setsid env -i /bin/sleep {mark} >/dev/null 2>&1 & sleep 0.3")

    def running() -> bool:
        return any(mark in (one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))

    assert running()
    assert gateway.kill("worker main")
    await until(lambda: not running())


async def test_a_fork_bomb_does_not_keep_another_agent_from_answering(rooted: Rooted) -> None:
    rooted.write(config(pids=60))
    await started(rooted)
    async with rooted.meanwhile("agent", "--agent", "main", "-m", "/run b() { b | b & b; }; b"):
        for number in range(3):
            assert f"here {number}" in await rooted.ask("other", f"/run echo here {number}")
        assert (await rooted.status("worker other"))["restarts"] == 0


async def test_a_worker_whose_agent_took_too_much_memory_is_told_as_out_of_memory(rooted: Rooted) -> None:
    rooted.write(config(memory="220m"))
    await started(rooted)
    # Each far less than the worker has, which the kernel therefore chooses; all together more than the agent may.
    each = "(head -c 8000000 /dev/zero; sleep 60) | tail & "
    async with rooted.meanwhile("agent", "--agent", "main", "-m", f"/run {each * 40} wait"):
        await until(lambda: any(report["out_of_memory"] for report in crashes(rooted)), 60)
        (report, *_) = (one for one in crashes(rooted) if one["out_of_memory"])
        assert report["name"] == "worker main"
        assert "out of memory" in report["ended"]
        assert "here" in await rooted.ask("other", "/run echo here")
        assert (await rooted.status("worker other"))["restarts"] == 0


def crashes(gateway: Gateway) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((gateway.state / "run/records").glob("crash-*.json"))]
