"""The JSON Schema of `openclaw.json`, from the same structs that check it: strict where they are strict."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.config import Config
from supervisor.config.channel_schema import ChannelDefaults, Common, struct_of
from supervisor.config.channels import LABELS

_REF = "#/$defs/{name}"


def schema() -> dict[str, Any]:
    """The whole schema as plain data."""
    structs = list(dict.fromkeys([Config, ChannelDefaults, *map(struct_of, LABELS), Common]))
    _, parts = msgspec.json.schema_components(structs, ref_template=_REF)
    for part in parts.values():
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
    parts["Common"]["additionalProperties"] = True  # channels whose own keys are not known here
    for name in {struct_of(channel).__name__ for channel in LABELS}:
        parts[f"{name}Channel"] = _with_accounts(parts[name], name)
    parts["Agents"]["properties"]["entries"] = {
        "type": "object",
        "additionalProperties": {**parts["Agent"], "required": []},
    }
    parts["Config"]["properties"]["channels"] = _channels()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": _REF.format(name="Config"),
        "$defs": parts,
    }


def _with_accounts(part: dict[str, Any], name: str) -> dict[str, Any]:
    """A channel's section: an account's keys at its root, the accounts, and which one is meant."""
    accounts = {"type": "object", "additionalProperties": {"$ref": _REF.format(name=name)}}
    more = {"accounts": accounts, "defaultAccount": {"type": "string"}}
    return {**part, "properties": {**part["properties"], **more}}


def _channels() -> dict[str, Any]:
    known = {name: {"$ref": _REF.format(name=f"{struct_of(name).__name__}Channel")} for name in LABELS}
    by_model = {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    special = {"defaults": {"$ref": _REF.format(name="ChannelDefaults")}, "modelByChannel": by_model}
    return {"type": "object", "properties": {**known, **special}, "additionalProperties": False}
