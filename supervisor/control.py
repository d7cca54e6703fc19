"""The operator's door: a unix socket that only our own user may open, speaking `protocol.control` frames.

Whoever connects must have our uid (SO_PEERCRED, unix(7)) and must not have been started by us: a command of an agent
that shares our uid is no operator. The socket is 0600 in a folder that is 0700. Few at a time, and who says nothing is
sent away.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from protocol import control as c
from protocol.errors import OpenClawError, ProtocolViolation, UserError
from protocol.pipe import Pipe, PipeClosed
from protocol.tasks import Tasks

MAX_CLIENTS = 32
#: Seconds a client may be silent between two requests.
IDLE = 60.0
_PEER = struct.Struct("3i")

#: Says one message to the operator.
Say = Callable[[Any], None]
#: Carries out one request; what it says last ends the request.
Answer = Callable[[c.ToSupervisor, Say], Awaitable[None]]
#: Gives the connected descriptor to the router; False when there is no router.
HandOver = Callable[[int], bool]


class ControlServer:
    """Listens from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        answer: Answer,
        hand_over: HandOver,
        tasks: Tasks,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`refused` is told of every process of ours that was turned away, in words."""
        self._path = path
        self._answer = answer
        self._hand_over = hand_over
        self._tasks = tasks
        self._refused = refused
        self._clients = 0
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Raises UserError. A socket left by an earlier supervisor is replaced: the lock says that it is dead."""
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.setblocking(False)
        before = os.umask(0o177)
        try:
            listening.bind(str(self._path))
        except OSError as error:
            raise UserError(f"cannot open the control socket: {error.strerror}", where=str(self._path)) from None
        finally:
            os.umask(before)
        listening.listen(MAX_CLIENTS)
        self._socket = listening
        self._tasks.start(self._accept(listening), "control socket")

    def close(self) -> None:
        """Nobody new; those who wait for an answer get it from whoever ends."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listening)
            if self._clients >= MAX_CLIENTS or not self._let_in(client):
                client.close()
                continue
            self._clients += 1
            self._tasks.start(self._serve(client), "operator")

    def _let_in(self, client: socket.socket) -> bool:
        if not is_ours(client):
            return False
        if refused := stranger(client):
            self._refused(refused)
        return not refused

    async def _serve(self, client: socket.socket) -> None:
        fd = client.fileno()
        pipe = Pipe(client, c.to_supervisor)
        try:
            while await self._serve_one(pipe, fd):
                pass
        except (PipeClosed, TimeoutError):
            pass
        finally:
            self._clients -= 1
            pipe.close()

    async def _serve_one(self, pipe: Pipe[c.ToSupervisor], fd: int) -> bool:
        """Serve one request; False when the connection is done."""
        try:
            async with asyncio.timeout(IDLE):
                request, fds = await pipe.receive()
        except ProtocolViolation as error:
            pipe.send(c.Failure(message=f"request not understood: {error}"))
            await pipe.flush()
            return False
        for stray in fds:
            os.close(stray)
        if isinstance(request, c.Attach) and self._hand_over(fd):
            return False
        await self._reply(request, pipe)
        return True

    async def _reply(self, request: c.ToSupervisor, pipe: Pipe[c.ToSupervisor]) -> None:
        def say(message: Any) -> None:
            # An operator who went away does not end what he asked for.
            try:
                pipe.send(message)
            except PipeClosed:
                return

        try:
            if isinstance(request, c.Attach):
                raise UserError("the router is not running", hint="openclaw gateway status")
            await self._answer(request, say)
        except OpenClawError as error:
            say(failure(error))
        await pipe.flush()


def is_ours(client: socket.socket) -> bool:
    """Whether the process at the other end runs as our user."""
    _, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(uid == os.getuid())


def stranger(client: socket.socket) -> str:
    """Why the process at the other end is no operator, in words for the log; empty for an operator."""
    pid, _, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    try:
        held = os.pidfd_open(pid)  # while it is not gone, its pid is nobody else's
    except (OSError, ValueError):
        return f"process {pid} was gone before it could be looked at"
    try:
        above = list(ancestors(pid))
        if select.select([held], [], [], 0)[0] or not above or above[-1] > 1:
            return f"process {pid} was gone before it could be looked at"
    finally:
        os.close(held)
    if os.getpid() not in above:
        return ""
    child = [pid, *above][above.index(os.getpid())]  # of ours: names of whatever is below it may be made up
    return f"process {pid} ({_title(pid)}) was started below process {child} ({_title(child)}) of this gateway"


def ancestors(pid: int) -> Iterator[int]:
    """Its parent, that one's parent, and so on; ends early when one is gone."""
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return
        yield pid


def _title(pid: int) -> str:
    """What ps shows, as far as it is fit for a log."""
    try:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes()[:120].decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(one if one.isprintable() else " " for one in shown).strip()


def failure(error: OpenClawError) -> c.Failure:
    """What the operator is shown."""
    if isinstance(error, UserError):
        return c.Failure(message=error.message, where=error.where or "", hint=error.hint or "")
    return c.Failure(message=str(error))
