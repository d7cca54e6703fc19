"""The options that stand before or after any command: profile, log level, colour (SPEC 1.2, 3.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from protocol.errors import UserError

LEVELS = ("silent", "fatal", "error", "warn", "info", "debug", "trace")
DEV_PORT = "19001"
_PROFILE = re.compile(r"[A-Za-z0-9_-]+")
#: Options whose value may look like an option of ours.
_TAKES_TEXT = frozenset({"-m", "--message", "--token", "--bot-token", "--name", "--theme", "--password"})


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """`environ` is what the options add to the environment of the command and of all it starts."""

    environ: dict[str, str] = {}
    log_level: str = ""


def split(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[Chosen, list[str]]:
    """Take the global options out of a command line. Raises UserError."""
    found: dict[str, str] = {}
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        name, equals, value = item.partition("=")
        if item == "--":
            rest += [item, *items]
        elif item in _TAKES_TEXT:
            rest += [item, *([] if (text := next(items, None)) is None else [text])]
        elif item in ("--dev", "--no-color"):
            found[item] = "1"
        elif name in ("--profile", "--log-level"):
            found[name] = value if equals else next(items, "")
        else:
            rest.append(item)
    return _chosen(found, environ), rest


def _chosen(found: Mapping[str, str], environ: Mapping[str, str]) -> Chosen:
    added: dict[str, str] = {}
    profile = "dev" if "--dev" in found else found.get("--profile")
    if profile is not None:
        added |= _profile(profile, environ)
    if "--dev" in found and not environ.get("OPENCLAW_GATEWAY_PORT"):
        added["OPENCLAW_GATEWAY_PORT"] = DEV_PORT
    if "--no-color" in found:
        added["NO_COLOR"] = "1"
    level = found.get("--log-level", "")
    if "--log-level" in found and level not in LEVELS:
        raise UserError(f"unknown log level '{level}'", hint=f"--log-level {'|'.join(LEVELS)}")
    return Chosen(environ=added | ({"OPENCLAW_LOG_LEVEL": level} if level else {}), log_level=level)


def _profile(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """A profile has a state folder of its own, unless the environment names one."""
    if not _PROFILE.fullmatch(name):
        raise UserError(f"profile name '{name}' may hold letters, digits, _ and - only", hint="openclaw --profile work")
    if name == "default":
        return {"OPENCLAW_PROFILE": name}
    state = environ.get("OPENCLAW_STATE_DIR") or f"~/.openclaw-{name}"
    return {"OPENCLAW_PROFILE": name, "OPENCLAW_STATE_DIR": state}
