"""Which nick we hold, and proving to the nick service that it is ours. Pure; `now` is monotonic seconds.

Right after the welcome IDENTIFY is sent; joining channels waits for its answer a moment, because channels may admit
identified nicks only. A nick held by somebody else is asked for again from time to time, and when its holder leaves;
services are asked to remove the holder (GHOST) where we can prove that the nick is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from router.channels.base import AccountRejected
from router.channels.irc.parse import plain
from router.channels.irc.settings import IrcSettings
from router.channels.irc.wire import Line, build

_WRONG_PASSWORD = ("invalid password", "incorrect password", "password incorrect", "wrong password")
_IDENTIFIED = ("identified", "logged in", "recognized", "accepted")


class Identity:
    """Our nick on one connection. `fold` compares names as this server does."""

    def __init__(self, settings: IrcSettings, nick: str, logged_in: bool, fold: Callable[[str], str]) -> None:
        self._settings = settings
        self._fold = fold
        self._ghosting = False
        self.nick = nick
        self.logged_in = logged_in
        self.identify_until: float | None = None
        self.regain_at: float | None = None

    @property
    def service(self) -> str:
        """The nick service's name on this network."""
        return self._settings.nickserv.service if self._settings.nickserv else "NickServ"

    @property
    def waiting(self) -> bool:
        """IDENTIFY was sent and not answered yet."""
        return self.identify_until is not None

    @property
    def has_own_nick(self) -> bool:
        return self.is_me(self._settings.nick)

    def is_me(self, nick: str) -> bool:
        """Whether a nick is the one we hold."""
        return self._fold(nick) == self._fold(self.nick)

    def next_due(self) -> list[float]:
        """When `expire` or `regain` have something to do."""
        return [due for due in (self.identify_until, self.regain_at) if due is not None]

    def identify(self, now: float, patience: float) -> list[bytes]:
        """Lines that log us in, none where SASL did or no password is known."""
        service = self._settings.nickserv
        if service is None or self.logged_in:
            return []
        self.identify_until = now + patience
        register = [f"REGISTER {service.password} {service.register_email}"] if service.register_email else []
        who = "" if self.has_own_nick else f"{self._settings.nick} "
        return [self._tell(text) for text in (*register, f"IDENTIFY {who}{service.password}")]

    def identified(self) -> bool:
        """Services know us now. Says whether that ended the waiting."""
        self.logged_in = True
        return self.give_up()

    def give_up(self) -> bool:
        """Go on without an answer. Says whether there was a waiting to end."""
        was_waiting, self.identify_until = self.waiting, None
        return was_waiting

    def regain(self, now: float, pause: float) -> list[bytes]:
        """Lines that ask for our own nick; none where we have it."""
        if self.has_own_nick:
            self.regain_at = None
            return []
        self.regain_at = now + pause
        return [*self._ghost(), self._ask_nick()]

    def _ghost(self) -> list[bytes]:
        service = self._settings.nickserv
        if service is None and not self.logged_in:
            return []
        self._ghosting = True
        return [self._tell(f"GHOST {self._settings.nick}" + (f" {service.password}" if service else ""))]

    def _ask_nick(self) -> bytes:
        return build("NICK", self._settings.nick)

    def _tell(self, text: str) -> bytes:
        return build("PRIVMSG", self.service, text)

    def on_notice(self, line: Line) -> list[bytes]:
        """The nick service's answers; all other notices are nobody's business. Raises AccountRejected.

        The service is known by its name alone: networks reserve it. Texts are those of Atheme and Anope in English;
        in another language the wait for IDENTIFY just runs out.
        """
        if "!" not in line.source or self._fold(line.nick) != self._fold(self.service.partition("@")[0]):
            return []
        text = plain(line.param(1))[:200].lower()
        if self.waiting and any(phrase in text for phrase in _WRONG_PASSWORD):
            where = f"{self._settings.where}.nickserv.password"
            raise AccountRejected(f"{where}: {line.nick} on {self._settings.host} refused it")
        if self.waiting and any(phrase in text for phrase in _IDENTIFIED) and "not " not in text:
            self.identified()
        if not self._ghosting or self.has_own_nick:
            return []
        self._ghosting = False
        return [self._ask_nick()]

    def renamed(self, old: str, new: str, now: float, pause: float) -> list[bytes]:
        """Somebody changed nick: perhaps we, perhaps the holder of ours."""
        if not self.is_me(old):
            return self.left(old)
        self.nick = new or self.nick
        self.regain_at = None if self.has_own_nick else now + pause
        return []

    def left(self, nick: str) -> list[bytes]:
        """A nick is free; if it is ours, ask for it."""
        return [] if self.has_own_nick or self._fold(nick) != self._fold(self._settings.nick) else [self._ask_nick()]
