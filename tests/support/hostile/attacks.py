"""The attacks, by name. Each makes its attempts and says what came of them; what succeeded begins with DONE."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protocol import messages as m
from protocol.codec import encode
from tests.support.hostile.line import Line
from tests.support.hostile.world import Attack, Report, World

_libc = ctypes.CDLL(None, use_errno=True)
_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
#: Seconds to wait for an answer that should not come.
_PATIENCE = 0.3


def attempt(action: Callable[..., Any], *arguments: Any) -> str:
    """What came of it."""
    try:
        result = action(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"DONE {result}"


def checked(result: int) -> int:
    """The result of a libc call. Raises OSError."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "libc")
    return result


# --- files -------------------------------------------------------------------------------------------------------


def read(world: World) -> Report:
    """Other agents' files and the gateway's: as they are named, by way of its own root, and of the router's."""
    ways = ("", "/proc/self/root", f"/proc/{world.order['pids'][0]}/root", f"/proc/{world.order['pids'][0]}/cwd/../..")
    return {f"{way}{path}": attempt(_look, way + path) for path in world.order["paths"] for way in ways}


def _look(path: str) -> str:
    if os.path.isdir(path):
        return _some(os.listdir(path))
    with open(path, "rb") as file:
        return _some(file.read(40))


def _some(found: Any) -> str:
    if not found:
        raise OSError(errno.ENODATA, "empty")  # a cover: there is nothing to be seen
    return repr(found)


def write(world: World) -> Report:
    """Into what is not its own: a new file, a changed one, a link to one that is read later."""
    report: Report = {}
    for path in world.order["paths"]:
        report[f"append {path}"] = attempt(os.open, path, os.O_WRONLY | os.O_APPEND)
        report[f"make {path}"] = attempt(os.open, f"{path}/x", os.O_WRONLY | os.O_CREAT)
        report[f"link {path}"] = attempt(os.link, path, f"mine-{os.urandom(4).hex()}")
        report[f"move {path}"] = attempt(os.rename, path, "mine")
    return report


# --- the link ----------------------------------------------------------------------------------------------------


def links(world: World) -> Report:
    """Other agents' links, with its own key and every small generation."""
    report: Report = {}
    for path in world.order["paths"]:
        report[f"connect {path}"] = attempt(_connect, path)
        report[f"greet {path}"] = _greet(world, "1", 1, path)
    return report


def _greet(world: World, name: str, generation: int, path: str = "") -> str:
    line = Line(world.settings, name, path)
    try:
        return "DONE welcome" if line.greet(generation, _PATIENCE) else "no welcome"
    finally:
        line.close()


def claims(world: World) -> Report:
    """On its own link: to be an earlier or a later generation; to speak for messages of others."""
    numbers = (0, world.generation - 1, world.generation + 1, world.generation + 1000, 10**11)
    report = {f"as {number}": _greet(world, str(number), number) for number in numbers}
    for id in world.order["ids"]:
        world.line.say(m.Accepted(id=id))
        world.line.say(m.Say(id=id, seq=0, text="forged"))
        world.line.say(m.Partial(id=id, seq=0, offset=0, text="forged"))
        world.line.say(m.Done(id=id, outcome="answered"))
        report[f"say for {id}"] = "sent"
    return report


def replay(world: World) -> Report:
    """Its own words, again and again: the same answer, the same request, and those of the message before."""
    say = encode(m.Say(id=world.turn, seq=1, text="once"))
    request = encode(m.Request(request=1, turn=world.turn, tool="session_status", arguments="{}"))
    before = [encode(m.Done(id=id, outcome="answered")) for id in world.order["ids"]]
    for frame in (say, request, *before):
        for _ in range(20):
            world.line.say(frame)
    return {"replayed": "sent"}


