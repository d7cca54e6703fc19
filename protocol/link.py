"""The link of one agent: the only module that imports zmq.

The router binds one ROUTER socket per agent, the worker connects a DEALER. Who is at the other end is decided by the
socket and by CURVE: each agent's socket has a ZAP domain of its own that lets in exactly one public key. The routing
id is the generation, so a send to a dead generation fails at once instead of waiting in a silent buffer.

Plain sockets with `loop.add_reader` and a bounded drain are used because `zmq.asyncio` costs three to four times as
much a message (measured 141 µs against 50 µs a round trip). The descriptor is edge-triggered: EVENTS must be looked
at again after every drain and after every send (zmq_getsockopt(3), ZMQ_FD).
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from protocol.codec import encode
from protocol.errors import OpenClawError
from protocol.messages import MAX_WORKER_MESSAGE

#: Messages, and bytes, taken from one socket at once. Where there are more, that socket waits for so many seconds: who
#: floods is read at a steady pace, and everybody else is read in between as if nothing were.
_DRAIN, _DRAIN_BYTES, _PAUSE = 40, 256 * 1024, 0.01
#: Messages waiting in one direction; the credit of an agent is far below it.
_HIGH_WATER = 1000
#: Messages of one worker that the router holds unread: with MAX_WORKER_MESSAGE this bounds its memory.
_HEARD_WATER = 100
#: Bytes by which a frame may be too long and still be read as far as its length.
_NAMED = 64 * 1024
#: ZMTP heartbeats (RFC 37/ZMTP), milliseconds: a frozen peer's connection ends after the timeout.
_HEARTBEAT_IVL, _HEARTBEAT_TIMEOUT = 15_000, 60_000
#: Sockets one process may open: a thousand agents and room to roll them.
_MAX_SOCKETS = 8192
_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_MONITORED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class PeerGone(OpenClawError):
    """No such generation is connected, or its buffer is full: the message was not taken."""


def new_keypair() -> tuple[str, str]:
    """A CURVE key pair as Z85 text: (public, secret)."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class _Reader:
    """Calls `on_frames` for every message of one socket, inside the event loop."""

    def __init__(self, socket: zmq.Socket[bytes], on_frames: Callable[[list[bytes]], None]) -> None:
        self.socket = socket
        self._on_frames = on_frames
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._loop.add_reader(socket.fileno(), self._on_readable)
        self.nudge()

    def _on_readable(self) -> None:
        if self._again is None:
            self.drain()
        elif not self.socket.closed:
            self.socket.get(zmq.EVENTS)  # it takes the signal from the descriptor, which would call us again at once

    def drain(self) -> None:
        self._again = None
        messages, size = 0, 0
        while messages < _DRAIN and size < _DRAIN_BYTES:
            if self.socket.closed:
                return
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_frames(frames)
            messages, size = messages + 1, size + len(frames[-1])
        if self._is_readable():
            self._again = self._loop.call_later(_PAUSE, self.drain)

    def nudge(self) -> None:
        """Look at the socket again soon; needed after every send, since a send may swallow the edge."""
        if self._again is None and self._is_readable():
            self._again = self._loop.call_soon(self.drain)

    def _is_readable(self) -> bool:
        return not self.socket.closed and bool(int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN)

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if not self.socket.closed:
            self._loop.remove_reader(self.socket.fileno())
            self.socket.close(linger=0)


