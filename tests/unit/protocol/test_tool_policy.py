"""Every layer can only take away (RULES 3.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import ToolList
from protocol.tool_policy import GROUPS, PROFILES, admits, effective, emptied_by

FOUR = ("read", "write", "edit", "exec")


def layer(allow: str = "", deny: str = "", also: str = "") -> ToolList:
    return ToolList(
        allow=tuple(allow.split()) if allow else None,
        deny=tuple(deny.split()) if deny else None,
        also_allow=tuple(also.split()) if also else None,
    )


@pytest.mark.parametrize(
    ("rule", "tool", "admitted"),
    [
        (layer(), "exec", True),
        (ToolList(allow=()), "exec", True),
        (layer(allow="read"), "exec", False),
        (layer(allow="read"), "read", True),
        (layer(allow="read", deny="read"), "read", False),
        (layer(allow=" BASH "), "exec", True),
        (layer(deny="bash"), "exec", False),
        (layer(allow="group:fs"), "edit", True),
        (layer(allow="group:runtime"), "read", False),
        (layer(allow="group:nothing"), "read", False),
        (layer(allow="unknown"), "read", False),
        (layer(allow="re*"), "read", True),
        (layer(deny="*"), "read", False),
        (layer(deny="r[e]ad"), "read", True),
        (layer(deny="r?ad"), "read", True),
        (layer(allow="write"), "apply_patch", True),
        (layer(deny="write"), "apply_patch", False),
        (layer(allow="apply-patch"), "apply_patch", True),
        (layer(deny="apply_patch"), "write", True),
        (layer(also="cron"), "read", True),
        (layer(allow="read", also="exec"), "exec", True),
        (layer(allow="read", also="exec"), "write", False),
        (layer(also="cron", deny="read"), "read", False),
    ],
)
def test_one_layer(rule: ToolList, tool: str, admitted: bool) -> None:
    assert admits(rule, tool) is admitted


@pytest.mark.parametrize(
    ("profile", "also", "left"),
    [
        ("", (), FOUR),
        ("full", (), FOUR),
        ("unheard-of", (), FOUR),
        ("coding", (), FOUR),
        ("minimal", (), ()),
        ("messaging", ("exec",), ("exec",)),
        ("minimal", ("group:fs",), ("read", "write", "edit")),
    ],
)
def test_profiles_and_what_widens_them(profile: str, also: tuple[str, ...], left: tuple[str, ...]) -> None:
    assert effective(FOUR, profile, (), also) == frozenset(left)


def test_a_tool_must_pass_every_layer() -> None:
    layers = (layer(allow="read write exec"), layer(deny="exec"), layer(allow="read exec"))
    assert effective(FOUR, "coding", layers) == {"read"}


def test_an_allow_list_that_leaves_nothing_is_named() -> None:
    layers = (layer(allow="sessions_list message"),)
    assert emptied_by(effective(FOUR, "", layers), layers) == "sessions_list, message"
    assert emptied_by(effective(FOUR, "", (layer(deny="*"),)), (layer(deny="*"),)) == ""
    assert emptied_by(frozenset({"read"}), layers) == ""


def test_group_openclaw_is_everything_but_files_and_shell() -> None:
    others = {tool for name, members in GROUPS.items() if name != "group:openclaw" for tool in members}
    assert set(GROUPS["group:openclaw"]) == others - {"read", "write", "edit", "apply_patch", "exec", "process"}
    assert len(GROUPS["group:openclaw"]) == 26
    assert len(PROFILES["coding"]) == 25


NAMES = st.lists(st.sampled_from([*FOUR, "group:fs", "*", "bash", "x"]), max_size=3).map(tuple)
LAYERS = st.lists(st.builds(ToolList, allow=NAMES, deny=NAMES), max_size=4)


@given(LAYERS, st.builds(ToolList, allow=NAMES, deny=NAMES))
def test_one_more_layer_never_gives_a_tool(layers: list[ToolList], more: ToolList) -> None:
    assert effective(FOUR, "", [*layers, more]) <= effective(FOUR, "", layers)
