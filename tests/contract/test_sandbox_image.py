"""The real image under the real profile: what a worker and its tools need works, what they must not do is refused."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import UserError
from protocol.messages import PROTOCOL_VERSION
from supervisor.config.version import VERSION
from supervisor.sandbox import images, profile, seccomp
from supervisor.sandbox.profile import COMMAND
from tests.support.docker_engine import DockerEngine, wheels

ROOT = Path(__file__).parents[2]
CALLS = (ROOT / "tests/support/inside_calls.py").read_text()
UID = 2_000_000_007
#: With these the kernel itself would refuse little, so what is refused is refused by the profile.
CAPABILITIES = (
    *("SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_BOOT", "SYS_RAWIO", "SYS_TIME", "SYS_CHROOT", "SYS_NICE", "SYSLOG"),
    *("SYS_PACCT", "SYS_TTY_CONFIG", "NET_ADMIN", "NET_RAW", "MKNOD", "DAC_READ_SEARCH", "AUDIT_CONTROL"),
)


@pytest.fixture(scope="module")
def client(docker_engine: DockerEngine) -> Iterator[Any]:
    opened = docker_engine.client()
    yield opened
    opened.close()


class Inside:
    """Runs one command in a container of its own, as strict as a sandbox."""

    def __init__(self, client: Any, image: str) -> None:
        self._client, self._image = client, image

    def run(self, *words: str, user: str = f"{UID}:{UID}", caps: Sequence[str] = ()) -> tuple[int, str]:
        """Exit code and what it said."""
        host = self._client.create_host_config(
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": "rw,nosuid,nodev,noexec,size=64m"},
            cap_drop=["ALL"],
            cap_add=list(caps),
            security_opt=["no-new-privileges", f"seccomp={seccomp.profile()}"],
            init=True,
            pids_limit=128,
            mem_limit="512m",
        )
        made = self._client.create_container(
            self._image, entrypoint=list(words), user=user, working_dir="/tmp", host_config=host
        )
        try:
            self._client.start(made["Id"])
            code = int(self._client.wait(made["Id"])["StatusCode"])
            return code, self._client.logs(made["Id"]).decode(errors="replace")
        finally:
            self._client.remove_container(made["Id"], force=True)

    def python(self, program: str, **options: Any) -> str:
        """The output of a program that must end well, in the worker's own Python."""
        code, said = self.run(COMMAND[0], "-P", "-c", program, **options)
        assert code == 0, said
        return said


@pytest.fixture(scope="module")
def inside(client: Any, docker_engine: DockerEngine) -> Inside:
    return Inside(client, docker_engine.image)


# --- the image ---------------------------------------------------------------------------------------------------


def test_any_user_can_load_a_worker_from_it(inside: Inside) -> None:
    program = "import worker.container, worker.service, zmq, aiohttp, msgspec, setproctitle, os; print(os.getuid())"
    for uid in (UID, 1000):
        assert inside.python(program, user=f"{uid}:{uid}").split() == [str(uid)]


def test_it_starts_the_worker_by_itself(client: Any, docker_engine: DockerEngine) -> None:
    settings = client.inspect_image(docker_engine.image)["Config"]
    assert tuple(settings["Entrypoint"]) == COMMAND
    assert settings["User"] == "65534:65534", "whoever forgets to name a user is nobody"
    known = {images.VERSION_LABEL: VERSION, images.PROTOCOL_LABEL: str(PROTOCOL_VERSION)}
    assert {name: settings["Labels"][name] for name in known} == known
    assert len(settings["Labels"][images.SOURCES_LABEL]) == 64


def test_a_worker_without_its_supervisor_ends_with_a_reason(inside: Inside) -> None:
    code, said = inside.run(*COMMAND)
    assert code == 1
    assert "this container cannot start" in said


def test_nothing_of_router_or_supervisor_is_in_it(inside: Inside) -> None:
    program = (
        "import importlib.util as u; print([n for n in ('router', 'supervisor', 'docker', 'typer') if u.find_spec(n)])"
    )
    assert inside.python(program).strip() == "[]"
    _, found = inside.run("sh", "-c", "find / -xdev -path '*router*' -name '*.py' -o -name seccomp.json 2>/dev/null")
    assert found.strip() == ""


def test_the_agents_python_is_not_the_workers(inside: Inside) -> None:
    code, said = inside.run("python3", "-c", "import worker")
    assert code == 1
    assert "No module named 'worker'" in said


def test_no_file_of_the_worker_can_be_changed_by_its_user(inside: Inside) -> None:
    _, found = inside.run("sh", "-c", "find /opt/openclaw -perm -0002 ! -type l; find /opt/openclaw ! -user root")
    assert found.strip() == ""
    _, found = inside.run("sh", "-c", "find /opt/openclaw ! -perm -0004 ! -type l")
    assert found.strip() == "", "and every one can be read"


def test_a_second_build_of_the_same_sources_is_the_same_image(docker_engine: DockerEngine, client: Any) -> None:
    tag = "openclaw-test-sandbox:again"
    order = {"base": docker_engine.base, "tag": tag, "wheels": wheels(), "tools": (), "network": "none"}
    try:
        first, second = (images.build(**order, host=docker_engine.host) for _ in range(2))
        assert first.image == second.image == client.inspect_image(tag)["Id"]
        assert second.seconds < 30
    finally:
        client.remove_image(tag, noprune=True)