def flood(world: World) -> Report:
    """As much as goes through, until nobody listens; under its own name, or a made-up one."""
    line = world.line if "name" not in world.order else Line(world.settings, world.order["name"])
    label = "x" * world.order.get("size", 100)
    frame = encode(m.Activity(id=world.turn, doing="tool", label=label))
    until, sent = time.monotonic() + world.order["seconds"], 0
    while time.monotonic() < until and line.say(frame):
        sent += 1
    return {"sent": str(sent)}


def frame(world: World) -> Report:
    """One frame that no worker would send."""
    frames: dict[str, bytes] = {
        "oversized": b"x" * (m.MAX_WORKER_MESSAGE + 1),
        "huge": b"x" * (64 * 1024 * 1024),
        "truncated": encode(m.Say(id=world.turn, seq=0, text="x"))[:-5],
        "unknown": b'{"type":"ReadConfig"}',
        "supervisor's": encode(m.RouterStop(grace=0)),
    }
    world.line.say(frames[world.order["kind"]])
    time.sleep(5)  # the end comes from outside
    return {"still here": "DONE nobody minded"}


def tools(world: World) -> Report:
    """Requests past its own policy: what the model was never offered."""
    report: Report = {}
    for number, (tool, arguments) in enumerate(world.order["requests"], 100):
        world.line.say(m.Request(request=number, turn=world.turn, tool=tool, arguments=arguments))
        report[f"{tool} {arguments}"] = _answer(world, number)
    world.line.say(m.Elevate(request=99, turn=world.turn, command="id", workdir="/", timeout=5.0))
    return {**report, "elevate": _answer(world, 99)}


def _answer(world: World, number: int) -> str:
    heard = world.hear(lambda heard: isinstance(heard, m.Response) and heard.request == number)
    return f"{'DONE' if heard.ok else 'refused'} {heard.text[:200]}" if heard else "no answer"


# --- processes ---------------------------------------------------------------------------------------------------


def processes(world: World) -> Report:
    """The router, the supervisor and the others: signals that would end them, tracing, memory, environment."""
    report: Report = {}
    for pid in world.order["pids"]:
        report[f"SIGKILL {pid}"] = attempt(os.kill, pid, signal.SIGKILL)
        report[f"SIGSTOP {pid}"] = attempt(os.kill, pid, signal.SIGSTOP)
        report[f"group of {pid}"] = attempt(os.killpg, pid, signal.SIGKILL)
        report[f"ptrace {pid}"] = attempt(_trace, _PTRACE_ATTACH, pid)
        report[f"seize {pid}"] = attempt(_trace, _PTRACE_SEIZE, pid)
        report[f"memory of {pid}"] = attempt(os.open, f"/proc/{pid}/mem", os.O_RDWR)
        report[f"environment of {pid}"] = attempt(Path(f"/proc/{pid}/environ").read_bytes)
        report[f"descriptors of {pid}"] = attempt(os.listdir, f"/proc/{pid}/fd")
        report[f"pidfd of {pid}"] = attempt(_steal, pid)
        report[f"oom score of {pid}"] = attempt(Path(f"/proc/{pid}/oom_score_adj").write_text, "1000")
    return report


def _trace(how: int, pid: int) -> int:
    return checked(_libc.ptrace(how, pid, None, None))


def _steal(pid: int) -> int:
    """Descriptor 3 of another process (pidfd_getfd(2))."""
    return checked(_libc.syscall(438, os.pidfd_open(pid), 3, 0))


def everybody(world: World) -> Report:
    """SIGKILL to whoever it may send one: at once, the way kill(2) offers."""
    os.kill(-1, signal.SIGKILL)
    return {"killed": "nobody else is left"}


