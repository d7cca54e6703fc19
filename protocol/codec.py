"""Struct to bytes and back: JSON, with a size limit and an error that names the place.

JSON costs what msgpack costs here (about 1 µs a message) and can be read in a capture.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from protocol.errors import ProtocolViolation

T = TypeVar("T")

#: Largest message between two of our processes, in bytes. A chat text is at most 32,000 characters; a boot slice for
#: a thousand agents is about 1 MB.
MAX_MESSAGE = 16 * 1024 * 1024

_encoder = msgspec.json.Encoder()


def encode(message: Any) -> bytes:
    """The wire form of a message struct."""
    return _encoder.encode(message)


class Decoder(Generic[T]):
    """Decodes one union of tagged structs; anything else is a ProtocolViolation naming what and where."""

    def __init__(self, kind: Any, *, limit: int = MAX_MESSAGE) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._limit = limit

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """Raises ProtocolViolation on oversized, truncated, unknown or ill-typed input."""
        if len(data) > self._limit:
            raise ProtocolViolation(f"message of {len(data)} bytes is over the limit of {self._limit}")
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise ProtocolViolation(f"unexpected message: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(f"malformed message: {error}") from None