def test_a_base_image_that_is_not_here_is_named(docker_engine: DockerEngine) -> None:
    with pytest.raises(UserError, match="localhost:1/none:none is not here and cannot be fetched") as caught:
        images.build(base="localhost:1/none:none", tag="openclaw-test-sandbox:none", host=docker_engine.host)
    assert caught.value.hint == "docker image ls; openclaw sandbox build --base IMAGE"


def test_an_installed_product_brings_the_image_files_along(tmp_path: Path) -> None:
    """What setuptools puts into a wheel, without making one: that needs a package from the network."""
    words = ("egg_info", "--egg-base", str(tmp_path), "build", "--build-base", str(tmp_path / "b"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from setuptools import setup; setup()",
            "-q",
            *words,
            "--build-lib",
            str(tmp_path / "lib"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sandbox = tmp_path / "lib/supervisor/sandbox"
    found = {path.relative_to(sandbox).as_posix() for path in sandbox.rglob("*") if path.suffix != ".py"}
    files = {"image/Dockerfile", "image/packages.sh", "image/requirements.txt", "seccomp.json"}
    assert files <= found


# --- the profile -------------------------------------------------------------------------------------------------

WORKS = {
    "threads and processes": """
import multiprocessing, subprocess, threading
seen = []
thread = threading.Thread(target=seen.append, args=(1,)); thread.start(); thread.join()
assert seen == [1]
assert subprocess.run(["bash", "-c", "echo $((6 * 7)) | cat"], capture_output=True).stdout == b"42\\n"
with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, 2]) == [1, 2]
""",
    "asyncio with children, pipes and sockets": """
import asyncio, os, socket
async def main():
    child = await asyncio.create_subprocess_exec("sh", "-c", "read line; echo got $line", stdin=-1, stdout=-1)
    assert (await child.communicate(b"it\\n"))[0] == b"got it\\n"
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close(); server.close()
    await asyncio.start_unix_server(lambda r, w: None, "/tmp/s")
asyncio.run(main())
socket.getaddrinfo("localhost", 80)
os.mkfifo("/tmp/fifo"); os.mknod("/tmp/plain"); os.memfd_create("x"); os.pidfd_open(os.getpid())
""",
    "files, time, random numbers and sqlite": """
import os, sqlite3, tempfile, shutil, time, secrets, fcntl, mmap
base = sqlite3.connect("/tmp/x.db")
base.execute("pragma journal_mode=wal"); base.execute("create table t (a)"); base.close()
with tempfile.TemporaryDirectory() as folder:
    shutil.copyfile("/etc/passwd", folder + "/p"); os.link(folder + "/p", folder + "/q")
time.sleep(0.001); secrets.token_hex(); fcntl.flock(os.open("/tmp/l", os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
mmap.mmap(-1, 4096).close(); os.sched_getaffinity(0); os.nice(1)
""",
    "zmq and aiohttp": """
import zmq, asyncio, aiohttp
context = zmq.Context(); a = context.socket(zmq.PAIR); b = context.socket(zmq.PAIR)
public, secret = zmq.curve_keypair()
a.bind("ipc:///tmp/z"); b.connect("ipc:///tmp/z"); b.send(b"x"); assert a.recv() == b"x"; context.destroy(0)
async def main():
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector("/tmp/none")) as session:
        try: await session.get("http://x/")
        except aiohttp.ClientConnectorError: return
        raise SystemExit("connected to nothing")
asyncio.run(main())
""",
}


@pytest.mark.parametrize("what", WORKS)
def test_what_a_worker_needs_is_allowed(inside: Inside, what: str) -> None:
    inside.python(WORKS[what])


def test_what_an_agent_types_is_allowed(inside: Inside) -> None:
    commands = """set -e; cd /tmp
git init -q r; cd r; echo x > f; git add f; git config user.name a; git config user.email a@b
git commit -qm first; git log --oneline | grep -c first
tar cf ../r.tar .; gzip -k ../r.tar; sort -S1M --parallel=2 /etc/passwd | tail -1; find . -name f
perl -e 'print qq(perl\\n)'; od -c f
(sleep 5 & kill $!; wait) 2>/dev/null || true; timeout 1 true; nice -n 1 true; stty size 2>/dev/null || echo done"""
    code, said = inside.run("bash", "-c", commands)
    assert code == 0, said
    assert said.split()[-1] == "done"


def test_the_launcher_of_a_shared_container_can_do_its_work(inside: Inside) -> None:
    program = """
import os, signal
reading, writing = os.pipe()
child = os.fork()
if not child:
    os.setgroups([]); os.setresgid(2001, 2001, 2001); os.setresuid(2000, 2000, 2000)
    os.write(writing, b"%d %d" % (os.getuid(), os.getgid())); signal.pause()
print(os.read(reading, 100).decode()); os.kill(child, signal.SIGTERM); print(os.waitpid(child, 0)[1])
"""
    said = inside.python(program, user="0:0", caps=profile.LAUNCHER_CAPS)
    assert said.split() == ["2000", "2001", "15"]


def test_what_opens_a_wall_is_refused_even_to_root_with_all_the_capabilities(inside: Inside) -> None:
    found: dict[str, int] = json.loads(inside.python(CALLS, user="0:0", caps=CAPABILITIES))
    assert found.pop("clone3") == errno.ENOSYS, "so that C libraries fall back to clone"
    assert len(found) > 60
    assert {name: errno.errorcode.get(number, number) for name, number in found.items() if number != errno.EPERM} == {}
