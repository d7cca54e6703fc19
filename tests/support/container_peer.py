"""Runs inside a container in place of `worker.container`: the real first process with a worker that behaves badly.

`BEHAVIOUR` in the container's environment says how. It is copied into the image as /peer.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from protocol.messages import ZygoteReady
from protocol.pipe import send_blocking
from worker import boot, container

BEHAVIOUR = os.environ.get("BEHAVIOUR", "obeys")


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def work(fd: int) -> NoReturn:
    told = boot.read_boot(fd)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if BEHAVIOUR == "ignores-term" else lambda *_: os._exit(0))
    say(f"booted {told.slice.agent} {told.generation}")
    match BEHAVIOUR:
        case "exits":
            os._exit(3)
        case "dies-by-signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "leaves-a-daemon":
            subprocess.run(["sh", "-c", "setsid sleep 4242 & sleep 4242 &"], check=True)
            say("left")
        case "kills-everybody":
            os.kill(-1, signal.SIGKILL)
        case "forks-without-end":
            bomb()
        case "fills-memory":
            hog = [bytearray(1 << 20) for _ in range(4096)]
            say(str(len(hog)))
        case "tells":
            say(json.dumps(facts()))
    while True:
        signal.pause()


def bomb() -> None:
    say("bombs")
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.001)


def facts() -> dict[str, object]:
    """What a worker sees of its own walls."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {
        "uids": status["Uid"].split(),
        "groups": status["Groups"].split(),
        "caps": sorted({status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if name in status}),
        "no_new_privs": status.get("NoNewPrivs", ""),
        "seccomp": status["Seccomp"],
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "launcher": attempts(os.getppid()),
    }


def attempts(launcher: int) -> dict[str, str]:
    """What it can do to the process that made it."""
    tries = {
        "memory": lambda: Path(f"/proc/{launcher}/mem").read_bytes(),
        "descriptors": lambda: os.listdir(f"/proc/{launcher}/fd"),
        "sockets": lambda: open_sockets(f"/proc/{launcher}/fd"),
        "root": lambda: os.listdir(f"/proc/{launcher}/root"),
        "setuid": lambda: os.setuid(0),
        "write-root": lambda: Path("/written").write_text("x"),
        "connect": connect_again,
    }
    return {name: outcome(attempt) for name, attempt in tries.items()}


def open_sockets(folder: str) -> None:
    """All but the three standard ones, which are Docker's log. Raises the OSError of the last when none can be had."""
    error = None
    for name in set(os.listdir(folder)) - {"0", "1", "2"}:
        try:
            os.open(f"{folder}/{name}", os.O_RDWR)
        except OSError as found:
            error = found
        else:
            return
    raise error or OSError("it has none")


def connect_again() -> None:
    socket.socket(socket.AF_UNIX).connect(container.SOCKET)


def outcome(attempt: object) -> str:
    try:
        attempt()  # type: ignore[operator]
    except OSError as error:
        return type(error).__name__
    return "done"


def refuse() -> int:
    raise OSError(11, "no more processes")


def main() -> int:
    match BEHAVIOUR:
        case "never-reports":
            time.sleep(600)
        case "ends-at-once":
            print("something is wrong here", file=sys.stderr)
            return 5
        case "old-protocol":
            container.ZygoteReady = lambda: ZygoteReady(version=1)  # type: ignore[assignment,misc]
        case "babbles":
            container.Launcher._spawn = lambda self, *_: send_blocking(self._pipe, ZygoteReady())  # type: ignore[assignment,method-assign,return-value]
        case "disobeys":
            container.Launcher._signal = lambda self, *_: None  # type: ignore[assignment,method-assign]
    boot.work = work
    if BEHAVIOUR == "refuses":
        os.fork = refuse
    return container.main()


if __name__ == "__main__":
    sys.exit(main())
