"""The JSON Schema says what the checker says: editors and people with other tools rely on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from supervisor.config.jsonschema import schema
from supervisor.config.parse import parse

SCHEMA = schema()
FILE = Path(__file__).parent / "everything.json5"


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else []
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        part = SCHEMA["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def unknown(value: Any, part: dict[str, Any], at: str) -> Iterator[str]:
    """Keys of a value that the schema does not know, following objects and arrays."""
    part = resolved(part)
    for choice in part.get("anyOf", ()):
        if resolved(choice).get("type") == {dict: "object", list: "array"}.get(type(value)):
            yield from unknown(value, choice, at)
    if isinstance(value, dict) and "properties" in part:
        for key, inner in value.items():
            if key in part["properties"]:
                yield from unknown(inner, part["properties"][key], f"{at}.{key}")
            elif part.get("additionalProperties") is False:
                yield f"{at}.{key}"
    elif isinstance(value, dict) and isinstance(part.get("additionalProperties"), dict):
        for key, inner in value.items():
            yield from unknown(inner, part["additionalProperties"], f"{at}.{key}")
    elif isinstance(value, list) and isinstance(part.get("items"), dict):
        for inner in value:
            yield from unknown(inner, part["items"], f"{at}[]")


def test_every_reference_leads_somewhere() -> None:
    names = set(references(SCHEMA))
    assert names and names <= {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_everything_that_is_valid_is_in_it() -> None:
    """Also the accounts of channels, and agents as a map."""
    assert list(unknown(parse(FILE.read_text(), FILE), SCHEMA, "$")) == []
    assert list(unknown({"agents": {"entries": {"a": {"name": "A"}}}}, SCHEMA, "$")) == []


def test_a_key_that_is_not_known_is_refused_by_it() -> None:
    """Strict where the checker is strict."""
    bad = {
        "agnts": {},
        "agents": {"list": [{"id": "a", "wrkspace": 1}], "entries": {"b": {"x": 1}}},
        "channels": {"telegram": {"accounts": {"a": {"botTokn": "x"}}}, "nosuch": {}},
    }
    assert list(unknown(bad, SCHEMA, "$")) == [
        "$.agnts",
        "$.agents.list[].wrkspace",
        "$.agents.entries.b.x",
        "$.channels.telegram.accounts.a.botTokn",
        "$.channels.nosuch",
    ]
