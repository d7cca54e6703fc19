"""Which tools an agent may use: what `protocol.tool_policy` decides, under the name the worker's tools know it by."""

from __future__ import annotations

from protocol.tool_policy import GROUPS, PROFILES, admits, effective, emptied_by, expand, normalize

__all__ = ["GROUPS", "PROFILES", "admits", "effective", "emptied_by", "expand", "normalize"]
