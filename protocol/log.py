"""One JSON object a line on stderr: how every process logs. The supervisor is the only one that writes the log file.

`setup` is called once per process. A line is `{"time", "level", "subsystem", "message", ...}`; whatever is passed as
`extra=` is added when it is a plain value. Secrets are masked here and again by the supervisor (SPEC 7.8).
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TextIO

import msgspec

#: Level names of the product (SPEC 3.0), lowest first, with the standard library's numbers.
LEVELS: Final = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "silent": logging.CRITICAL + 10,
}

#: Longest line any process writes, in bytes. The supervisor cuts longer ones.
MAX_LINE = 16 * 1024

_TOKENS = re.compile(
    r"""
      \b(?:sk|pk|rk|gsk|xai|ocp|xox[abeprs]|xapp|glpat)[-_][A-Za-z0-9_-]{12,}   # model vendors, Slack, our proxy tokens
    | \bgh[opsur]_[A-Za-z0-9]{20,}
    | \bAIza[A-Za-z0-9_-]{30,}
    | \b[0-9]{6,}:[A-Za-z0-9_-]{30,}                                            # Telegram bot tokens
    | \b[0-9a-fA-F]{48,}\b                                                      # gateway tokens
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*               # JSON web tokens
    | (?<=[Bb]earer\s)[A-Za-z0-9._~+/-]{8,}=*
    | (?<=[#?&]token=)[^\s&"'#]+
    """,
    re.VERBOSE,
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def shorten_secret(secret: str) -> str:
    """First 6 and last 4 characters of a long secret, nothing of a short one."""
    return f"{secret[:6]}…{secret[-4:]}" if len(secret) >= 18 else "***"


class Masker:
    """Takes secrets out of text: known shapes, and the exact values it was told."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these as well. Values under 8 characters are left alone: they would hide ordinary words."""
        self._secrets |= {secret for secret in secrets if len(secret) >= 8}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def mask(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(lambda found: shorten_secret(found[0]), text)
        return _TOKENS.sub(lambda found: shorten_secret(found[0]), text)


_shapes = Masker()


def mask(text: str) -> str:
    """`text` without anything that has the shape of a secret."""
    return _shapes.mask(text)


def level_name(number: int) -> str:
    """The product's name of a standard logging level."""
    named = [name for name, least in LEVELS.items() if number >= least and name != "silent"]
    return named[-1] if named else "trace"


def subsystem_of(logger: str, default: str) -> str:
    """`router.channels.telegram.connect` → `telegram`; our other modules → the process; libraries → process/library."""
    parts = logger.split(".")
    match parts:
        case ["root"]:
            return default
        case ["router", "channels", channel, *_]:
            return channel
        case ["router" | "worker" | "supervisor" | "protocol", *_]:
            return default
        case ["asyncio" | "aiohttp" | "zmq" as library, *_]:
            return f"{default}/{library}"
    return logger


class JsonFormatter(logging.Formatter):
    """LogRecord to one line of JSON, masked."""

    def __init__(self, subsystem: str) -> None:
        super().__init__()
        self._subsystem = subsystem

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self._entry(record)).decode()

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": level_name(record.levelno),
            "subsystem": extra.pop("subsystem", None) or subsystem_of(record.name, self._subsystem),
            "message": mask(record.getMessage())[:MAX_LINE],
        }
        entry |= {key: value for key, value in extra.items() if isinstance(value, bool | int | float)}
        entry |= {key: mask(value)[:1024] for key, value in extra.items() if isinstance(value, str)}
        if record.exc_info and record.exc_info[0]:
            entry["error"] = mask("".join(traceback.format_exception(*record.exc_info)))[-MAX_LINE // 2 :]
        return entry


def setup(subsystem: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (stderr) as JSON lines. May be called again to change the level."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(subsystem))
    logging.addLevelName(LEVELS["trace"], "TRACE")
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(LEVELS.get(level, logging.INFO))
    logging.captureWarnings(True)
