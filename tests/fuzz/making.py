"""Strategies: JSON of any shape, values that fit a type, and good things gone bad in one place."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

#: Texts that have broken programs before.
ODD = st.sampled_from(
    [
        *("", " ", "\0", "..", "../" * 9, "*", "${A}", "$${A}", "${", "__proto__", "a" * 3_000, "-0", "main"),
        *("é", "\u202e", "\U0001f469\u200d\U0001f467"),
    ]
)
TEXTS = st.text(max_size=12) | ODD
NUMBERS = st.integers(-9, 9) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.sampled_from([2**63, 2**64, 10**30, 10**400, -(10**400)])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Plain values that msgspec takes for `kind`."""
    return _of(inspect.type_info(kind), 4)


def spoilt(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A good value with one part of it replaced by something else, at times left as it is."""
    return st.builds(_spoil, good, st.lists(st.integers(0, 9), max_size=5), JSON)


def cut(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes with a piece taken out, put in or changed."""
    return st.builds(_patch, data, st.integers(0, 10_000), st.integers(0, 9), st.binary(max_size=5))


def _of(kind: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(_bound(kind.ge, kind.gt, 1), kind.le)
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False, allow_infinity=False)
        case inspect.StrType():
            return _texts(kind)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.UnionType():
            return st.one_of([_of(one, depth) for one in kind.types])
        case inspect.VarTupleType() | inspect.ListType():
            return st.lists(_of(kind.item_type, depth - 1), max_size=2) if depth else st.just([])
        case inspect.DictType():
            return st.dictionaries(_of(kind.key_type, 0), _of(kind.value_type, depth - 1), max_size=2 if depth else 0)
        case inspect.StructType():
            return st.deferred(lambda: _struct(kind, depth - 1))
    return JSON


def _texts(kind: inspect.StrType) -> st.SearchStrategy[str]:
    if kind.pattern:
        return st.from_regex(kind.pattern)
    return TEXTS.filter(lambda text: (kind.min_length or 0) <= len(text) <= (kind.max_length or 10_000))


def _bound(ge: Any, gt: Any, step: int) -> Any:
    return ge if gt is None else gt + step


def _struct(kind: inspect.StructType, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    needed = {one.encode_name: _of(one.type, depth) for one in kind.fields if one.required}
    given = {one.encode_name: _of(one.type, depth) for one in kind.fields if not one.required} if depth > 0 else {}
    tag = {kind.tag_field: st.just(kind.tag)} if kind.tag_field else {}
    few = st.lists(st.sampled_from(sorted(given)), max_size=4, unique=True) if given else st.just([])
    chosen = few.flatmap(lambda keys: st.fixed_dictionaries({**tag, **needed, **{key: given[key] for key in keys}}))
    # An optional key of a configuration is left out, never null.
    return chosen.map(lambda found: {key: one for key, one in found.items() if one is not None or key in needed})


def _spoil(value: Any, steps: list[int], other: Any) -> Any:
    if not steps:
        return other
    if isinstance(value, dict) and value:
        key = list(value)[steps[0] % len(value)]
        return {**value, key: _spoil(value[key], steps[1:], other)}
    if isinstance(value, list) and value:
        index = steps[0] % len(value)
        return [*value[:index], _spoil(value[index], steps[1:], other), *value[index + 1 :]]
    return other if steps[0] % 2 else value


def _patch(data: bytes, at: int, length: int, piece: bytes) -> bytes:
    at = at % (len(data) + 1)
    return data[:at] + piece + data[at + length :]


def encoded(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """As JSON."""
    return values.map(msgspec.json.encode)
