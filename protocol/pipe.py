"""A framed, typed pipe between the supervisor and one child: the way boot settings, secrets and descriptors travel.

It is a unix socketpair, so who is at the other end is known by the descriptor and not by a name. A frame is a 4-byte
big-endian length, one byte with the number of descriptors that come along (SCM_RIGHTS, unix(7)), and the JSON of one
message. Small and rare traffic: the hot path is `protocol.link`.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from protocol.codec import MAX_MESSAGE, Decoder, encode
from protocol.errors import ProtocolViolation

T = TypeVar("T")

_HEADER = struct.Struct("!IB")
#: Most descriptors in one frame: a worker's boot pipe and its log pipe.
MAX_FDS = 4
_READ = 256 * 1024


class PipeClosed(ConnectionError):
    """The other end is gone."""


def frame(message: Any, fds: int = 0) -> bytes:
    """The bytes of one frame, for writers without an event loop."""
    body = encode(message)
    return _HEADER.pack(len(body), fds) + body


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets, close-on-exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def send_blocking(sock: socket.socket, message: Any, fds: Sequence[int] = ()) -> None:
    """Write one frame on a blocking socket; raises PipeClosed."""
    data = memoryview(frame(message, len(fds)))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sent = sock.sendmsg([data], rights)
        # Not with an empty rest: that is a call too, and fails when the reader was done and closed already.
        if sent < len(data):
            sock.sendall(data[sent:])
    except OSError as error:
        raise PipeClosed(str(error)) from None


class FrameReader(Generic[T]):
    """Turns what `recvmsg` gives into messages and the descriptors that came with each."""

    def __init__(self, decoder: Decoder[T]) -> None:
        self._decoder = decoder
        self._data = bytearray()
        self._fds: deque[int] = deque()

    def read(self, sock: socket.socket) -> bool:
        """Read once; False at the end of the stream.

        Raises BlockingIOError on an empty non-blocking socket, ProtocolViolation for descriptors that no frame names:
        a child must not use up ours.
        """
        space = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
        data, rights, _, _ = sock.recvmsg(_READ, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.extend(fds)
        if len(self._fds) > 2 * MAX_FDS:  # those of a frame that is not whole yet, and of the one after it
            raise ProtocolViolation("descriptors without a frame")
        self._data += data
        return bool(data)

    def next(self) -> tuple[T, list[int]] | None:
        """The next whole message, or None. Raises ProtocolViolation."""
        if len(self._data) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(self._data)
        if length > MAX_MESSAGE or count > MAX_FDS:
            raise ProtocolViolation(f"frame of {length} bytes with {count} descriptors")
        end = _HEADER.size + length
        if len(self._data) < end:
            return None
        body = bytes(self._data[_HEADER.size : end])
        del self._data[:end]
        if len(self._fds) < count:
            raise ProtocolViolation("frame without its descriptors")
        return self._decoder.decode(body), [self._fds.popleft() for _ in range(count)]

    def close(self) -> None:
        """Close descriptors nobody took."""
        while self._fds:
            os.close(self._fds.popleft())


def receive_blocking(sock: socket.socket, reader: FrameReader[T]) -> tuple[T, list[int]]:
    """Wait for one message on a blocking socket; raises PipeClosed or ProtocolViolation."""
    while (found := reader.next()) is None:
        if not reader.read(sock):
            raise PipeClosed("the other end closed the pipe")
    return found


class Pipe(Generic[T]):
    """One end of a pipe inside an event loop. `T` is the union of messages that may come in.

    `send` never blocks: what the kernel does not take at once waits in memory and goes out in order. The supervisor
    is the only peer, so the memory is bounded by what we ourselves say.
    """

    def __init__(self, sock: socket.socket, decoder: Decoder[T]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader(decoder)
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[tuple[T, list[int]] | Exception] = asyncio.Queue()
        self._outbox: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._closed = False
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._loop.add_reader(sock, self._on_readable)

    def send(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Queue one message; descriptors are duplicated, so the caller keeps and closes its own."""
        if self._closed:
            raise PipeClosed("pipe is closed")
        self._outbox.append((memoryview(frame(message, len(fds))), [os.dup(fd) for fd in fds]))
        if len(self._outbox) == 1:
            self._flushed.clear()
            self._on_writable()

    async def flush(self) -> None:
        """Wait until the kernel has taken everything that was sent, or the pipe broke."""
        await self._flushed.wait()

    async def receive(self) -> tuple[T, list[int]]:
        """The next message and its descriptors. Raises PipeClosed at the end, ProtocolViolation on nonsense."""
        found = await self._inbox.get()
        if isinstance(found, Exception):
            self._inbox.put_nowait(found)
            raise found
        return found

    def close(self) -> None:
        """Stop reading and writing; unsent messages are dropped."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._drop_all()
        self._reader.close()
        self._sock.close()
        self._inbox.put_nowait(PipeClosed("pipe is closed"))

    def _on_readable(self) -> None:
        try:
            alive = self._reader.read(self._sock)
            while (found := self._reader.next()) is not None:
                self._inbox.put_nowait(found)
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation) as error:
            self._end(error if isinstance(error, ProtocolViolation) else PipeClosed(str(error)))
        else:
            if not alive:
                self._end(PipeClosed("the other end closed the pipe"))

    def _end(self, error: Exception) -> None:
        self._loop.remove_reader(self._sock)
        self._inbox.put_nowait(error)

    def _on_writable(self) -> None:
        try:
            while self._outbox:
                self._write_first()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._on_writable)
        except OSError as error:
            self._loop.remove_writer(self._sock)
            self._drop_all()
            self._end(PipeClosed(str(error)))
        else:
            self._loop.remove_writer(self._sock)
            self._flushed.set()

    def _write_first(self) -> None:
        data, fds = self._outbox[0]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self._sock.sendmsg([data], rights)
        for fd in fds:
            os.close(fd)
        if sent < len(data):
            self._outbox[0] = (data[sent:], ())
        else:
            self._outbox.popleft()

    def _drop_all(self) -> None:
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        self._outbox.clear()
        self._flushed.set()
