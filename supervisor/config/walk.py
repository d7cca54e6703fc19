"""One walk over a value along a msgspec type that reports everything that does not fit, not only the first thing.

Knows types and nothing of configurations. Messages: SPEC 2.9.
"""

from __future__ import annotations

import difflib
import math
import re
import typing
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from msgspec import inspect
from msgspec.structs import replace

from supervisor.config.problems import Problem, dotted

Path = tuple[str | int, ...]


#: Choices in the order of their declaration: msgspec keeps them sorted.
_declared: dict[frozenset[Any], tuple[Any, ...]] = {}


def walk(value: Any, kind: Any, at: Path = ()) -> Iterator[Problem]:
    """Every problem of `value` as an instance of the type `kind`; `at` is where it stands in the file."""
    return _check(value, type_of(kind), at)


@lru_cache(maxsize=256)
def type_of(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def suggest(word: str, known: Sequence[str]) -> str:
    """`did you mean "x"?`, or empty."""
    lower = {name.lower(): name for name in reversed(known)}
    close = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.6)
    return f'did you mean "{lower[close[0]]}"?' if close else ""


def wrong_type(expected: str, value: Any, at: Path) -> Problem:
    return Problem(dotted(at), f"Invalid input: expected {expected}, received {name_of(value)}")


def wrong_choice(allowed: Sequence[Any], value: Any, at: Path) -> Problem:
    listed = ", ".join(f'"{choice}"' for choice in allowed)
    hint = suggest(value, [str(choice) for choice in allowed]) if isinstance(value, str) else ""
    return Problem(dotted(at), f"Invalid input (allowed: {listed})", hint)


def name_of(value: Any) -> str:
    """What a person who writes JSON calls it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list() | tuple():
            return "array"
    return "object"


def _check(value: Any, kind: inspect.Type, at: Path) -> Iterator[Problem]:
    match kind:
        case inspect.AnyType():
            return
        case inspect.Metadata():
            yield from (_like(kind, problem) for problem in _check(value, kind.type, at))
        case inspect.UnionType():
            yield from _check_union(value, kind, at)
        case inspect.StructType():
            yield from _check_struct(value, kind, at)
        case inspect.LiteralType():
            if not any(value == choice and type(value) is type(choice) for choice in kind.values):
                yield wrong_choice(_declared.get(frozenset(kind.values), kind.values), value, at)
        case inspect.DictType():
            yield from _check_map(value, kind, at)
        case inspect.VarTupleType() | inspect.ListType():
            yield from _check_list(value, kind.item_type, at)
        case _:
            yield from _check_scalar(value, kind, at)


@lru_cache(maxsize=256)
def _fields(cls: type[Any]) -> dict[str, inspect.Field]:
    """The keys of an object, by their names in the file."""
    for hint in typing.get_type_hints(cls).values():
        _learn_choices(hint)
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    return {field.encode_name: field for field in kind.fields}


def _learn_choices(hint: Any) -> None:
    if typing.get_origin(hint) is typing.Literal:
        _declared[frozenset(typing.get_args(hint))] = typing.get_args(hint)
    else:
        for inner in typing.get_args(hint):
            _learn_choices(inner)


def _check_struct(value: Any, kind: inspect.StructType, at: Path) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield wrong_type("object", value, at)
        return
    fields = _fields(kind.cls)
    for key, inner in value.items():
        if key in fields:
            yield from _check(inner, fields[key].type, (*at, key))
        else:
            yield Problem(dotted(at), f'Unrecognized key: "{key}"', suggest(key, list(fields)), key)
    for name, field in fields.items():
        if field.required and name not in value:
            yield Problem(dotted((*at, name)), f"Invalid input: expected {_expected(field.type)}, received undefined")


def _check_map(value: Any, kind: inspect.DictType, at: Path) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield wrong_type("object", value, at)
        return
    for key, inner in value.items():
        yield from _check(inner, kind.value_type, (*at, key))


def _check_list(value: Any, item: inspect.Type, at: Path) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield wrong_type("array", value, at)
        return
    for index, inner in enumerate(value):
        yield from _check(inner, item, (*at, index))


def _check_union(value: Any, kind: inspect.UnionType, at: Path) -> Iterator[Problem]:
    """`X | None` stands for an optional key: null itself is no value in a config file."""
    choices = [choice for choice in kind.types if not isinstance(choice, inspect.NoneType)]
    fitting = [choice for choice in choices if _shape(choice) == name_of(value)]
    if fitting:
        yield from _check(value, fitting[0], at)
    elif len(choices) == 1:
        yield from _check(value, choices[0], at)
    else:
        yield wrong_type(" or ".join(_expected(choice) for choice in choices), value, at)


def _check_scalar(value: Any, kind: inspect.Type, at: Path) -> Iterator[Problem]:
    shape = name_of(value)
    if _shape(kind) != shape:
        yield wrong_type(_expected(kind), value, at)
    elif isinstance(kind, inspect.IntType) and not isinstance(value, int):
        yield Problem(dotted(at), "Invalid input: expected a whole number")
    elif isinstance(kind, inspect.IntType | inspect.FloatType):
        yield from _check_range(value, kind, at)
    elif isinstance(kind, inspect.StrType) and kind.min_length and len(value) < kind.min_length:
        yield Problem(dotted(at), "Too small: expected a string that is not empty")
    elif isinstance(kind, inspect.StrType) and kind.pattern and not re.search(kind.pattern, value):
        yield Problem(dotted(at), f'Invalid input: "{value[:60]}" is not written as this value must be')


def _like(kind: inspect.Metadata, problem: Problem) -> Problem:
    """With examples of what is meant, where the type has any."""
    examples = (kind.extra_json_schema or {}).get("examples") or ()
    written = " or ".join(str(one) for one in examples)
    return replace(problem, hint=f"write it like {written}") if written and not problem.hint else problem


def _check_range(value: float, kind: inspect.IntType | inspect.FloatType, at: Path) -> Iterator[Problem]:
    if not math.isfinite(value):
        yield Problem(dotted(at), "Invalid input: expected a finite number")
    elif kind.gt is not None and value <= kind.gt:
        yield Problem(dotted(at), f"Too small: expected number to be >{kind.gt:g}")
    elif kind.ge is not None and value < kind.ge:
        yield Problem(dotted(at), f"Too small: expected number to be >={kind.ge:g}")
    elif kind.le is not None and value > kind.le:
        yield Problem(dotted(at), f"Too big: expected number to be <={kind.le:g}")


def _shape(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _shape(kind.type)
        case inspect.StrType():
            return "string"
        case inspect.LiteralType():
            return name_of(kind.values[0])
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType() | inspect.FloatType():
            return "number"
        case inspect.VarTupleType() | inspect.ListType():
            return "array"
        case inspect.StructType() | inspect.DictType():
            return "object"
    return "unknown"


def _expected(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_expected(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    return _shape(kind)
