"""The socket where the first process of a container reports: made for one start, closed after one connection.

It lies in the folder that is mounted into that container and into no other, only the container's user may connect, and
who connects is looked at: its user and its control group are told by the kernel (SO_PEERCRED, unix(7)), not by itself.

A runtime with a kernel of its own (`docker.runtime`, such as gVisor's) connects on behalf of the process, through a
helper outside of the container that is root.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from collections.abc import Collection
from pathlib import Path

from supervisor.sandbox.spec import BOOT_SOCKET, ContainerSpec
from supervisor.spawners.base import SpawnError

_CRED = struct.Struct("3i")
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


class BootSocket:
    """Listens from the moment it is made. Use it as a context."""

    def __init__(self, spec: ContainerSpec) -> None:
        """Raises SpawnError when the folder cannot be used."""
        self._uids = {spec.uid, 0} if spec.docker.get("runtime") else {spec.uid}
        self._path = Path(spec.boot_folder) / BOOT_SOCKET
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._prepare(spec)
        except OSError as error:
            self._sock.close()
            raise SpawnError(f"cannot listen at {self._path}: {error.strerror or error}") from None

    def __enter__(self) -> BootSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    async def accept(self, container_id: str) -> socket.socket:
        """The connection of that container's first process; whoever else connects is turned away."""
        loop = asyncio.get_running_loop()
        while True:
            found, _ = await loop.sock_accept(self._sock)
            if is_of(found, self._uids, container_id):
                return found
            found.close()

    def _prepare(self, spec: ContainerSpec) -> None:
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._sock.setblocking(False)
        self._sock.bind(str(self._path))
        self._path.chmod(0o600)
        if spec.uid != os.geteuid():
            os.chown(self._path, spec.uid, spec.gid, follow_symlinks=False)
            os.chown(folder, os.geteuid(), spec.gid, follow_symlinks=False)
            folder.chmod(0o710)
        self._sock.listen(4)


def is_of(sock: socket.socket, uids: Collection[int], container_id: str) -> bool:
    """Whether the peer is one of these users, and in that container as far as /proc tells."""
    pid, peer, _ = _CRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CRED.size))
    if peer not in uids:
        return False
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return True
    named = set(_CONTAINER_ID.findall(groups))
    return not named or container_id in named
