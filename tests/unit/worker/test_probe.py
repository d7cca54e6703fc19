"""The probe finds what is open, says held only when the kernel refused, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.isolation import ATTACKS, breaches, standard_targets
from protocol.messages import Finding, ProbeTarget
from protocol.slices import WorkerSlice
from worker import probe
from worker.attacks import leftovers, peers
from worker.attacks.base import Outcome, held
from worker.landlock import abi

ROOT = Path(__file__).parents[3]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")

#: Becomes an agent's user behind the walls of a host worker, then runs the probe.
_INSIDE = """
import os, sys, resource
import msgspec
from protocol.messages import ProbeTarget
from protocol.slices import Walls
from worker import boot, probe, walls
os.environ.update({})
boot.lock_down()
walls.enforce(msgspec.json.decode(sys.stdin.readline(), type=Walls))
targets = msgspec.json.decode(sys.stdin.readline(), type=tuple[ProbeTarget, ...])
print(msgspec.json.encode(probe.run(targets)).decode())
"""


def settings(folder: Path, **fields: Any) -> WorkerSlice:
    names = ("link_socket", "router_public", "worker_public", "worker_secret", "proxy_socket", "proxy_token")
    own = {**dict.fromkeys(names, "x"), "agent": "main", "name": "M", "workspace": str(folder), "sessions": str(folder)}
    return WorkerSlice(**{**own, **fields})


def one(what: str, on: object = "", told: WorkerSlice | None = None) -> Finding:
    (found,) = probe.run((ProbeTarget(what=what, on=str(on)),), told)
    return found


def as_an_agent(*targets: ProbeTarget) -> dict[str, Finding]:
    """The findings of a process with a uid of its own and no rights, by the name of the attack."""
    walls = {"uid": 2_000_000_123, "gid": 2_000_000_123, "max_processes": 100}
    given = f"{json.dumps(walls)}\n{msgspec.json.encode(targets).decode()}\n"
    command = [sys.executable, "-P", "-c", _INSIDE]
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, input=given, env=environ, capture_output=True, text=True, check=True, cwd="/")
    found = msgspec.json.decode(done.stdout, type=tuple[Finding, ...])
    assert [finding.what for finding in found] == [target.what for target in targets]
    return {finding.what: finding for finding in found}


@pytest.fixture
def sleeper() -> Iterator[int]:
    child = subprocess.Popen(["sleep", "60"])
    yield child.pid
    child.kill()
    child.wait()


def test_every_attack_of_the_table_can_be_tried_and_no_other() -> None:
    assert set(probe.TRIES) == set(ATTACKS)


def test_an_unknown_attack_did_not_hold() -> None:
    assert one("telepathy") == Finding(
        what="telepathy", on="", held=False, detail="this worker does not know this attack"
    )


def test_what_is_open_is_found_open_and_left_as_it_was(tmp_path: Path, sleeper: int) -> None:
    (tmp_path / "file").write_text("x")
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        for what, on in {
            "read_file": tmp_path / "file",
            "list_dir": tmp_path,
            "write_file": tmp_path,
            "connect_unix": path,
            "link_of_other": path,
            "signal_pid": sleeper,
            "read_proc_environ": sleeper,
            "read_proc_mem": sleeper,
            "ptrace_pid": sleeper,
        }.items():
            assert not one(what, on).held, what
    assert sorted(os.listdir(tmp_path)) == ["file", "socket"]
    status = Path(f"/proc/{sleeper}/status").read_text()
    assert "TracerPid:\t0" in status and "State:\tS" in status


@root_only
def test_an_agents_user_gets_at_none_of_it(tmp_path: Path, sleeper: int) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        found = as_an_agent(
            ProbeTarget(what="read_file", on=str(tmp_path / "file")),
            ProbeTarget(what="list_dir", on=str(tmp_path)),
            ProbeTarget(what="write_file", on=str(tmp_path)),
            ProbeTarget(what="connect_unix", on=str(tmp_path / "socket")),
            ProbeTarget(what="link_of_other", on=str(tmp_path / "socket")),
            *(ProbeTarget(what=what, on=str(sleeper)) for what in ("signal_pid", "ptrace_pid")),
            *(ProbeTarget(what=what, on=str(sleeper)) for what in ("read_proc_environ", "read_proc_mem")),
        )
    assert {what: finding.detail for what, finding in found.items() if not finding.held} == {}
    assert sorted(os.listdir(tmp_path)) == ["file", "socket"]


@root_only
def test_the_walls_of_a_host_worker_hold_what_is_promised_of_them() -> None:
    """But for the proxy, which is not there."""
    targets = tuple(target for target in standard_targets() if target.what != "proxy_token_of_other")
    # Which uid a container engine's own socket lets in is not for this test.
    found = as_an_agent(*(target for target in targets if target.what != "docker_socket"))
    assert breaches(tuple(found.values()), "uid", abi()) == ()
    assert not found["seccomp"].held


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    descriptors = os.listdir("/proc/self/fd")
    probe.run(standard_targets(), settings(tmp_path))
    assert os.listdir("/proc/self/fd") == descriptors
    assert os.listdir(tmp_path) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_worker_that_cannot_say_where_its_proxy_is_did_not_hold(tmp_path: Path) -> None:
    assert not one("proxy_token_of_other").held


@pytest.mark.parametrize(
    ("answer", "stood"),
    [(b"HTTP/1.1 401 Unauthorized\r\n\r\n", True), (b"HTTP/1.1 200 OK\r\n\r\n", False), (b"", False)],
)
def test_a_wrong_token_must_be_refused(tmp_path: Path, answer: bytes, stood: bool) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "proxy"))
        listener.listen()
        if os.fork() == 0:
            try:
                peer, _ = listener.accept()
                peer.recv(4096)
                peer.sendall(answer)
                peer.close()
            finally:
                os._exit(0)
        found = one("proxy_token_of_other", told=settings(tmp_path, proxy_socket=str(tmp_path / "proxy")))
        os.wait()
    assert found.held is stood


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "github_token", "DB_PASSWORD", "SSH_AUTH_SOCK", "AWS_SECRET"])
def test_a_key_in_the_environment_is_found_and_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hunter2hunter2")
    found = one("environment")
    assert not found.held and name in found.detail and "hunter2" not in found.detail


@pytest.mark.parametrize("name", ["KEYBOARD", "AUTHOR", "PATH", "TOKENIZER_PARALLELISM", "MONKEY"])
def test_ordinary_names_are_no_keys(name: str) -> None:
    assert leftovers._KEY_NAME.search(name) is None


@root_only
def test_a_descriptor_that_opens_what_the_process_cannot_is_found(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)

    def inherit(on: str, told: WorkerSlice | None) -> Outcome:
        fd = os.open(secret, os.O_RDONLY)
        before = leftovers._look_at(fd)[1]
        os.setresuid(12345, 12345, 12345)
        return Outcome(before == "", leftovers._look_at(fd)[1])

    found = probe._apart(inherit, "", None)
    assert found.held and f"is {secret}, which it could not open itself" in found.detail


def test_a_socket_that_is_covered_is_not_reached(tmp_path: Path) -> None:
    """What lies over it refuses like a socket without a listener, and is none."""
    (tmp_path / "cover").write_text("")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    assert one("connect_unix", str(tmp_path / "cover")).held
    assert not one("connect_unix", str(tmp_path / "left")).held


def test_a_listening_socket_is_found() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert leftovers._look_at(listener.fileno()) == (
            "sockets",
            f"descriptor {listener.fileno()} is a socket that listens",
        )


def test_addresses_may_be_numbers_or_names() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert one("connect_tcp", f"127.0.0.1:{port}").held  # bound, and nobody listens
        listener.listen()
        assert not one("connect_tcp", f"loopback:{port}").held
        assert not one("connect_tcp", f"[::ffff:127.0.0.1]:{port}").held
    assert not one("connect_tcp", "nonsense:x").held
    assert peers._address("gateway")[1] == 9


def dies(on: str, told: WorkerSlice | None) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    return held("never said")


def raises(on: str, told: WorkerSlice | None) -> Outcome:
    raise RuntimeError("oops")


def unsure(on: str, told: WorkerSlice | None) -> Outcome:
    raise OSError(5, "input/output error")


def hangs(on: str, told: WorkerSlice | None) -> Outcome:
    time.sleep(60)
    return held("never said")


def rambles(on: str, told: WorkerSlice | None) -> Outcome:
    return held("x" * 1_000_000)


@pytest.mark.parametrize("attack", [dies, raises, unsure, hangs])
def test_an_attack_that_goes_wrong_did_not_hold(
    attack: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.5)
    monkeypatch.setattr(probe, "TRIES", {"x": attack})
    found = one("x")
    assert not found.held and found.detail.startswith("cannot tell: ")


def test_details_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TRIES", {"x": rambles})
    assert len(one("x").detail) <= 300


@pytest.mark.parametrize("on", ["", "\0", "a" * 5000, "-1", "0x10", "../../..", "999999999999999999999"])
def test_no_argument_makes_the_probe_raise(on: str) -> None:
    targets = tuple(ProbeTarget(what=what, on=on) for what in ATTACKS if what not in ("chroot", "mount", "signal_pid"))
    assert len(probe.run(targets)) == len(targets)
