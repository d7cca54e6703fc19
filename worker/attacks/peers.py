"""Attacks on whoever listens: sockets of other agents, of Docker, of the network."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress

from protocol.isolation import GATEWAY, LOOPBACK
from protocol.link import WorkerLink
from protocol.model_route import PROXY_VERSION, PROXY_VERSION_HEADER, ROUTE_PATH
from protocol.slices import WorkerSlice
from worker.attacks.base import Outcome, Try, fell, held, judged

#: Seconds to wait for an answer.
PATIENCE = 1.0
_DOCKER = (
    *("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"),
    *("/run/podman/podman.sock", "/run/crio/crio.sock"),
)
_MAX_ABSTRACT = 64
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def connect_unix(on: str, settings: WorkerSlice | None) -> Outcome:
    try:
        _connected(on).close()
    except OSError as error:
        return _judged_socket(error, on)
    return fell("connected")


def docker_socket(on: str, settings: WorkerSlice | None) -> Outcome:
    for path in _DOCKER:
        found = connect_unix(path, settings)
        if not found.held:
            return fell(f"{path}: {found.detail}")
    return held("none is there or lets us in")


def abstract_sockets(on: str, settings: WorkerSlice | None) -> Outcome:
    count = 0
    for name, kind in _abstract_names():
        count += 1
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as knock:
            knock.settimeout(PATIENCE / 4)
            knock.connect(b"\0" + name)
            return fell(f"@{name.decode('utf-8', 'replace')[:80]} lets us connect")
    return held(f"{count} names looked at")


def link_of_other(on: str, settings: WorkerSlice | None) -> Outcome:
    """First the socket file, then a handshake with this worker's own keys."""
    try:
        _connected(on).close()
    except OSError as error:
        return _judged_socket(error, on)
    if settings is None:
        return fell("connected")
    if asyncio.run(_shakes_hands(on, settings)):
        return fell("the handshake succeeded with this worker's key")
    return held("connects, but this worker's key is not let in")


def proxy_token_of_other(on: str, settings: WorkerSlice | None) -> Outcome:
    """A token that nobody has been given."""
    path = on or (settings.proxy_socket if settings else "")
    if not path:
        return fell("cannot tell: where the proxy is was not said")
    with _connected(path) as proxy:
        proxy.sendall(
            f"GET {ROUTE_PATH}?model= HTTP/1.1\r\nHost: proxy\r\n{PROXY_VERSION_HEADER}: {PROXY_VERSION}\r\n"
            f"Authorization: Bearer {os.urandom(24).hex()}\r\nConnection: close\r\n\r\n".encode()
        )
        status = proxy.recv(64).split(b" ")[1:2]
    said = status[0].decode("latin-1") if status else "nothing"
    return held(f"answered {said}") if said in ("401", "403") else fell(f"answered {said}")


def connect_tcp(on: str, settings: WorkerSlice | None) -> Outcome:
    """A refusal by the other side also shows that it was reached; only our own loopback may refuse."""
    host, port = _address(on)
    if not host:
        return held("there is no way out: no default route")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as knock:
        knock.settimeout(PATIENCE)
        try:
            knock.connect((host, port))
        except TimeoutError:
            return fell("there is a way to it, but no answer")
        except ConnectionRefusedError:
            return held("nothing listens there") if _is_loopback(host) else fell("reached it, and was refused by it")
        except OSError as error:
            return held(os.strerror(error.errno).lower()) if error.errno in _NO_ROUTE else judged(error)
    return fell("connected")


def _connected(path: str) -> socket.socket:
    """A connected unix socket. Raises OSError."""
    knock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    knock.settimeout(PATIENCE)
    folder, name = os.path.split(path)
    # Paths may be longer than an address may be (unix(7)).
    fd = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        knock.connect(f"/proc/self/fd/{fd}/{name}")
    except OSError:
        knock.close()
        raise
    finally:
        os.close(fd)
    return knock


def _judged_socket(error: OSError, path: str) -> Outcome:
    if isinstance(error, ConnectionRefusedError):
        # A cover over the socket is refused alike (connect(2)).
        with suppress(OSError):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                return held("something else lies over it")
        return fell("reached it; nobody listens at the moment")
    return judged(error)


async def _shakes_hands(path: str, settings: WorkerSlice) -> bool:
    up = asyncio.Event()
    link = WorkerLink(
        path,
        generation=1,
        router_public=settings.router_public,
        worker_public=settings.worker_public,
        worker_secret=settings.worker_secret,
        on_message=lambda data: None,
        on_up=up.set,
        on_down=lambda: None,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            await up.wait()
    except TimeoutError:
        return False
    finally:
        link.close()
    return True


def _abstract_names() -> Iterator[tuple[bytes, int]]:
    """Name and type of each, from proc_net_unix(5): the last column begins with @."""
    seen: set[tuple[bytes, int]] = set()
    with open("/proc/net/unix", "rb") as file:
        for line in file:
            fields = line.split(None, 7)
            if len(fields) == 8 and fields[7].startswith(b"@") and len(seen) < _MAX_ABSTRACT:
                found = (fields[7].rstrip(b"\n")[1:], int(fields[4], 16))
                if found not in seen:
                    seen.add(found)
                    yield found


def _address(on: str) -> tuple[str, int]:
    """`host:port` or a name of `protocol.isolation`; no host when there is none of that name. Raises OSError."""
    host, colon, port = on.rpartition(":")
    if not colon:
        host, port = on, "9"
    host = {GATEWAY: _default_route(), LOOPBACK: "127.0.0.1"}.get(host, host.strip("[]"))
    return host, int(port)


def _default_route() -> str:
    with suppress(OSError), open("/proc/net/route") as file:
        for line in file:
            fields = line.split()
            if fields[1:2] == ["00000000"] and int(fields[3], 16) & 2:
                return socket.inet_ntoa(struct.pack("=I", int(fields[2], 16)))
    return ""


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1" or host.lower().startswith("::ffff:127.")


TRIES: Mapping[str, Try] = {
    "connect_unix": connect_unix,
    "docker_socket": docker_socket,
    "abstract_sockets": abstract_sockets,
    "link_of_other": link_of_other,
    "proxy_token_of_other": proxy_token_of_other,
    "connect_tcp": connect_tcp,
}
