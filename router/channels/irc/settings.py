"""What one account says in `channels.irc`, checked and typed.

The key names are those of the original (`host port tls nick username realname password passwordFile channels nickserv
dangerouslyAllowNameMatching textChunkLimit`); `sasl`, `tlsInsecure`, `tlsCaFile`, `tlsCertFile`, `tlsKeyFile`,
`floodBurst` and `floodInterval` are ours. Keys common to all channels are not looked at here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from protocol.errors import UserError
from router.channels.irc.names import is_nick

Mechanism = Literal["plain", "external"]
T = TypeVar("T")

#: Our source characters in one message (SPEC 4.9): about one line of 512 bytes.
TEXT_LIMIT = 350
_MAX_TEXT_LIMIT = 4000
_MAX_SECRET_FILE = 4096
_NO_SPACE = re.compile(r"[^\s\0]{1,200}")
_ROOM = re.compile(r"[^\s\0,\x07:]{1,200}( [^\s\0,]{1,100})?")


class Secret(str):
    """A password: a str that does not show in repr, tracebacks or struct dumps."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


class Room(msgspec.Struct, frozen=True):
    """A channel to be in, and its key if it has one."""

    name: str
    key: Secret = Secret()


class NickServ(msgspec.Struct, frozen=True):
    """Identifying by a message to the network's nick service, for networks without SASL."""

    service: str
    password: Secret
    register_email: str = ""


class Sasl(msgspec.Struct, frozen=True):
    """Logging in during registration. `external` means by TLS client certificate and needs no password."""

    mechanism: Mechanism
    username: str
    password: Secret = Secret()


class IrcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account. `where` is its config path, for messages to the operator; `flood_interval` is in seconds."""

    where: str
    host: str
    port: int
    nick: str
    username: str
    realname: str
    tls: bool = True
    tls_insecure: bool = False
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    password: Secret = Secret()
    rooms: tuple[Room, ...] = ()
    nickserv: NickServ | None = None
    sasl: Sasl | None = None
    text_limit: int = TEXT_LIMIT
    match_by_nick: bool = False
    flood_burst: int = 5
    flood_interval: float = 2.0


def read(account: str, values: Mapping[str, Any]) -> IrcSettings:
    """Check one account's settings. Raises UserError that names the key."""
    section = _Section(f"$.channels.irc.accounts.{account}", values)
    tls = section.flag("tls", True)
    nick = section.nick("nick")
    return IrcSettings(
        where=section.where,
        host=section.word("host", required=True),
        port=section.number("port", 6697 if tls else 6667, 1, 65535),
        nick=nick,
        username=section.word("username", nick),
        realname=section.phrase("realname", "OpenClaw"),
        tls=tls,
        tls_insecure=section.flag("tlsInsecure", False),
        tls_ca_file=section.path("tlsCaFile"),
        tls_cert_file=section.path("tlsCertFile"),
        tls_key_file=section.path("tlsKeyFile"),
        password=section.secret("password"),
        rooms=_rooms(section),
        nickserv=_nickserv(section),
        sasl=_sasl(section, nick),
        text_limit=section.number("textChunkLimit", TEXT_LIMIT, 1, _MAX_TEXT_LIMIT),
        match_by_nick=section.flag("dangerouslyAllowNameMatching", False),
        flood_burst=section.number("floodBurst", 5, 1, 1000),
        flood_interval=section.seconds("floodInterval", 2.0),
    )


