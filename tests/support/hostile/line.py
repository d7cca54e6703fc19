"""The link as a hostile worker uses it: blocking, with any routing id, any bytes, and no manners."""

from __future__ import annotations

import time
from typing import Any

import zmq

from protocol import messages as m
from protocol.codec import encode
from protocol.slices import WorkerSlice


class Line:
    """One connection with this agent's key."""

    def __init__(self, settings: WorkerSlice, name: str, path: str = "") -> None:
        """`name` is the routing id, by right the generation; `path` is somebody's link socket, else its own."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.ROUTING_ID, name.encode())
        self._socket.set(zmq.CURVE_SERVERKEY, settings.router_public.encode())
        self._socket.set(zmq.CURVE_PUBLICKEY, settings.worker_public.encode())
        self._socket.set(zmq.CURVE_SECRETKEY, settings.worker_secret.encode())
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.SNDTIMEO, 300)
        self._socket.set(zmq.RECONNECT_IVL, 20)
        self._socket.connect(f"ipc://{path or settings.link_socket}")

    def say(self, *frames: Any) -> bool:
        """One message of these frames, bytes as they are; False when nobody takes it."""
        try:
            self._socket.send_multipart([one if isinstance(one, bytes) else encode(one) for one in frames])
        except zmq.Again:
            return False
        return True

    def hear(self, seconds: float) -> m.RouterToWorker | None:
        """The next message; None when none comes in time."""
        if not self._socket.poll(int(seconds * 1000)):
            return None
        return m.router_to_worker.decode(self._socket.recv())

    def greet(self, generation: int, seconds: float) -> bool:
        """Say Hello until there is a Welcome."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.say(m.Hello(version=m.PROTOCOL_VERSION, generation=generation))
            if isinstance(self.hear(0.2), m.Welcome):
                return True
        return False

    def close(self) -> None:
        self._context.destroy(linger=0)
