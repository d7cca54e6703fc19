"""Names as one IRC server sees them: what counts as the same nick, what is a channel, how long things may be.

The rules differ by server and are told in numeric 005 (RPL_ISUPPORT); until that line the values of RFC 1459 hold.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import msgspec

_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
#: RFC 1459 section 2.2: the Scandinavian letters. `~` and `^` are a pair only in the non-strict form.
_STRICT = str.maketrans(string.ascii_uppercase + "[]\\", string.ascii_lowercase + "{}|")
_RFC1459 = str.maketrans(string.ascii_uppercase + "[]\\~", string.ascii_lowercase + "{}|^")
_MAPPINGS = {"ascii": _ASCII, "rfc1459": _RFC1459, "strict-rfc1459": _STRICT, "rfc1459-strict": _STRICT}

#: Characters a nick is made of; a mention ends where these end.
NICK_CHARS = r"A-Za-z0-9_\-\[\]\\`^{}|"
_NICK = re.compile(rf"(?![0-9\-])[{NICK_CHARS}]{{1,64}}")


class Isupport(msgspec.Struct, frozen=True):
    """What numeric 005 told, as far as we use it. `line_length` is in bytes with CR LF."""

    casemapping: str = "rfc1459"
    channel_types: str = "#&"
    status_prefixes: str = ""
    nick_length: int | None = None
    line_length: int = 512


def merge(known: Isupport, tokens: Sequence[str]) -> Isupport:
    """Take in the tokens of one 005 line; unknown and broken ones change nothing."""
    values = dict(token.partition("=")[::2] for token in tokens if not token.startswith("-"))
    return Isupport(
        casemapping=values.get("CASEMAPPING", known.casemapping).lower(),
        channel_types=values.get("CHANTYPES", known.channel_types),
        status_prefixes=values.get("STATUSMSG", known.status_prefixes),
        nick_length=_number(values.get("NICKLEN"), known.nick_length),
        line_length=max(512, _number(values.get("LINELEN"), known.line_length) or 512),
    )


def _number(text: str | None, otherwise: int | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else otherwise


def fold(name: str, casemapping: str) -> str:
    """Lower-case a nick or channel as the server compares them; an unknown mapping is taken as ascii."""
    return name.translate(_MAPPINGS.get(casemapping, _ASCII))


def is_channel(name: str, isupport: Isupport) -> bool:
    """Whether a target names a channel, not a person."""
    return name[:1] != "" and name[0] in isupport.channel_types


def without_status(target: str, isupport: Isupport) -> str:
    """`@#staff` (a message to the operators of #staff) -> `#staff`."""
    bare = target.lstrip(isupport.status_prefixes)
    return bare if is_channel(bare, isupport) else target


def is_nick(text: str) -> bool:
    """Whether a server of today would take this as a nick."""
    return _NICK.fullmatch(text) is not None


#: How many other nicks are tried before the login is given up for now.
ALTERNATES = 9


def alternate(nick: str, attempt: int) -> str:
    """The nick to try after `attempt` refusals: nick_, nick__, then short ones in case those were too long."""
    return nick + "_" * attempt if attempt <= 2 else f"{nick[:7]}{attempt}"


def is_mentioned(nick: str, text: str, casemapping: str) -> bool:
    """Whether the nick stands in the text as a word of its own (`bob: hi`, `hi bob!`, not `bobby`)."""
    pattern = rf"(?<![{NICK_CHARS}]){re.escape(fold(nick, casemapping))}(?![{NICK_CHARS}])"
    return re.search(pattern, fold(text, casemapping)) is not None
