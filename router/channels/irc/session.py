"""One connection's talk after TCP is up: bytes and time in, effects out. Pure: no socket, no clock.

    registering --376/422--> welcomed --900, or a moment without answer--> settled (channels are joined)

`now` is monotonic seconds for pauses; `at` is seconds since the epoch, for messages without server-time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from protocol.envelope import Inbound
from router.channels.base import AccountRejected, AccountTrouble
from router.channels.irc.flood import LINE_COST, Bucket
from router.channels.irc.identity import Identity
from router.channels.irc.login import Login
from router.channels.irc.names import Isupport, fold
from router.channels.irc.parse import Context, Question, parse, plain
from router.channels.irc.rooms import REFUSALS, Rooms
from router.channels.irc.settings import IrcSettings
from router.channels.irc.wire import Line, LineBuffer, LineTooLong, build
from router.channels.irc.wire import parse as parse_line

#: Numerics after which a message surely did not arrive and never will.
_SEND_REFUSED = frozenset(
    ["401", "403", "404", "407", "411", "412", "413", "414", "415", "442", "477", "486", "489", "492", "531", "716"]
)
#: Numerics after which a message surely did not arrive, but may later: target change too fast, server busy.
_SEND_DELAYED = frozenset({"439", "263"})


class Timing(msgspec.Struct, frozen=True):
    """Seconds. `silence` until we ask whether the server lives, `patience` for its answer and for any send's."""

    connect: float = 15.0
    register: float = 40.0
    silence: float = 60.0
    patience: float = 30.0
    identify: float = 5.0
    regain: float = 60.0


class Pong(msgspec.Struct, frozen=True):
    """The server has worked through everything before the PING with this token."""

    token: str


class Refusal(msgspec.Struct, frozen=True):
    """The server did not pass a message on. `target` is folded; empty means whichever was last."""

    target: str
    reason: str
    temporary: bool = False


class Echo(msgspec.Struct, frozen=True):
    """Our own message as the server passed it on, with the id it gave it."""

    target: str
    message_id: str


Reply = Pong | Refusal | Echo


@dataclass
class Effects:
    """What the owner of the socket has to do. `trouble` ends the link, after all else has been done."""

    lines: list[bytes] = field(default_factory=list)
    messages: list[Inbound] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    welcomed: bool = False
    trouble: AccountTrouble | AccountRejected | None = None