class _Section:
    """A mapping and its place in the config: every getter checks and names the path."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self._values = values

    def wrong(self, key: str, what: str, hint: str | None = None) -> UserError:
        return UserError(what, where=f"{self.where}.{key}", hint=hint)

    def get(self, key: str, kind: type[T] | tuple[type[T], ...], otherwise: T, what: str) -> T:
        value = self._values.get(key)
        if value is None:
            return otherwise
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, f"must be {what}")
        return value

    def flag(self, key: str, otherwise: bool) -> bool:
        return self.get(key, bool, otherwise, "true or false")

    def number(self, key: str, otherwise: int, low: int, high: int) -> int:
        value = self.get(key, int, otherwise, f"a whole number from {low} to {high}")
        if not low <= value <= high:
            raise self.wrong(key, f"must be a whole number from {low} to {high}")
        return value

    def seconds(self, key: str, otherwise: float) -> float:
        value = float(self.get(key, (int, float), otherwise, "a number of seconds from 0 to 60"))
        if not 0 <= value <= 60:
            raise self.wrong(key, "must be a number of seconds from 0 to 60")
        return value

    def word(self, key: str, otherwise: str = "", *, required: bool = False) -> str:
        value = self.get(key, str, otherwise, "a string").strip()
        if not value and not required:
            return otherwise
        if not _NO_SPACE.fullmatch(value):
            hint = f"openclaw config set {self.where[2:]}.{key} <value>"
            raise self.wrong(key, "must be a word without spaces", hint)
        return value

    def phrase(self, key: str, otherwise: str) -> str:
        value = self.get(key, str, otherwise, "a string")
        if any(mark in value for mark in "\r\n\0") or len(value.encode()) > 200:
            raise self.wrong(key, "must be one line of at most 200 bytes")
        return value or otherwise

    def nick(self, key: str) -> str:
        value = self.word(key, required=True)
        if not is_nick(value):
            raise self.wrong(key, f"{value!r} is not a nick: letters, digits and _-[]\\`^{{}}|, not first a digit or -")
        return value

    def path(self, key: str) -> str | None:
        value = self.get(key, str, "", "a file name")
        return os.path.expanduser(value) or None

    def secret(self, key: str) -> Secret:
        """The key itself or, for one who keeps it out of the config, `<key>File`."""
        inline = self.get(key, str, "", "a string")
        value = inline or self._secret_file(f"{key}File")
        if any(mark in value for mark in "\r\n\0"):
            raise self.wrong(key, "must be one line")
        return Secret(value)

    def _secret_file(self, key: str) -> str:
        name = self.path(key)
        if name is None:
            return ""
        try:
            return _read_regular(name).strip()
        except (OSError, ValueError) as error:
            raise self.wrong(key, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def section(self, key: str) -> _Section | None:
        values = self._values.get(key)
        if values is None:
            return None
        if not isinstance(values, Mapping):
            raise self.wrong(key, "must be an object")
        return _Section(f"{self.where}.{key}", values)

    def words(self, key: str) -> list[str]:
        values = self.get(key, list, [], "a list of strings")
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "must be a list of strings")
        return [str(value).strip() for value in values]


def _read_regular(name: str) -> str:
    """A regular file of moderate size, not through a link: nothing that blocks or grows without end."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        return file.read(_MAX_SECRET_FILE).decode()


def _rooms(section: _Section) -> tuple[Room, ...]:
    """`#name`, or `#name key` for a channel that has a key; a name without a channel sign gets `#`."""
    rooms = []
    for index, entry in enumerate(section.words("channels")):
        if not _ROOM.fullmatch(entry):
            raise section.wrong(f"channels[{index}]", f"{entry!r} is not a channel name, such as #team or '#team key'")
        name, _, key = entry.partition(" ")
        rooms.append(Room(name if name[0] in "#&+!" else f"#{name}", Secret(key)))
    return tuple(rooms)


def _nickserv(parent: _Section) -> NickServ | None:
    section = parent.section("nickserv")
    if section is None or not section.flag("enabled", True):
        return None
    password = section.secret("password")
    email = section.word("registerEmail")
    if section.flag("register", False) and not email:
        raise section.wrong("registerEmail", "is needed where register is true")
    register = email if section.flag("register", False) else ""
    return NickServ(section.word("service", "NickServ"), password, register) if password else None


def _sasl(parent: _Section, nick: str) -> Sasl | None:
    section = parent.section("sasl")
    if section is None or not section.flag("enabled", True):
        return None
    mechanism = section.word("mechanism", "plain").lower()
    password = section.secret("password")
    username = section.word("username", nick)
    if mechanism == "external":
        return _external(parent, section, username)
    if mechanism != "plain":
        raise section.wrong("mechanism", f'{mechanism!r} is not known: "plain" or "external"')
    if not password:
        raise section.wrong("password", "is needed for mechanism plain")
    return Sasl("plain", username, password)


def _external(parent: _Section, section: _Section, username: str) -> Sasl:
    if parent.path("tlsCertFile") is None or not parent.flag("tls", True):
        raise section.wrong("mechanism", "external needs tls and tlsCertFile")
    return Sasl("external", username)
