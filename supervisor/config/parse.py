"""From files to one value: JSON5 text, `$include`, `${VAR}` (SPEC 1.5). Checking it is `check`'s part."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from protocol.errors import UserError
from supervisor.config import document
from supervisor.config.problems import ROOT, ConfigInvalid, Problem, dotted

#: A configuration of 10,000 bindings is under 2 MB.
MAX_FILE = 16 * 1024 * 1024
MAX_INCLUDES = 10
_VARIABLE = re.compile(r"\$?\$\{([A-Z_][A-Z0-9_]*)\}")


class MissingVariable(NamedTuple):
    """A `${NAME}` without a value, and the config path that wants it."""

    name: str
    path: str


def read_text(file: Path) -> str | None:
    """The text of a file, None where there is none. Raises UserError when it cannot be read as text."""
    try:
        return read_bytes(file).decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start})", where=str(file)) from None
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror or error}", where=str(file)) from None


def read_bytes(file: Path) -> bytes:
    """A regular file of moderate size; a pipe or device does not block us."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        data = opened.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise OSError(0, f"larger than {MAX_FILE // 1024 // 1024} MB")
    return data


def value_of(text: str) -> Any:
    """The value of a JSON5 text. Plain JSON, what programs write, takes the fast path. Raises SyntaxProblem."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return document.parse(text).value


def syntax_problem(error: document.SyntaxProblem) -> Problem:
    """As it is shown to people (SPEC 2.9)."""
    return Problem(ROOT, f"JSON5 parse failed: SyntaxError: JSON5: {error}")


def parse(text: str, file: Path) -> Any:
    """The authored value of a config text, before includes and variables. Raises ConfigInvalid."""
    try:
        return value_of(text)
    except document.SyntaxProblem as error:
        raise ConfigInvalid(file, [syntax_problem(error)]) from None


def resolve_includes(value: Any, file: Path) -> Any:
    """`value` with every `$include` replaced by what it names. Raises ConfigInvalid."""
    return _Includes(file).resolve(value, (file,))


def substitute(value: Any, environ: Mapping[str, str]) -> tuple[Any, tuple[MissingVariable, ...]]:
    """`value` with `${NAME}` filled in and `$${NAME}` unescaped; a missing one stays as written and is reported."""
    missing: list[MissingVariable] = []
    return _substitute(value, environ, (), missing), tuple(missing)


def has_variable(text: str) -> bool:
    """Whether a `${NAME}` is left in it, so that it is not a usable value."""
    return _VARIABLE.search(text) is not None


def _substitute(
    value: Any, environ: Mapping[str, str], at: tuple[str | int, ...], missing: list[MissingVariable]
) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(inner, environ, (*at, key), missing) for key, inner in value.items()}
    if isinstance(value, list):
        return [_substitute(inner, environ, (*at, index), missing) for index, inner in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def fill(found: re.Match[str]) -> str:
        if found.group().startswith("$$"):
            return found.group()[1:]
        if not environ.get(found.group(1)):
            missing.append(MissingVariable(found.group(1), dotted(at)))
            return found.group()
        return environ[found.group(1)]

    return _VARIABLE.sub(fill, value)


class _Includes:
    """Resolves includes below one main file; its folder is the fence."""

    def __init__(self, main: Path) -> None:
        self._main = main
        self._fence = main.parent.resolve()

    def resolve(self, value: Any, chain: tuple[Path, ...]) -> Any:
        if isinstance(value, list):
            return [self.resolve(item, chain) for item in value]
        if not isinstance(value, dict):
            return value
        own = {key: self.resolve(item, chain) for key, item in value.items() if key != "$include"}
        if "$include" not in value:
            return own
        included = self._named(value["$include"], chain)
        if own and not isinstance(included, dict):
            raise self._failed("$include with keys beside it must name files that hold objects")
        return merge(included, own) if own else included

    def _named(self, names: Any, chain: tuple[Path, ...]) -> Any:
        listed = names if isinstance(names, list) else [names]
        if not listed or not all(isinstance(name, str) for name in listed):
            raise self._failed("$include must be a file name or a list of file names")
        merged: Any = None
        for index, name in enumerate(listed):
            value = self._load(name, chain)
            merged = value if index == 0 else merge(merged, value)
        return merged

    def _load(self, name: str, chain: tuple[Path, ...]) -> Any:
        file = (chain[-1].parent / name).resolve()
        label = f"{name} (resolved: {file})"
        if not file.is_relative_to(self._fence):
            raise self._failed(f"Include file is outside the config folder: {label}")
        if file in [one.resolve() for one in chain]:
            raise self._failed(f"Circular include: {label}")
        if len(chain) > MAX_INCLUDES:
            raise self._failed(f"Includes are nested more than {MAX_INCLUDES} levels deep: {label}")
        text = read_text(file)
        if text is None:
            raise self._failed(f"Failed to read include file: {label}")
        try:
            return self.resolve(value_of(text), (*chain, file))
        except document.SyntaxProblem as error:
            raise self._failed(f"Failed to parse include file: {label}: JSON5: {error}") from None

    def _failed(self, message: str) -> ConfigInvalid:
        return ConfigInvalid(self._main, [Problem(ROOT, message)])


def merge(base: Any, over: Any) -> Any:
    """Objects merge deeply, lists are joined, anything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base[key], value) if key in base else value for key, value in over.items()}}
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *over]
    return over