class Session:
    """The state of one connection.

    `epoch` makes the ids of messages without a server's id unique over reconnects and restarts.
    """

    def __init__(self, settings: IrcSettings, account: str, epoch: str, now: float, timing: Timing) -> None:
        self._settings = settings
        self._account = account
        self._epoch = epoch
        self._timing = timing
        self._buffer = LineBuffer()
        self._login = Login(settings)
        self._identity = Identity(settings, settings.nick, False, self.fold)
        self._ctcp = Bucket(3, 5.0, now)
        self._count = 0
        self._started = self._heard = now
        self._pinged: float | None = None
        self.rooms = Rooms(settings.rooms, self.isupport.casemapping)

    def __repr__(self) -> str:
        state = "settled" if self.settled else "welcomed" if self.welcomed else "registering"
        return f"Session({state} as {self.nick}{', logged in' if self.logged_in else ''}, {self.rooms!r})"

    @property
    def welcomed(self) -> bool:
        """Messages can be sent."""
        return self._login.welcomed

    @property
    def settled(self) -> bool:
        """Identified, or not waiting for that any more."""
        return self.welcomed and not self._identity.waiting

    @property
    def nick(self) -> str:
        """The nick we hold now."""
        return self._identity.nick if self.welcomed else self._login.nick

    @property
    def caps(self) -> frozenset[str]:
        """The capabilities in force."""
        return self._login.caps

    @property
    def logged_in(self) -> bool:
        """Services know who we are."""
        return self._login.logged_in or self._identity.logged_in

    @property
    def isupport(self) -> Isupport:
        """What this server told of its rules."""
        return self._login.isupport

    def fold(self, name: str) -> str:
        """A name in the form in which this server compares it."""
        return fold(name, self.isupport.casemapping)

    def start(self) -> list[bytes]:
        """The lines to open with."""
        return self._login.start()

    # -- time ---------------------------------------------------------------------------------------------------

    def next_due(self) -> float:
        """When `tick` has to be called next."""
        if not self.welcomed:
            return self._started + self._timing.register
        alive = self._heard + self._timing.silence if self._pinged is None else self._pinged + self._timing.patience
        rooms = self.rooms.next_due() if self.settled else None
        return min([alive, *self._identity.next_due(), *([] if rooms is None else [rooms])])

    def tick(self, now: float) -> Effects:
        """What is due by time alone. Raises AccountTrouble where the server is dead."""
        effects = Effects()
        if self.welcomed:
            self._check_alive(now, effects)
            self._check_identity(now, effects)
            self._join(now, effects)
        elif now >= self._started + self._timing.register:
            raise AccountTrouble(f"no welcome from {self._settings.host} in {self._timing.register:g} s")
        return effects

    def _check_alive(self, now: float, effects: Effects) -> None:
        if self._pinged is not None and now >= self._pinged + self._timing.patience:
            raise AccountTrouble(f"no sign of life from {self._settings.host} for {now - self._heard:.0f} s")
        if self._pinged is None and now >= self._heard + self._timing.silence:
            self._pinged = now
            effects.lines.append(build("PING", "alive"))

    def _check_identity(self, now: float, effects: Effects) -> None:
        identity = self._identity
        if identity.identify_until is not None and now >= identity.identify_until:
            identity.give_up()
            effects.notes.append(f"no answer from {identity.service} to IDENTIFY; going on without")
        if identity.regain_at is not None and now >= identity.regain_at:
            effects.lines += identity.regain(now, self._timing.regain)

    def _join(self, now: float, effects: Effects) -> None:
        if self.settled:
            effects.lines += self.rooms.joins(now)

    # -- lines --------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float, at: float) -> Effects:
        """Work through bytes from the server. What came before a line that ends the link still counts."""
        effects = Effects()
        self._heard, self._pinged = now, None
        try:
            for raw in self._buffer.feed(data):
                if line := parse_line(raw):
                    self._handle(line, now, at, effects)
        except LineTooLong as error:
            effects.trouble = AccountTrouble(f"{self._settings.host} sent {error}")
        except (AccountTrouble, AccountRejected) as trouble:
            effects.trouble = trouble
        return effects

    def _handle(self, line: Line, now: float, at: float, effects: Effects) -> None:
        if line.command == "PING":
            effects.lines.append(build("PONG", line.param(0)[:100]))
        elif line.command == "ERROR":
            self._login.fail(line)
        elif not self.welcomed:
            self._register(line, now, effects)
        elif line.command == "PRIVMSG":
            self._on_message(line, now, at, effects)
        elif handler := _HANDLERS.get(line.command):
            handler(self, line, now, effects)
        else:
            self._on_numeric(line, now, effects)

    def _register(self, line: Line, now: float, effects: Effects) -> None:
        effects.lines += self._login.feed(line)
        if self.welcomed:
            effects.welcomed = True
            self._begin(now, effects)

    def _begin(self, now: float, effects: Effects) -> None:
        """The server has welcomed us: identify, get our nick, join."""
        identity = self._identity = Identity(self._settings, self._login.nick, self._login.logged_in, self.fold)
        self.rooms = Rooms(self._settings.rooms, self.isupport.casemapping)
        effects.lines += identity.identify(now, self._timing.identify)
        if not identity.has_own_nick:
            effects.notes.append(f"nick {self._settings.nick} is taken; here as {self.nick}, will try to get it back")
            effects.lines += identity.regain(now, self._timing.regain)
        self._join(now, effects)

    # -- messages -----------------------------------------------------------------------------------------------

    def _on_message(self, line: Line, now: float, at: float, effects: Effects) -> None:
        self._count += 1
        if self._identity.is_me(line.nick):
            effects.replies.append(Echo(self.fold(line.param(0)), line.tags.get("msgid", "")[:128]))
            return
        match parse(line, self._context(), at, f"{self._epoch}.{self._count}"):
            case Inbound() as message:
                effects.messages.append(message)
            case Question() as question:
                self._answer(question, line, now, effects)

    def _context(self) -> Context:
        return Context("irc", self._account, self.nick, self.isupport, self._settings.match_by_nick)

    def _answer(self, question: Question, line: Line, now: float, effects: Effects) -> None:
        """VERSION and PING, asked of us alone and not too often."""
        argument = plain(question.argument)[:100]
        answers = {"VERSION": "VERSION OpenClaw", "PING": f"PING {argument}"}
        if question.verb not in answers or not self._identity.is_me(line.param(0)):
            return
        if len(question.nick) <= 64 and self._ctcp.try_take(LINE_COST, now):
            effects.lines.append(build("NOTICE", question.nick, f"\x01{answers[question.verb]}\x01"))

    # -- who is where -------------------------------------------------------------------------------------------

    def _on_notice(self, line: Line, now: float, effects: Effects) -> None:
        """Never answered, as bots answering notices would talk to each other for ever."""
        effects.lines += self._identity.on_notice(line)
        self._join(now, effects)

    def _on_logged_in(self, line: Line, now: float, effects: Effects) -> None:
        self._identity.identified()
        self._join(now, effects)

    def _on_join(self, line: Line, now: float, effects: Effects) -> None:
        if self._identity.is_me(line.nick):
            self.rooms.entered(line.param(0), now)

    def _on_part(self, line: Line, now: float, effects: Effects) -> None:
        if self._identity.is_me(line.nick):
            self._removed(line.param(0), "parted by the server", now, effects)

    def _on_kick(self, line: Line, now: float, effects: Effects) -> None:
        if self._identity.is_me(line.param(1)):
            reason = f"kicked by {line.nick[:64]}: {plain(line.param(2))[:100]}"
            self._removed(line.param(0), reason, now, effects)

    def _removed(self, room: str, reason: str, now: float, effects: Effects) -> None:
        if seat := self.rooms.removed(room, reason, now):
            effects.notes.append(f"out of {seat.room.name} ({reason}); joining again in {seat.due - now:.0f} s")

    def _on_nick(self, line: Line, now: float, effects: Effects) -> None:
        effects.lines += self._identity.renamed(line.nick, line.param(0), now, self._timing.regain)

    def _on_quit(self, line: Line, now: float, effects: Effects) -> None:
        effects.lines += self._identity.left(line.nick)

    # -- numerics -----------------------------------------------------------------------------------------------

    def _on_pong(self, line: Line, now: float, effects: Effects) -> None:
        effects.replies.append(Pong(line.param(-1)))

    def _on_login_line(self, line: Line, now: float, effects: Effects) -> None:
        effects.lines += self._login.feed(line)

    def _on_fail(self, line: Line, now: float, effects: Effects) -> None:
        """IRCv3 standard replies: FAIL <command> <code> [context] :text."""
        if line.param(0).upper() == "PRIVMSG":
            effects.replies.append(Refusal("", plain(line.param(-1))[:200]))

    def _on_numeric(self, line: Line, now: float, effects: Effects) -> None:
        """Refusals of a JOIN or of a message; a channel we are not in is not written to, so they are not mixed up."""
        code, subject, said = line.command, line.param(1), plain(line.param(-1))[:200]
        if code in REFUSALS and (seat := self.rooms.refused(subject, code, now)):
            effects.notes.append(f"cannot join {seat.room.name}: {seat.reason}; again in {seat.due - now:.0f} s")
        elif code in _SEND_REFUSED or code in _SEND_DELAYED:
            target = "" if code == "263" else self.fold(subject)
            effects.replies.append(Refusal(target, f"{said} ({code})", code in _SEND_DELAYED))
            self._skip_absent_service(code, target, now, effects)

    def _skip_absent_service(self, code: str, target: str, now: float, effects: Effects) -> None:
        service = self._identity.service
        if code == "401" and target == self.fold(service) and self._identity.give_up():
            effects.notes.append(f"no {service} on {self._settings.host}; going on without")
            self._join(now, effects)


_Handler = Callable[[Session, Line, float, Effects], None]
_HANDLERS: dict[str, _Handler] = {
    "NOTICE": Session._on_notice,
    "PONG": Session._on_pong,
    "JOIN": Session._on_join,
    "PART": Session._on_part,
    "KICK": Session._on_kick,
    "NICK": Session._on_nick,
    "QUIT": Session._on_quit,
    "CAP": Session._on_login_line,
    "005": Session._on_login_line,
    "900": Session._on_logged_in,
    "FAIL": Session._on_fail,
}
