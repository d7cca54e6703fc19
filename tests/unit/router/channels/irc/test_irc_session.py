"""One connection as a dialogue with a clock: identity, channels, liveness, bounds."""

from __future__ import annotations

from typing import Any

import pytest

from router.channels.base import AccountRejected, AccountTrouble
from router.channels.irc.session import Echo, Effects, Pong, Refusal, Session, Timing
from router.channels.irc.settings import read
from router.channels.irc.wire import MAX_LINE

WELCOME = ("CAP * LS :", "001 claw :hi", "005 claw CASEMAPPING=rfc1459 CHANTYPES=# STATUSMSG=@ :x", "376 claw :end")


def session(**more: Any) -> Session:
    settings = read("work", {"host": "irc.test", "nick": "claw", **more})
    return Session(settings, "work", "epoch", 0.0, Timing())


def hear(ours: Session, *lines: str, now: float = 1.0) -> Effects:
    return ours.feed("".join(f"{line}\r\n" for line in lines).encode(), now, 5000.0)


def welcomed(**more: Any) -> Session:
    ours = session(**more)
    hear(ours, *WELCOME)
    return ours


def test_the_welcome_joins_the_channels() -> None:
    """Ensure that without NickServ nothing is waited for."""
    ours = session(channels=["#team"])
    effects = hear(ours, *WELCOME)
    assert effects.welcomed and effects.lines[-1] == b"JOIN :#team\r\n"
    assert repr(ours) == "Session(settled as claw, #team asked)"


def test_a_server_that_never_welcomes_is_left() -> None:
    """Ensure a bounded wait."""
    ours = session()
    assert ours.next_due() == 40.0
    assert ours.tick(39.0) == Effects()
    with pytest.raises(AccountTrouble, match="no welcome"):
        ours.tick(40.0)


def test_channels_wait_for_nickserv() -> None:
    """Ensure that a channel for identified nicks is not asked for too early."""
    ours = session(channels=["#team"], nickserv={"password": "np"})
    assert hear(ours, *WELCOME).lines[-1] == b"PRIVMSG NickServ :IDENTIFY np\r\n"
    assert hear(ours, ":NickServ!s@s NOTICE claw :This nickname is registered").lines == []
    assert hear(ours, ":ann!a@h NOTICE claw :You are now identified").lines == []
    assert hear(ours, ":NickServ!s@s NOTICE claw :You are now identified for claw").lines == [b"JOIN :#team\r\n"]
    assert ours.logged_in


@pytest.mark.parametrize("line", ["900 claw x claw :You are now logged in", "401 claw NickServ :No such nick"])
def test_other_ends_of_the_wait(line: str) -> None:
    """Ensure the numeric of services, and their absence, let us go on."""
    ours = welcomed(channels=["#team"], nickserv={"password": "np"})
    assert hear(ours, line).lines == [b"JOIN :#team\r\n"]


def test_silent_services_do_not_hold_us_up() -> None:
    """Ensure going on after a moment, with a note for the operator."""
    ours = welcomed(channels=["#team"], nickserv={"password": "np"})
    assert ours.next_due() == 6.0
    effects = ours.tick(6.0)
    assert effects.lines == [b"JOIN :#team\r\n"] and "no answer from NickServ" in effects.notes[0]


def test_a_wrong_nickserv_password_ends_the_account() -> None:
    """Ensure the key is named; and that nobody else can end the account by a notice."""
    ours = welcomed(nickserv={"password": "np"})
    assert hear(ours, ":ann!a@h NOTICE claw :Invalid password for claw.").trouble is None
    trouble = hear(ours, ":NickServ!s@s NOTICE claw :Invalid password for claw.").trouble
    assert isinstance(trouble, AccountRejected) and "nickserv.password" in trouble.reason


def test_registering_with_nickserv() -> None:
    """Ensure REGISTER goes before IDENTIFY."""
    ours = session(nickserv={"password": "np", "register": True, "registerEmail": "a@b"})
    assert hear(ours, *WELCOME).lines[-2:] == [
        b"PRIVMSG NickServ :REGISTER np a@b\r\n",
        b"PRIVMSG NickServ :IDENTIFY np\r\n",
    ]


def test_a_ghost_is_removed_and_the_nick_taken_back() -> None:
    """Ensure GHOST with our proof, NICK when services answered, and rest once it is ours."""
    ours = session(nickserv={"password": "np"})
    lines = hear(ours, "433 * claw :in use", "001 claw_ :hi", "376 claw_ :end").lines
    assert lines[-3:] == [
        *(b"PRIVMSG NickServ :IDENTIFY claw np\r\n", b"PRIVMSG NickServ :GHOST claw np\r\n", b"NICK :claw\r\n")
    ]
    assert hear(ours, ":NickServ!s@s NOTICE claw_ :claw has been ghosted").lines == [b"NICK :claw\r\n"]
    hear(ours, ":claw_!c@h NICK claw")
    assert ours.nick == "claw"
    assert ours.tick(62.0).lines == [b"PING :alive\r\n"]


