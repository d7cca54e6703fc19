"""Which key takes a tool away is told from the very layers that the worker and the router apply."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.config import Config
from protocol.tool_policy import ALL_TOOLS, effective
from supervisor.config.slices import tool_rules
from supervisor.config.tool_paths import by_sender, layers, sandbox_tools, verdict

GLOBAL = {
    "profile": "coding",
    "deny": ["browser"],
    "byProvider": {"OpenAI": {"deny": ["canvas"]}, "openai/gpt": {"profile": "minimal", "alsoAllow": ["read", "exec"]}},
    "sandbox": {"tools": {"deny": ["exec"]}},
}
OWN = {
    "alsoAllow": ["message"],
    "deny": ["write"],
    "byProvider": {"openai": {"allow": ["read", "exec", "session_status"]}},
    "sandbox": {"tools": {"allow": ["read"]}},
}


def config(shared: dict[str, Any], own: dict[str, Any], **agent: Any) -> Config:
    return msgspec.convert(
        {"agents": {"list": [{"id": "other"}, {"id": "a", "tools": own, **agent}]}, "tools": shared},
        Config,
        strict=False,
    )


@pytest.mark.parametrize("shared", [{}, GLOBAL])
@pytest.mark.parametrize("own", [{}, OWN, {"profile": "messaging"}, {"exec": {}}])
@pytest.mark.parametrize("model", ["", "openai/gpt", "openai/other", "anthropic/x"])
@pytest.mark.parametrize("sandboxed", [False, True])
def test_the_explained_layers_leave_what_the_applied_ones_leave(
    shared: dict[str, Any], own: dict[str, Any], model: str, sandboxed: bool
) -> None:
    """Tool by tool, for every kind of layer."""
    made = config(shared, own, **({"model": model} if model else {}))
    rules = tool_rules(made, "a")
    applied = effective(ALL_TOOLS, rules.profile, (*rules.layers, *((rules.inside,) if sandboxed else ())), rules.also)
    steps = layers(made, "a", "agent:a:main", sandboxed=sandboxed)
    assert {tool for tool in ALL_TOOLS if verdict(tool, steps).allowed} == applied


def test_the_first_layer_that_takes_a_tool_away_is_named() -> None:
    """By its key, and whether it is denied or only not allowed."""
    steps = layers(config(GLOBAL, OWN, model="openai/gpt"), "a", "agent:a:main", sandboxed=True)
    told = {tool: verdict(tool, steps) for tool in ("canvas", "session_status", "bash", "read", "browser", "cron")}
    assert {tool: (one.by, one.reason) for tool, one in told.items()} == {
        "canvas": ("tools.profile", "not in the list of what is allowed"),
        "session_status": ("agents.list[1].tools.sandbox.tools", "not in the list of what is allowed"),
        "bash": ("agents.list[1].tools.sandbox.tools", "denied"),
        "read": ("", ""),
        "browser": ("tools.profile", "not in the list of what is allowed"),
        "cron": ("tools.byProvider.openai/gpt.profile", "not in the list of what is allowed"),
    }
    assert told["cron"].notes == ("only for owners (cron)",)


def test_where_the_layer_of_sandboxes_comes_from() -> None:
    """Each half has a source of its own."""
    found = sandbox_tools(config(GLOBAL, OWN), "a")
    assert found.allow == ("agent", "agents.list[1].tools.sandbox.tools.allow")
    assert found.deny == ("global", "tools.sandbox.tools.deny")
    assert sandbox_tools(config({}, {}), "a").allow == ("default", "tools.sandbox.tools.allow")


def test_a_workspace_that_may_only_be_read_takes_writing_away() -> None:
    """As the worker in that container is told."""
    made = config({}, {}, sandbox={"mode": "all", "workspaceAccess": "ro"})
    one = verdict("apply-patch", layers(made, "a", "agent:a:main", sandboxed=True))
    assert (one.tool, one.by, one.reason) == ("apply_patch", "sandbox.workspaceAccess", "denied")


@pytest.mark.parametrize(
    ("channels", "key", "path"),
    [
        ({"telegram": {"groups": {"-5": {"tools": {"deny": ["exec"]}}}}}, "agent:a:telegram:group:-5", "groups.-5"),
        ({"telegram": {"groups": {"*": {"tools": {"deny": ["exec"]}}}}}, "agent:a:telegram:group:-5", "groups.*"),
        (
            {"telegram": {"accounts": {"w": {"groups": {"-5": {"tools": {"deny": ["exec"]}}}}}}},
            "agent:a:telegram:group:-5:topic:3",
            "accounts.w.groups.-5",
        ),
        (
            {"discord": {"guilds": {"1": {"channels": {"7": {"tools": {"deny": ["exec"]}}}}}}},
            "agent:a:discord:channel:7",
            "guilds.1.channels.7",
        ),
        ({"slack": {"channels": {"C1": {"tools": {"allow": "exec"}}}}}, "agent:a:slack:channel:c1", "channels.C1"),
    ],
)
def test_the_layer_of_a_conversation_is_found_by_its_session_key(channels: Any, key: str, path: str) -> None:
    """A list that cannot be read lets nothing through."""
    steps = layers(Config(channels=channels), "main", key, sandboxed=False)
    assert verdict("exec", steps).by == f"channels.{key.split(':')[2]}.{path}.tools"
    assert verdict("exec", layers(Config(channels=channels), "main", "agent:main:main", sandboxed=False)).allowed


def test_what_only_a_sender_decides_is_named() -> None:
    """Nobody is asking here, so nothing is applied."""
    channels = {"telegram": {"groups": {"-5": {"toolsBySender": {"3": {"deny": ["exec"]}}}}}}
    path = by_sender(channels, "agent:a:telegram:group:-5")
    assert path == "channels.telegram.groups.-5.toolsBySender"
    assert verdict("exec", (), path).notes == (f"{path} may take it away from some senders",)
    assert by_sender(channels, "agent:a:main") == ""