def stubborn(world: World) -> Report:
    """Ignores what can be ignored, stops listening, and leaves a child in a session of its own."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                continue
    if os.fork() == 0:
        os.setsid()
        os.environ.clear()
    world.log("stubborn: it ignores everything")
    while True:
        select.select([], [], [], 3600)


# --- the world outside -------------------------------------------------------------------------------------------


def sockets(world: World) -> Report:
    """Unix sockets that obey whoever reaches them: Docker's, the operator's, the boot sockets of others."""
    return {path: attempt(_connect, path) for path in world.order["paths"]}


def _connect(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(_PATIENCE)
        knock.connect(path)
    return "connected"


def network(world: World) -> Report:
    """Addresses; a refusal by the other side would also show that it was reached."""
    return {f"{host}:{port}": attempt(_dial, (host, port)) for host, port in world.order["addresses"]}


def _dial(address: tuple[str, int]) -> str:
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as knock:
        knock.settimeout(_PATIENCE)
        try:
            knock.connect(address)
        except (ConnectionRefusedError, TimeoutError) as error:
            if address[0].startswith("127.") and not isinstance(error, TimeoutError):
                raise
            return f"there is a way: {error}"
    return "connected"


def token(world: World) -> Report:
    """Models in somebody else's name: the cliproxy without a token, and with a made-up one."""
    return {given or "none": attempt(_ask_model, world, given) for given in ("", "x" * 43, "ann")}


def _ask_model(world: World, token: str) -> str:
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.settimeout(5)
        proxy.connect(world.settings.proxy_socket)
        head = f"Authorization: Bearer {token}\r\n" if token else ""
        proxy.sendall(f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n".encode())
        status = proxy.recv(64).decode("latin-1").split(" ")[1]
    if status != "200":
        raise PermissionError(errno.EACCES, status)
    return status


# --- as much as there is -----------------------------------------------------------------------------------------


def forks(world: World) -> Report:
    """Forks without end; each child forks on and burns a processor."""
    until = time.monotonic() + world.order["seconds"]
    children = 0
    while time.monotonic() < until:
        try:
            if os.fork() == 0:
                _breed(until)
            children += 1
        except OSError:
            time.sleep(0.01)
    return {"children": str(children), "one more": attempt(_fork_once)}


def _breed(until: float) -> None:
    while time.monotonic() < until:
        try:
            os.fork()
        except OSError:
            sum(range(10_000))
    os._exit(0)


def _fork_once() -> str:
    if (child := os.fork()) == 0:
        os._exit(0)
    return str(child)


def memory(world: World) -> Report:
    """Touches page after page until somebody ends it."""
    held: list[bytes] = []
    while len(held) < world.order["most"]:
        held.append(b"\x01" * (1 << 20))
    return {"memory": f"DONE {len(held)} MiB"}


def disk(world: World) -> Report:
    """Every place that lets it write but its own workspace and sessions, until that is full; a file beyond all size."""
    report = {place: _fill(place, world.order["most"]) for place in world.order["paths"]}
    report["a file of 16 TiB"] = attempt(_stretch, f"{world.settings.workspace}/huge", 16 << 40)
    return report


def _fill(place: str, most: int) -> str:
    """`most` in MiB: so much is more than it should get."""
    path, written = f"{place}/fill-{os.getpid()}", 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < most:
                file.write(b"\0" * (1 << 20))
                written += 1
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} after {written} MiB"
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return f"DONE {written} MiB"


def _stretch(path: str, size: int) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with open(path, "wb") as file:
            return file.truncate(size)
    finally:
        os.unlink(path)


def prints(world: World) -> Report:
    """Ten gigabytes, as fast as anybody takes them."""
    until, left = time.monotonic() + world.order["seconds"], 10 << 30
    os.set_blocking(2, True)
    noise = (b"x" * 199 + b"\n") * 320
    while left > 0 and time.monotonic() < until:
        left -= os.write(2, noise)
    return {"printed": f"{((10 << 30) - left) >> 20} MiB"}


ATTACKS: Mapping[str, Attack] = {
    attack.__name__: attack
    for attack in (
        read, write, links, claims, replay, flood, frame, tools, processes, everybody, stubborn, sockets, network,
        token, forks, memory, disk, prints,
    )
}  # fmt: skip