def test_the_own_nick_is_asked_for_when_free_and_from_time_to_time() -> None:
    """Ensure both ways, without telling services anything when we cannot prove who we are."""
    ours = session()
    hear(ours, "433 * claw :in use", "001 claw_ :hi", "376 claw_ :end")
    assert hear(ours, ":bob!b@h QUIT :bye").lines == []
    assert hear(ours, ":CLAW!b@h QUIT :bye").lines == [b"NICK :claw\r\n"]
    assert hear(ours, ":claw!b@h NICK other").lines == [b"NICK :claw\r\n"]
    assert b"NICK :claw\r\n" in ours.tick(61.0).lines


def test_a_dead_server_is_noticed() -> None:
    """Ensure PING after silence, and the end without an answer; any answer is a sign of life."""
    ours = welcomed()
    assert ours.next_due() == 61.0
    assert ours.tick(61.0).lines == [b"PING :alive\r\n"]
    hear(ours, "PONG x :alive", now=62.0)
    assert ours.tick(122.0).lines == [b"PING :alive\r\n"]
    assert ours.next_due() == 152.0
    with pytest.raises(AccountTrouble, match=r"no sign of life .* 90 s"):
        ours.tick(152.0)


def test_ping_is_answered_before_and_after_the_welcome() -> None:
    """Ensure servers that check during registration are satisfied, and a huge token is cut."""
    assert hear(session(), "PING :x y").lines == [b"PONG :x y\r\n"]
    assert len(hear(welcomed(), "PING :" + "ü" * 3000).lines[0]) < 512


def test_messages_in_one_read_come_out_in_order_with_different_ids() -> None:
    """Ensure one batch, and what came before an ERROR is not lost."""
    effects = hear(welcomed(), *[f":ann!a@h PRIVMSG claw :{n}" for n in range(3)], "ERROR :bye")
    assert [message.text for message in effects.messages] == ["0", "1", "2"]
    assert [message.message_id for message in effects.messages] == ["epoch.1", "epoch.2", "epoch.3"]
    assert effects.messages[0].at == 5000.0
    assert isinstance(effects.trouble, AccountTrouble)


def test_our_own_lines_are_echoes() -> None:
    """Ensure they never come in as messages, and their id is kept."""
    effects = hear(welcomed(), "@msgid=m1 :Claw!c@h PRIVMSG #Team :hello", ":claw!c@h PRIVMSG claw :me")
    assert effects.messages == []
    assert effects.replies == [Echo("#team", "m1"), Echo("claw", "")]


def test_what_settles_a_send() -> None:
    """Ensure the barrier and the errors come out, folded, in order."""
    effects = hear(
        welcomed(),
        "401 claw Bob[1] :No such nick",
        "439 claw ann :Target change too fast",
        "263 claw PRIVMSG :Try again",
        "FAIL PRIVMSG BLOCKED :not now",
        ":irc.test PONG irc.test :tok",
    )
    assert effects.replies == [
        Refusal("bob{1}", "No such nick (401)"),
        Refusal("ann", "Target change too fast (439)", temporary=True),
        Refusal("", "Try again (263)", temporary=True),
        Refusal("", "not now"),
        Pong("tok"),
    ]


def test_being_kicked_leads_back() -> None:
    """Ensure only our own kick counts, it is noted, and JOIN comes after the pause."""
    ours = welcomed(channels=["#team"])
    hear(ours, ":claw!c@h JOIN #team", ":ann!a@h KICK #team bob :x")
    assert "#team in" in repr(ours)
    effects = hear(ours, ":ann!a@h KICK #team CLAW :too \x02loud\x02")
    assert effects.notes == ["out of #team (kicked by ann: too loud); joining again in 10 s"]
    assert ours.tick(10.9).lines == []
    assert ours.tick(11.0).lines == [b"JOIN :#team\r\n"]


def test_ctcp_is_answered_a_few_times_and_only_to_us() -> None:
    """Ensure nobody can make us flood, or make a whole channel of bots answer."""
    ours = welcomed()
    assert hear(ours, ":ann!a@h PRIVMSG #team :\x01VERSION\x01", ":ann!a@h PRIVMSG claw :\x01DCC SEND\x01").lines == []
    effects = hear(ours, *[":ann!a@h PRIVMSG claw :\x01PING 1\x0299\x01"] * 9)
    assert effects.lines == [b"NOTICE ann :\x01PING 199\x01\r\n"] * 3


def test_a_line_without_end_ends_the_link() -> None:
    """Ensure a bound on what a server can make us hold."""
    trouble = welcomed().feed(b"x" * (MAX_LINE + 1), 1.0, 1.0).trouble
    assert isinstance(trouble, AccountTrouble) and "more than" in trouble.reason


@pytest.mark.parametrize(
    "line", ["JOIN", "KICK", "NICK", "PRIVMSG", "NOTICE", "401", "474", "PONG", "CAP", "005", "FAIL", "900"]
)
def test_a_line_with_nothing_in_it_changes_nothing(line: str) -> None:
    """Ensure missing parameters are harmless."""
    ours = welcomed(channels=["#team"], nickserv={"password": "np"})
    effects = hear(ours, line, f":ann!a@h {line}", f":claw!a@h {line}")
    assert effects.trouble is None and effects.messages == [] and ours.nick == "claw"