class _Doorman:
    """The ZAP handler (RFC 27/ZAP): one allowed CURVE key per domain, everything else is refused."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.allowed: dict[bytes, bytes] = {}
        socket = context.socket(zmq.ROUTER)
        socket.bind(_ZAP_ENDPOINT)
        self._reader = _Reader(socket, self._answer)

    def _answer(self, frames: list[bytes]) -> None:
        if len(frames) < 8:
            return
        sender, empty, version, request, domain, _address, _routing_id, mechanism, *credentials = frames
        known = self.allowed.get(domain)
        granted = mechanism == b"CURVE" and known is not None and credentials == [known]
        status = [b"200", b"OK", domain] if granted else [b"400", b"no access", b""]
        self._reader.socket.send_multipart([sender, empty, version, request, *status, b""], zmq.NOBLOCK)
        self._reader.nudge()

    def forbid(self, domain: bytes) -> None:
        self.allowed.pop(domain, None)

    def close(self) -> None:
        self._reader.close()


class AgentSocket:
    """The router's end of one agent's link."""

    def __init__(self, agent: str, reader: _Reader, forget: Callable[[], None]) -> None:
        self.agent = agent
        self._reader = reader
        self._forget = forget

    def send(self, generation: int, message: Any) -> None:
        """Hand one message to that generation. Raises PeerGone."""
        try:
            self._reader.socket.send_multipart([str(generation).encode(), encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise PeerGone(f"worker {self.agent} generation {generation}: {error}") from None
        self._reader.nudge()

    def close(self) -> None:
        """Unbind; connections end, the socket file goes away."""
        self._forget()
        self._reader.close()

    def __repr__(self) -> str:
        return f"<AgentSocket {self.agent} {'closed' if self._reader.socket.closed else 'bound'}>"


class RouterLinks:
    """All links of one router, in one zmq context. Call from inside the event loop."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        self._doorman = _Doorman(self._context)

    def bind(
        self,
        agent: str,
        path: str,
        *,
        secret: str,
        worker_public: str,
        on_message: Callable[[int, bytes], None],
        on_stranger: Callable[[bytes], None] = lambda name: None,
    ) -> AgentSocket:
        """Bind one agent's socket; `on_message(generation, data)` is called for each frame of its worker.

        `data` is not decoded yet: the caller decides what a violation means. What comes under a name that no
        generation has, or in several frames, goes to `on_stranger(name)`: whoever sent it has this worker's key.
        """
        domain = agent.encode()
        folder = Path(path).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket = self._context.socket(zmq.ROUTER)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        # A connection that comes back before its end was noticed here takes its own place again. Safe because nobody
        # but this agent can connect to this socket; without it the new connection would be heard by nobody.
        socket.set(zmq.ROUTER_HANDOVER, 1)
        socket.set(zmq.ZAP_DOMAIN, domain)
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, secret.encode())
        # A little more than is accepted: who sends too much is to be named, and not only cut off.
        socket.set(zmq.MAXMSGSIZE, MAX_WORKER_MESSAGE + _NAMED)
        _bound(socket)
        socket.set(zmq.RCVHWM, _HEARD_WATER)
        self._doorman.allowed[domain] = z85.decode(worker_public.encode())
        socket.bind(f"ipc://{path}")
        # The folder says whose group it is (setgid): the agent's, where it has one of its own.
        os.chmod(path, 0o660)

        def receive(frames: list[bytes]) -> None:
            generation, *rest = frames
            if generation.isdigit() and len(generation) <= 12 and len(rest) == 1:
                on_message(int(generation), rest[0])
            else:
                on_stranger(generation)

        return AgentSocket(agent, _Reader(socket, receive), lambda: self._doorman.forbid(domain))

    def close(self) -> None:
        """Close what is left; agents' sockets must be closed first."""
        self._doorman.close()
        self._context.destroy(linger=0)


class WorkerLink:
    """A worker's end. Reconnects by itself; `on_up` is called after each connection, then Hello must be the first send.

    `send` returns False while there is no connection: nothing is buffered, the caller says it again after `on_up`.
    """

    def __init__(
        self,
        path: str,
        *,
        generation: int,
        router_public: str,
        worker_public: str,
        worker_secret: str,
        on_message: Callable[[bytes], None],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
    ) -> None:
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = self._context.socket(zmq.DEALER)
        socket.set(zmq.ROUTING_ID, str(generation).encode())
        socket.set(zmq.CURVE_SERVERKEY, router_public.encode())
        socket.set(zmq.CURVE_PUBLICKEY, worker_public.encode())
        socket.set(zmq.CURVE_SECRETKEY, worker_secret.encode())
        socket.set(zmq.IMMEDIATE, 1)
        socket.set(zmq.RECONNECT_IVL, 20)
        socket.set(zmq.RECONNECT_IVL_MAX, 500)
        _bound(socket)
        self._path = path
        self._monitor = _Reader(socket.get_monitor_socket(_MONITORED), self._on_event)
        self._reader = _Reader(socket, lambda frames: self._on_message(frames[0]))
        socket.connect(f"ipc://{path}")

    def send(self, message: Any) -> bool:
        """True when the message is on its way to a connected router."""
        try:
            self._reader.socket.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._reader.nudge()
        return True

    def reconnect(self) -> None:
        """Drop the connection and make a new one: for a router that took the connection but never said Welcome."""
        self._reader.socket.disconnect(f"ipc://{self._path}")
        self._reader.socket.connect(f"ipc://{self._path}")

    def close(self, linger: float = 0.0) -> None:
        """Close; waits at most `linger` seconds for what was sent to leave."""
        self._monitor.close()
        if linger:
            self._reader.socket.set(zmq.LINGER, int(linger * 1000))
            asyncio.get_running_loop().remove_reader(self._reader.socket.fileno())
            self._reader.socket.close()
            self._context.term()
        else:
            self._reader.close()
            self._context.destroy(linger=0)

    def _on_event(self, frames: list[bytes]) -> None:
        event = struct.unpack_from("=H", frames[0])[0]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._on_up()
        elif event == zmq.EVENT_DISCONNECTED:
            self._on_down()


def _bound(socket: zmq.Socket[bytes]) -> None:
    """Limits every link socket has."""
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.SNDHWM, _HIGH_WATER)
    socket.set(zmq.RCVHWM, _HIGH_WATER)
    socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_IVL)
    socket.set(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT)
