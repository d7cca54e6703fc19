"""Where a variable's value comes from: process, `./.env`, `<state>/.env`, the config's `env` block (SPEC 1.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocol.paths import Paths
from supervisor.config.parse import read_text

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_COMMENT = re.compile(r"\s+#.*$")


def overlay(paths: Paths, environ: Mapping[str, str], block: Mapping[str, Any]) -> dict[str, str]:
    """All sources in one mapping, the earlier source wins. Reads the two `.env` files. Doing it twice is harmless."""
    merged = {key: value for key, value in config_block(block).items() if value}
    for file in (paths.state / ".env", Path.cwd() / ".env"):
        merged |= {key: value for key, value in parse_dotenv(read_text(file) or "").items() if value}
    return merged | {key: value for key, value in environ.items() if value}


def config_block(block: Mapping[str, Any]) -> dict[str, str]:
    """`env.KEY` and `env.vars.KEY` as text; other things in the block are not variables."""
    inner = block.get("vars")
    pairs = {**(inner if isinstance(inner, dict) else {}), **block}
    return {key: _text(value) for key, value in pairs.items() if isinstance(value, str | int | float)}


def parse_dotenv(text: str) -> dict[str, str]:
    """`KEY=value` lines; quotes are taken off, `#` begins a comment outside them. Other lines are skipped."""
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: _unquote(match[2].strip()) for match in found if match}


def _unquote(value: str) -> str:
    if value[:1] in ("'", '"') and value.find(value[0], 1) > 0:
        inner = value[1 : value.find(value[0], 1)]
        return inner.replace("\\n", "\n") if value[0] == '"' else inner
    return _COMMENT.sub("", value)


def _text(value: str | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
