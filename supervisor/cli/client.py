"""The CLI's end of the control socket: blocking, with a time limit on every wait."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from protocol import control as c
from protocol.codec import Decoder
from protocol.errors import ProtocolViolation, UserError
from protocol.paths import Paths
from protocol.pipe import FrameReader, PipeClosed, receive_blocking, send_blocking

T = TypeVar("T")

#: Seconds for an answer that costs nothing.
QUICK = 10.0
#: Seconds for a roll of all workers or a drain.
LONG = 300.0


class NotRunning(UserError):
    """No gateway answers on this state folder."""

    def __init__(self, paths: Paths, reason: str) -> None:
        place = str(paths.control_socket)
        super().__init__(f"gateway not running ({reason})", where=place, hint="openclaw gateway start")
        self.reason = reason


class Line:
    """One connection. `ask` sends a request and waits for its last reply."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout

    def wait_for(self, seconds: float) -> None:
        """From now on, wait as long as this for each reply."""
        self._timeout = seconds
        self._sock.settimeout(seconds)

    def ask(
        self, request: Any, decoder: Decoder[T], kind: type[Any], *, hear: Callable[[Any], None] | None = None
    ) -> Any:
        """The reply of the wanted kind; what comes before it goes to `hear`. Raises UserError on Failure."""
        reader = FrameReader(decoder)
        try:
            send_blocking(self._sock, request)
            while True:
                reply, _ = receive_blocking(self._sock, reader)
                if isinstance(reply, c.Failure):
                    raise UserError(reply.message, where=reply.where or None, hint=reply.hint or None)
                if isinstance(reply, kind):
                    return reply
                if hear is not None:
                    hear(reply)
        except TimeoutError:
            text = f"the gateway did not answer within {self._timeout:g} seconds"
            raise UserError(text, hint="openclaw logs --lines 50") from None
        except (PipeClosed, OSError):
            raise UserError("the gateway closed the connection", hint="openclaw logs --lines 50") from None
        except ProtocolViolation as error:
            hint = "openclaw gateway restart"
            raise UserError(f"the running gateway speaks another version: {error}", hint=hint) from None


@contextmanager
def connect(paths: Paths, timeout: float = QUICK) -> Iterator[Line]:
    """A line to the supervisor. Raises NotRunning."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        try:
            sock.connect(str(paths.control_socket))
        except FileNotFoundError:
            raise NotRunning(paths, "no control socket") from None
        except ConnectionRefusedError:
            raise NotRunning(paths, "nobody listens on the control socket") from None
        except OSError as error:
            raise NotRunning(paths, error.strerror or str(error)) from None
        yield Line(sock, timeout)
    finally:
        sock.close()


def status(paths: Paths) -> c.GatewayStatus:
    """What the supervisor knows. Raises NotRunning."""
    with connect(paths) as line:
        found: c.GatewayStatus = line.ask(c.GetStatus(), c.from_supervisor, c.GatewayStatus)
        return found


def is_running(paths: Paths) -> bool:
    """Whether a gateway answers on this state folder."""
    try:
        with connect(paths, 2.0):
            return True
    except NotRunning:
        return False


def command(paths: Paths, request: c.Restart | c.Stop, hear: Callable[[str], None]) -> str:
    """Have the supervisor do something that takes a while; progress goes to `hear`."""

    def on_reply(reply: Any) -> None:
        if isinstance(reply, c.Progress):
            hear(reply.text)

    with connect(paths, LONG) as line:
        done: c.Finished = line.ask(request, c.from_supervisor, c.Finished, hear=on_reply)
        return done.text


@contextmanager
def attached(paths: Paths, timeout: float = QUICK) -> Iterator[Line]:
    """A line to the router, through the supervisor's door. Raises NotRunning."""
    with connect(paths, timeout) as line:
        line.ask(c.Attach(), c.from_router, c.Attached)
        yield line
