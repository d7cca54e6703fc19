"""IRC lines: bytes to `Line` and back, bounded and safe against injection.

Written by hand, see STATUS.md. A line that makes no sense is None (servers do send odd ones); a line longer than the
protocol allows is an error, because then the two sides no longer agree where lines end.
"""

from __future__ import annotations

import re

import msgspec

#: IRCv3 message tags: 8191 bytes for tags, 512 for the rest.
MAX_LINE = 8191 + 512
#: What a client may send without tags, CR LF included (RFC 1459 section 2.3).
MAX_SENT = 512

_UNSENDABLE = re.compile(r"[\r\n\0]")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}


class LineTooLong(ValueError):
    """The server sent more bytes without a line end than the protocol allows."""


class Line(msgspec.Struct, frozen=True):
    """One message from the server. `command` is upper case, `source` is `nick!user@host` or a server name."""

    command: str
    params: tuple[str, ...] = ()
    source: str = ""
    tags: dict[str, str] = {}

    @property
    def nick(self) -> str:
        """The nick in `source`; the whole source where it is a server."""
        return self.source.partition("!")[0]

    def param(self, index: int) -> str:
        """A parameter, or the empty string where the server sent fewer."""
        return self.params[index] if -len(self.params) <= index < len(self.params) else ""


def parse(raw: bytes) -> Line | None:
    """Read one line without its CR LF; None if there is no command in it."""
    tags, rest = _head(_decode(raw).partition("\0")[0].strip("\r"), "@")
    source, rest = _head(rest, ":")
    middle, colon, last = f" {rest}".partition(" :")
    words = [word for word in middle.split(" ") if word]
    if not words:
        return None
    params = (*words[1:], last) if colon else tuple(words[1:])
    return Line(command=words[0].upper(), params=params, source=source, tags=_tags(tags))


def _head(text: str, mark: str) -> tuple[str, str]:
    if not text.startswith(mark):
        return "", text
    head, _, rest = text.partition(" ")
    return head[1:], rest.lstrip(" ")


def _decode(raw: bytes) -> str:
    """UTF-8; what is not, is taken as Latin-1, the other encoding still met on IRC. Never fails."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _tags(text: str) -> dict[str, str]:
    if not text:
        return {}
    pairs = (tag.partition("=") for tag in text.split(";"))
    return {key: _ESCAPE.sub(_unescape, value) for key, _, value in pairs if key}


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[1])


def build(command: str, *params: str) -> bytes:
    """One line to send, CR LF included.

    Raises ValueError for whatever would be read as something else than these parameters: a line break or NUL
    anywhere, a space or leading colon in any but the last, or more than 512 bytes.
    """
    for text in (command, *params):
        if _UNSENDABLE.search(text):
            raise ValueError("an IRC parameter holds a line break or NUL")
    for text in (command, *params[:-1]):
        if not text or " " in text or text.startswith(":"):
            raise ValueError("an IRC parameter other than the last is empty, holds a space or starts with a colon")
    line = " ".join((command, *params[:-1], *(f":{last}" for last in params[-1:]))).encode() + b"\r\n"
    if len(line) > MAX_SENT:
        raise ValueError(f"an IRC line of {len(line)} bytes; {MAX_SENT} are allowed")
    return line


class LineBuffer:
    """Cuts a byte stream into lines and holds at most one unfinished line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines finished by `data`, without line ends. Raises LineTooLong."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(len(line) > MAX_LINE for line in (*lines, self._rest)):
            raise LineTooLong(f"a line of more than {MAX_LINE} bytes")
        return [line for line in lines if line.strip(b"\r ")]
