"""A dockerd started for tests: the machine's own where none runs; a private one in a folder, to be killed or starved.

Ready is when dockerd says so (sd_notify); nobody waits by the clock.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import OpenClawError

SOCKET = Path("/var/run/docker.sock")
#: Which daemon `up` of an earlier process started.
_STARTED = Path("/run/openclaw-test-dockerd.pid")
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_READY_WITHIN = 60.0
_STOP_WITHIN = 30.0


class Unable(OpenClawError):
    """There can be no engine here; the text says why."""


@dataclass
class Daemon:
    """A running dockerd of ours."""

    host: str
    pid: int
    log: Path
    #: All it has, for a private one.
    folder: Path | None = None

    @classmethod
    def start(cls) -> Daemon:
        """The machine's own, at the usual places. Raises Unable."""
        daemon = cls._start(SOCKET, _STARTED.with_suffix(".log"))
        _STARTED.write_text(str(daemon.pid))
        return daemon

    @classmethod
    def private(cls, folder: Path, *more: str) -> Daemon:
        """One of its own: socket, images and containers in `folder`, no bridge, nothing changed in the firewall.

        In a network namespace of its own: a dockerd without a bridge removes `docker0`, which the machine's own needs.
        The folder's path must be short: a unix socket's has at most 107 bytes.
        """
        places = {"data-root": "data", "exec-root": "run", "pidfile": "pid"}
        options = [f"--{option}={folder / name}" for option, name in places.items()]
        options += ["--bridge=none", "--iptables=false", "--ip6tables=false", *more]
        daemon = cls._start(folder / "docker.sock", folder / "log", options, ("unshare", "--net"))
        daemon.folder = folder
        return daemon

    @classmethod
    def _start(cls, at: Path, log: Path, options: Sequence[str] = (), through: Sequence[str] = ()) -> Daemon:
        program = shutil.which("dockerd", path=_PATH)
        if os.geteuid() != 0:
            raise Unable("no Docker daemon answers and only root can start one; hint: sudo systemctl start docker")
        if program is None:
            raise Unable("no Docker daemon answers and dockerd is not installed; hint: apt-get install docker.io")
        said = ""
        # The kernel may refuse overlays within overlays; vfs works everywhere, slowly.
        for storage in ((), ("--storage-driver=vfs",)):
            words = (*through, program, f"--host=unix://{at}", "--log-level=warn", *options, *storage)
            if (pid := _launch(words, log)) is not None:
                return cls(host=f"unix://{at}", pid=pid, log=log)
            said = log.read_text(errors="replace")[-1500:]
        raise Unable(f"dockerd did not start:\n{said}")

    def stop(self) -> None:
        """SIGTERM, and wait for its end: containers are stopped, nothing stays mounted. Also after `kill`."""
        _end(self.pid)
        if self.folder:
            _clean(self.folder)
        if _STARTED.exists() and _STARTED.read_text() == str(self.pid):
            _STARTED.unlink()

    def kill(self) -> None:
        """As a crash would. Its containers go on; `private` with the same folder finds them again."""
        os.kill(self.pid, signal.SIGKILL)
        _end(self.pid)
        if self.folder:
            _forget_containerd(self.folder)

    @staticmethod
    def stop_started() -> None:
        """What `start` of an earlier process began."""
        if not _STARTED.exists():
            return
        pid = int(_STARTED.read_text())
        if Path(f"/proc/{pid}/comm").exists() and Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd":
            _end(pid)
        _STARTED.unlink()


def _launch(words: Sequence[str], log: Path) -> int | None:
    """The pid of a daemon that is ready; None when it ended instead."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{folder}/notify")
        told.settimeout(0.1)
        environ = {**os.environ, "NOTIFY_SOCKET": f"{folder}/notify", "PATH": _PATH}
        with log.open("wb") as out:
            # A session of its own: a Ctrl-C at the terminal is for the tests, which stop it in their order.
            daemon = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ, start_new_session=True
            )
        if _hears_ready(told, daemon):
            # Its end is waited for by pid, perhaps by another process.
            daemon.returncode = 0
            return daemon.pid
        daemon.kill()
        daemon.wait()
        return None


def _hears_ready(told: socket.socket, daemon: subprocess.Popen[bytes]) -> bool:
    for _ in range(int(_READY_WITHIN / 0.1)):
        try:
            if b"READY=1" in told.recv(4096).splitlines():
                return True
        except TimeoutError:
            if daemon.poll() is not None:
                return False
    return False


def _end(pid: int) -> None:
    """SIGTERM, the end, and SIGKILL when it takes too long."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            if _readable(handle, _STOP_WITHIN):
                break
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
    _reap(pid)


def _forget_containerd(folder: Path) -> None:
    """It dies with its dockerd; where nobody reaps it, the next dockerd would wait for it in vain."""
    if (pid := folder / "run/containerd/containerd.pid").exists():
        _end(int(pid.read_text()))
        pid.unlink(missing_ok=True)


def _clean(folder: Path) -> None:
    """What a killed daemon leaves: its containerd, and mounts."""
    _forget_containerd(folder)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((path for path in mounts if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)


def _readable(handle: int, within: float) -> bool:
    return bool(select.select([handle], [], [], within)[0])


def _reap(pid: int) -> None:
    """When it is a child of this very process."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
