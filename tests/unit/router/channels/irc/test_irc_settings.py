"""One account's settings: defaults, errors that name the key, secrets that do not show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import UserError
from router.channels.irc.settings import Room, Secret, read

LEAST = {"host": "irc.example.org", "nick": "claw"}


def test_the_least_that_works() -> None:
    """Ensure the defaults of the original."""
    settings = read("default", LEAST)
    assert (settings.port, settings.tls, settings.username, settings.realname) == (6697, True, "claw", "OpenClaw")
    assert (settings.rooms, settings.nickserv, settings.sasl, settings.text_limit) == ((), None, None, 350)
    assert read("default", {**LEAST, "tls": False}).port == 6667


def test_everything() -> None:
    """Ensure each key arrives."""
    settings = read(
        "work",
        {
            **LEAST,
            "password": "serverpw",
            "channels": ["#a", "b", "#c key"],
            "nickserv": {"password": "np", "register": True, "registerEmail": "a@b"},
            "sasl": {"password": "sp"},
            "dmPolicy": "open",
        },
    )
    assert settings.rooms == (Room("#a"), Room("#b"), Room("#c", Secret("key")))
    assert settings.nickserv is not None and settings.nickserv.register_email == "a@b"
    assert settings.sasl is not None and (settings.sasl.mechanism, settings.sasl.username) == ("plain", "claw")
    assert not any(secret in repr(settings) for secret in ("serverpw", "'np'", "'sp'", "'key'"))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"host": None}, "host"),
        ({"host": "a b"}, "host"),
        ({"nick": None}, "nick"),
        ({"nick": "1x"}, "nick"),
        ({"port": 0}, "port"),
        ({"port": "6697"}, "port"),
        ({"port": True}, "port"),
        ({"tls": "yes"}, "tls"),
        ({"realname": "a\r\nQUIT"}, "realname"),
        ({"password": "a\nb"}, "password"),
        ({"passwordFile": "/nowhere/at/all"}, "passwordFile"),
        ({"channels": "#a"}, "channels"),
        ({"channels": [1]}, "channels"),
        ({"channels": ["#a", "#b,#c"]}, "channels[1]"),
        ({"channels": [""]}, "channels[0]"),
        ({"nickserv": []}, "nickserv"),
        ({"nickserv": {"password": "x", "register": True}}, "nickserv.registerEmail"),
        ({"sasl": {"mechanism": "scram"}}, "sasl.mechanism"),
        ({"sasl": {"username": "x"}}, "sasl.password"),
        ({"sasl": {"mechanism": "external"}}, "sasl.mechanism"),
        ({"textChunkLimit": 0}, "textChunkLimit"),
        ({"floodInterval": -1}, "floodInterval"),
    ],
)
def test_a_wrong_value_names_its_key(values: dict[str, Any], key: str) -> None:
    """Ensure the operator is led to the place."""
    with pytest.raises(UserError) as wrong:
        read("work", {**LEAST, **values})
    assert wrong.value.where == f"$.channels.irc.accounts.work.{key}"


def test_a_password_file_is_read_and_must_be_a_file(tmp_path: Path) -> None:
    """Ensure that a link or a pipe is refused: the first may lead elsewhere, the second never ends."""
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    file.write_text("sesame\n")
    link.symlink_to(file)
    os.mkfifo(pipe)
    assert read("work", {**LEAST, "passwordFile": str(file)}).password == "sesame"
    for wrong in (link, pipe, tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read("work", {**LEAST, "passwordFile": str(wrong)})
