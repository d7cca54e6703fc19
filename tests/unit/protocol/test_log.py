"""The formatter that every process uses: shape of a line, names, and that secrets do not survive it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from protocol import log

BOT_TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    log.setup("gateway", "debug", stream)
    yield stream
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def read(stream: io.StringIO) -> dict[str, object]:
    found = json.loads(stream.getvalue())
    assert isinstance(found, dict)
    return found


def test_a_line_has_time_level_subsystem_message_and_the_plain_extras(lines: io.StringIO) -> None:
    logging.getLogger("router.channels.telegram.connect").warning("poll %s", "ok", extra={"account": "ops", "n": 3})
    line = read(lines)
    assert str(line.pop("time"))[19:20] == "." and "T" in lines.getvalue()
    assert line == {"level": "warn", "subsystem": "telegram", "message": "poll ok", "account": "ops", "n": 3}


def test_an_exception_is_kept_in_full_and_masked(lines: io.StringIO) -> None:
    try:
        raise ValueError(f"bad token {BOT_TOKEN}")
    except ValueError:
        logging.getLogger("router.service").exception("it failed")
    line = read(lines)
    assert line["subsystem"] == "gateway" and "Traceback" in str(line["error"])
    assert BOT_TOKEN not in lines.getvalue()


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-" + "q" * 40,
        "sk-proj-abcdefghijklmnop",
        BOT_TOKEN,
        "ocp_" + "x" * 43,
        "a1" * 32,
        "xoxb-1234567890-abcdefghij",
        "AIza" + "b" * 35,
    ],
)
def test_known_shapes_are_shortened_to_six_and_four(secret: str) -> None:
    text = log.mask(f"using {secret} now")
    assert text == f"using {secret[:6]}…{secret[-4:]} now"


def test_what_only_looks_like_a_secret_stays_readable() -> None:
    text = "agent:main:telegram:group:-1001234567 at 12:30:05, sk-8 mask, 0badcafe, task-list-of-things-to-do"
    assert log.mask(text) == text


def test_bearer_values_and_tokens_in_addresses_are_masked() -> None:
    text = log.mask("Authorization: Bearer abcdef0123456789abcdef and http://127.0.0.1:1/#token=hello")
    assert text == "Authorization: Bearer abcdef…cdef and http://127.0.0.1:1/#token=***"


def test_values_that_were_told_are_masked_wherever_they_stand() -> None:
    masker = log.Masker(["correct horse battery", "hunter2hunter2"])
    assert masker.mask("pw=hunter2hunter2; correct horse battery!") == "pw=***; correc…tery!"


@pytest.mark.parametrize(
    ("logger", "expected"),
    [
        ("root", "router"),
        ("router.dispatch", "router"),
        ("router.channels.irc.connect", "irc"),
        ("asyncio", "router/asyncio"),
        ("aiohttp.server", "router/aiohttp"),
        ("telegram", "telegram"),
    ],
)
def test_logger_names_become_subsystems_people_know(logger: str, expected: str) -> None:
    assert log.subsystem_of(logger, "router") == expected


def test_levels_have_the_names_of_the_command_line() -> None:
    numbers = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 1]
    assert [log.level_name(n) for n in numbers] == ["debug", "info", "warn", "error", "fatal", "trace"]


def test_setup_writes_to_stderr_unless_told_otherwise(lines: io.StringIO) -> None:
    log.setup("worker")
    handler = logging.root.handlers[0]
    assert isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
