"""Registration as a dialogue: what the server says, what we answer."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from router.channels.base import AccountRejected, AccountTrouble
from router.channels.irc.login import THROTTLED_PAUSE, Login
from router.channels.irc.settings import read
from router.channels.irc.wire import parse

PLAIN = {"sasl": {"username": "claw", "password": "pw"}}


def login(**more: Any) -> Login:
    return Login(read("work", {"host": "irc.test", "nick": "claw", **more}))


def say(ours: Login, *lines: str) -> list[str]:
    """What we answer to lines of the server."""
    answers: list[str] = []
    for text in lines:
        line = parse(text.encode())
        assert line is not None
        answers += [answer.decode().rstrip() for answer in ours.feed(line)]
    return answers


def test_the_opening() -> None:
    """Ensure the password comes first and capabilities are asked for before the nick."""
    assert login(password="sesame").start() == [
        *(b"PASS :sesame\r\n", b"CAP LS :302\r\n", b"NICK :claw\r\n", b"USER claw 0 * :OpenClaw\r\n")
    ]


def test_capabilities_over_several_lines() -> None:
    """Ensure that only what is offered and useful is asked for, after the last line of the list."""
    ours = login()
    assert say(ours, "CAP * LS * :batch echo-message foo=bar") == []
    assert say(ours, "CAP * LS :server-time message-tags") == ["CAP REQ :echo-message message-tags server-time"]
    assert say(ours, "CAP claw ACK :echo-message message-tags server-time") == ["CAP :END"]
    assert say(ours, "001 claw :hi", "005 claw CASEMAPPING=ascii :x", "376 claw :end") == []
    assert repr(ours) == "Login(welcomed as claw, caps echo-message message-tags server-time)"
    assert ours.isupport.casemapping == "ascii"


@pytest.mark.parametrize("answer", ["CAP * LS :", "CAP * LS :batch"])
def test_nothing_useful_ends_the_talk_about_capabilities(answer: str) -> None:
    """Ensure the server is not left waiting."""
    assert say(login(), answer) == ["CAP :END"]


def test_a_server_without_capabilities_is_fine() -> None:
    """Ensure that old servers welcome us."""
    ours = login()
    assert say(ours, "421 * CAP :Unknown command", "001 claw_ :hi", "422 claw_ :no motd") == []
    assert ours.welcomed and ours.nick == "claw_"


def test_sasl_plain() -> None:
    """Ensure the order: request, mechanism, credentials, end; and that the login is known."""
    ours = login(**PLAIN)
    assert say(ours, "CAP * LS :sasl=PLAIN") == ["CAP REQ :sasl"]
    assert say(ours, "CAP * ACK :sasl") == ["AUTHENTICATE :PLAIN"]
    assert say(ours, "AUTHENTICATE +") == ["AUTHENTICATE :" + base64.b64encode(b"claw\0claw\0pw").decode()]
    assert say(ours, "900 claw x claw :you are", "903 claw :ok") == ["CAP :END"]
    assert ours.logged_in


@pytest.mark.parametrize(("length", "parts"), [(10, 1), (290, 1), (300, 2), (600, 3)])
def test_long_credentials_go_in_pieces(length: int, parts: int) -> None:
    """Ensure pieces of 400 bytes, and a `+` after a full last one."""
    ours = login(sasl={"username": "abc", "password": "p" * (length - 8)})
    answers = say(ours, "AUTHENTICATE +")
    texts = [answer.partition(":")[2] for answer in answers]
    assert len(texts) == parts and all(len(text) <= 400 for text in texts)
    assert len(base64.b64decode("".join(text for text in texts if text != "+"))) == length
    assert len(texts[-1]) < 400


def test_sasl_external_sends_an_empty_answer(tmp_path: Any) -> None:
    """Ensure the certificate speaks for itself."""
    ours = login(sasl={"mechanism": "external"}, tlsCertFile=str(tmp_path / "c.pem"))
    assert say(ours, "CAP * LS :sasl", "CAP * ACK :sasl") == ["CAP REQ :sasl", "AUTHENTICATE :EXTERNAL"]
    assert say(ours, "AUTHENTICATE +") == ["AUTHENTICATE :+"]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("904 claw :SASL authentication failed", "sasl.password"),
        ("902 claw :nick locked", "sasl.password"),
        ("908 claw SCRAM :are available", "sasl.mechanism"),
        ("464 claw :Password incorrect", "password"),
        ("465 claw :You are banned", "host"),
        ("432 * claw :Erroneous nickname", "nick"),
    ],
)
def test_what_the_operator_must_change_names_its_key(line: str, key: str) -> None:
    """Ensure no retry and no secret."""
    with pytest.raises(AccountRejected) as rejected:
        say(login(**PLAIN), line)
    assert rejected.value.reason.startswith(f"$.channels.irc.accounts.work.{key}: ")
    assert "pw" not in rejected.value.reason


@pytest.mark.parametrize("lines", [("CAP * LS :batch",), ("421 * CAP :no", "001 claw :hi"), ("906 claw :aborted",)])
def test_no_sasl_where_it_was_asked_for_is_trouble(lines: tuple[str, ...]) -> None:
    """Ensure we never go on unidentified; services may be back the next time."""
    with pytest.raises(AccountTrouble, match="SASL"):
        say(login(**PLAIN), *lines)


def test_nickserv_makes_up_for_missing_sasl() -> None:
    """Ensure the fallback."""
    assert say(login(**PLAIN, nickserv={"password": "np"}), "CAP * LS :batch", "001 claw :hi") == ["CAP :END"]


def test_a_taken_nick_is_followed_by_others_and_then_by_trouble() -> None:
    """Ensure nick_, nick__, short ones also where the server finds one too long, and an end."""
    ours = login()
    assert say(ours, "433 * claw :in use") == ["NICK :claw_"]
    assert say(ours, "432 * claw_ :too long") == ["NICK :claw__"]
    assert say(ours, "437 * claw__ :held") == ["NICK :claw3"]
    with pytest.raises(AccountTrouble, match="claw and 9 nicks like it"):
        say(ours, *["433 * x :in use"] * 7)


@pytest.mark.parametrize(
    ("text", "error", "pause"),
    [
        ("Closing link: Throttled: Reconnecting too fast", AccountTrouble, THROTTLED_PAUSE),
        ("Server shutting down", AccountTrouble, None),
        ("Access denied: Bad password?", AccountRejected, None),
    ],
)
def test_an_error_line_says_what_to_do(text: str, error: type[Exception], pause: float | None) -> None:
    """Ensure a long pause where we come too often, and none again with a wrong password."""
    line = parse(f"ERROR :{text}".encode())
    assert line is not None
    with pytest.raises(error) as raised:
        login().fail(line)
    assert getattr(raised.value, "retry_after", None) == pause
