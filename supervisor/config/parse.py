"""From files to one value: JSON5 text, `$include`, `${VAR}` (SPEC 1.5). Checking it is `check`'s part."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from protocol.errors import UserError
from supervisor.config import document
from supervisor.config.problems import ROOT, ConfigInvalid, Problem, dotted

#: A configuration of 10,000 bindings is under 2 MB.
MAX_FILE = 16 * 1024 * 1024
MAX_INCLUDES = 10
#: Files may be included again and again: all of them together are bounded, in number and like one file in size.
MAX_INCLUDED_FILES = 1_000
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
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return document.parse(text).value
    return value if is_moderate(value) else document.parse(text).value


def is_moderate(value: Any) -> bool:
    """Not nested too deeply for whoever walks it, and with numbers that everybody can read."""
    level = [value]
    for _ in range(document.MAX_DEPTH + 1):
        if not all(document.is_plain(one) for one in level if isinstance(one, int)):
            return False
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return True
    return False


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


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
    try:
        resolved = _Includes(file).resolve(value, (file,))
    except RecursionError:
        resolved = None
    if resolved is None or not is_moderate(resolved):
        raise ConfigInvalid(file, [Problem(ROOT, f"nested more than {document.MAX_DEPTH} levels deep")])
    return resolved


def substitute(value: Any, environ: Mapping[str, str]) -> tuple[Any, tuple[MissingVariable, ...]]:
    """`value` with `${NAME}` filled in and `$${NAME}` unescaped; a missing one stays as written and is reported.

    Numbers have one form, as in JavaScript: 5.0 is 5.

    Raises UserError when the variables are more text than a file may hold.
    """
    filling = _Filling(environ)
    return filling.fill(value, ()), tuple(filling.missing)


def has_variable(text: str) -> bool:
    """Whether a `${NAME}` is left in it, so that it is not a usable value."""
    return _VARIABLE.search(text) is not None


class _Filling:
    """Puts variables in. A short file that names a long variable often must not become an endless one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._room = MAX_FILE
        self.missing: dict[MissingVariable, None] = {}

    def fill(self, value: Any, at: tuple[str | int, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(inner, (*at, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner, (*at, index)) for index, inner in enumerate(value)]
        if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
            return int(value)
        if not isinstance(value, str) or "${" not in value:
            return value
        return _VARIABLE.sub(lambda found: self._one(found, at), value)

    def _one(self, found: re.Match[str], at: tuple[str | int, ...]) -> str:
        if found.group().startswith("$$"):
            return found.group()[1:]
        text = self._environ.get(found.group(1))
        if not text:
            self.missing[MissingVariable(found.group(1), dotted(at))] = None
            return found.group()
        self._room -= len(text)
        if self._room < 0:
            raise UserError(f"the variables in it are more than {MAX_FILE // 1024 // 1024} MB of text", where="$")
        return text


class _Includes:
    """Resolves includes below one main file; its folder is the fence."""

    def __init__(self, main: Path) -> None:
        self._main = main
        self._fence = main.parent.resolve()
        self._files = MAX_INCLUDED_FILES
        self._room = MAX_FILE

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
        file = self._located(name, chain[-1])
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
        self._count(text)
        try:
            return self.resolve(value_of(text), (*chain, file))
        except document.SyntaxProblem as error:
            raise self._failed(f"Failed to parse include file: {label}: JSON5: {error}") from None

    def _located(self, name: str, below: Path) -> Path:
        try:
            return (below.parent / name).resolve()
        except (ValueError, RuntimeError, OSError) as error:
            raise self._failed(f"Include file name cannot be used: {name!r}: {error}") from None

    def _count(self, text: str) -> None:
        self._files, self._room = self._files - 1, self._room - len(text)
        if self._files < 0:
            raise self._failed(f"More than {MAX_INCLUDED_FILES} files are included")
        if self._room < 0:
            raise self._failed(f"The included files are larger than {MAX_FILE // 1024 // 1024} MB together")

    def _failed(self, message: str) -> ConfigInvalid:
        return ConfigInvalid(self._main, [Problem(ROOT, message)])


def merge(base: Any, over: Any) -> Any:
    """Objects merge deeply, lists are joined, anything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base[key], value) if key in base else value for key, value in over.items()}}
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *over]
    return over
