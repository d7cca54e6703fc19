"""The configuration as it is now: read, resolved, checked. The one door for everybody who wants the config."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.config import Config
from protocol.paths import Paths
from supervisor.config import check
from supervisor.config.environ import overlay
from supervisor.config.parse import MissingVariable, parse, read_text, resolve_includes, substitute
from supervisor.config.problems import ConfigInvalid, Problem
from supervisor.config.shape import listed

__all__ = ["ConfigInvalid", "Loaded", "Problem", "evaluate", "load"]


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A good configuration.

    `digest` changes when its meaning does (comments do not count, variables do). `environ` is the process environment
    with the `.env` files and the `env` block below it. `values` is the file as plain data, resolved, with all agents
    in `agents.list`. `exists` is False when there is no file and all is default.
    """

    config: Config
    digest: str
    warnings: tuple[str, ...]
    exists: bool
    environ: dict[str, str]
    values: dict[str, Any]


def load(paths: Paths, environ: Mapping[str, str]) -> Loaded:
    """Read the config file. Raises ConfigInvalid with every problem, UserError when it cannot be read."""
    text = read_text(paths.config)
    authored = {} if text is None else parse(text, paths.config)
    return evaluate(authored, paths, environ, exists=text is not None)


def evaluate(authored: Any, paths: Paths, environ: Mapping[str, str], *, exists: bool = True) -> Loaded:
    """What an authored value means: includes, variables, checks. Raises ConfigInvalid."""
    included = resolve_includes(authored, paths.config)
    block = included.get("env") if isinstance(included, dict) else None
    everything = overlay(paths, environ, block if isinstance(block, dict) else {})
    resolved, missing = substitute(included, everything)
    values = listed(resolved)
    found = check.problems(resolved, paths)
    if found:
        raise ConfigInvalid(paths.config, found)
    return Loaded(
        config=msgspec.convert(values, Config),
        digest=hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest(),
        warnings=(*map(_missing, missing), *check.warnings(values)),
        exists=exists,
        environ=everything,
        values=values,
    )


def _missing(one: MissingVariable) -> str:
    return f'missing env var "{one.name}" at {one.path} - feature using this value will be unavailable'
