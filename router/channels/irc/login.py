"""From the first byte to "welcome": capabilities, SASL, nick. Pure: lines in, lines out, or a failure.

Order (IRCv3 capability negotiation): PASS, CAP LS 302, NICK, USER; the server waits with its welcome until CAP END,
which we send after SASL has ended. A server without CAP answers 421 or nothing and welcomes us anyway.
"""

from __future__ import annotations

import base64
from typing import NoReturn

from router.channels.base import AccountRejected, AccountTrouble
from router.channels.irc.names import ALTERNATES, Isupport, alternate, merge
from router.channels.irc.parse import plain
from router.channels.irc.settings import IrcSettings
from router.channels.irc.wire import Line, build

#: What we make use of; each works without the others. `batch` and `labeled-response` are left out, see STATUS.md.
WANTED_CAPS = ("account-tag", "echo-message", "message-tags", "server-time")
_CHUNK = 400
_NICK_TAKEN = {"433", "436", "437"}
_SASL_REFUSED = {"902", "904", "905"}
_MAX_CAPS = 200
#: Seconds to stay away when the server says that we come too often.
THROTTLED_PAUSE = 60.0
_THROTTLED = ("throttl", "too fast", "too many", "trying to reconnect")


class Login:
    """One attempt to register. Feed it lines until `welcomed`; it answers with lines to send.

    Raises AccountRejected for what only the operator can change, with the config path and never the secret, and
    AccountTrouble for what may be different next time.
    """

    def __init__(self, settings: IrcSettings) -> None:
        self._settings = settings
        self._attempt = 0
        self._offered: dict[str, str] = {}
        self.nick = settings.nick
        self.caps: frozenset[str] = frozenset()
        self.isupport = Isupport()
        self.logged_in = False
        self.welcomed = False

    def __repr__(self) -> str:
        state = "welcomed" if self.welcomed else "registering"
        return f"Login({state} as {self.nick}, caps {' '.join(sorted(self.caps)) or 'none'})"

    def start(self) -> list[bytes]:
        """The lines that open the talk."""
        settings = self._settings
        password = [build("PASS", settings.password)] if settings.password else []
        user = build("USER", settings.username, "0", "*", settings.realname)
        return [*password, build("CAP", "LS", "302"), build("NICK", self.nick), user]

    def feed(self, line: Line) -> list[bytes]:
        """What to answer to one line of the server."""
        match line.command:
            case "CAP":
                return self._on_cap(line)
            case "AUTHENTICATE":
                return self._credentials(line)
            case "900":
                self.logged_in = True
            case "903" | "907":
                self.logged_in = True
                return [build("CAP", "END")]
            case "001":
                self._welcome(line)
            case "005":
                self.isupport = merge(self.isupport, line.params[1:-1])
            case "376" | "422":
                self.welcomed = True
            case _:
                return self._on_refusal(line)
        return []

    def _on_cap(self, line: Line) -> list[bytes]:
        names = line.param(-1).split()
        match line.param(1).upper():
            case "LS":
                self._offer(names)
                return [] if line.param(2) == "*" and len(line.params) > 3 else self._request()
            case "ACK":
                self.caps |= {name for name in names if not name.startswith("-")}
                return self._after_caps()
            case "NAK":
                return self._after_caps()
            case "DEL":
                self.caps -= set(names)
        return []

    def _offer(self, names: list[str]) -> None:
        for name in names[: _MAX_CAPS - len(self._offered)]:
            key, _, value = name.partition("=")
            self._offered[key] = value

    def _request(self) -> list[bytes]:
        wanted = [name for name in WANTED_CAPS if name in self._offered]
        wanted += ["sasl"] if self._settings.sasl and "sasl" in self._offered else []
        return [build("CAP", "REQ", " ".join(wanted))] if wanted else self._after_caps()

    def _after_caps(self) -> list[bytes]:
        sasl = self._settings.sasl
        if sasl is None or self.welcomed:
            return [] if self.welcomed else [build("CAP", "END")]
        if "sasl" in self.caps:
            return [build("AUTHENTICATE", sasl.mechanism.upper())]
        self._need_no_sasl()
        return [build("CAP", "END")]

    def _need_no_sasl(self) -> None:
        """Going on without the login that was asked for is right only where NickServ can make up for it."""
        if self._settings.sasl and not self.logged_in and not self._settings.nickserv:
            raise AccountTrouble(f"{self._settings.host} offers no SASL now (none at all, or its services are down)")

    def _credentials(self, line: Line) -> list[bytes]:
        sasl = self._settings.sasl
        if sasl is None or line.param(0) != "+":
            return []
        name = sasl.username
        answer = "" if sasl.mechanism == "external" else f"{name}\0{name}\0{sasl.password}"
        return [build("AUTHENTICATE", part) for part in _base64_parts(answer.encode())]

    def _welcome(self, line: Line) -> None:
        self._need_no_sasl()
        self.nick = line.param(0) or self.nick

    def _on_refusal(self, line: Line) -> list[bytes]:
        said = plain(line.param(-1))[:200]
        if line.command in _NICK_TAKEN and not self.welcomed:
            return self._other_nick(said)
        if line.command == "432" and not self.welcomed:
            return self._bad_nick(said)
        if line.command in _SASL_REFUSED:
            raise self._rejected(self._sasl_key(), f"{self._settings.host} refused the SASL login: {said}")
        if line.command == "908":
            known = plain(line.param(1))[:200]
            raise self._rejected("sasl.mechanism", f"{self._settings.host} does not know it, but: {known}")
        if line.command == "906":
            raise AccountTrouble(f"SASL was aborted: {said}")
        if line.command == "464":
            raise self._rejected("password", f"{self._settings.host} refused the server password: {said}")
        if line.command == "465":
            raise self._rejected("host", f"{self._settings.host} has banned us: {said}")
        return []

    def fail(self, line: Line) -> NoReturn:
        """The server sent ERROR and is about to close the link. Always raises."""
        said = plain(line.param(-1))[:200]
        what = f"{self._settings.host} closed the link: {said}"
        if not self.welcomed and "password" in said.lower():
            raise self._rejected("password", what)
        throttled = any(word in said.lower() for word in _THROTTLED)
        raise AccountTrouble(what, retry_after=THROTTLED_PAUSE if throttled else None)

    def _sasl_key(self) -> str:
        sasl = self._settings.sasl
        return "tlsCertFile" if sasl and sasl.mechanism == "external" else "sasl.password"

    def _rejected(self, key: str, what: str) -> AccountRejected:
        return AccountRejected(f"{self._settings.where}.{key}: {what}")

    def _other_nick(self, said: str) -> list[bytes]:
        self._attempt += 1
        if self._attempt > ALTERNATES:
            raise AccountTrouble(f"{self._settings.nick} and {ALTERNATES} nicks like it are taken: {said}")
        self.nick = alternate(self._settings.nick, self._attempt)
        return [build("NICK", self.nick)]

    def _bad_nick(self, said: str) -> list[bytes]:
        """Only the configured nick is the operator's fault; one we made up may be too long for this server."""
        if self._attempt == 0:
            raise self._rejected("nick", f"{self._settings.host} does not take {self.nick!r}: {said}")
        return self._other_nick(said)


def _base64_parts(answer: bytes) -> list[str]:
    """SASL answers go in pieces of 400 bytes; an empty one, and an empty rest after a full piece, is `+`."""
    text = base64.b64encode(answer).decode()
    parts = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    return [*parts, "+"] if len(text) % _CHUNK == 0 else parts
