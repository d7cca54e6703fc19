"""exec-approvals.json: what it means together with the configuration, and that it is never half read or written."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.approvals import SAFE_BINS, ApprovalsFile, ElevatedRules, approval_id, effective, tightened
from protocol.config import Config, ExecTool
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config import approvals
from supervisor.config.problems import ConfigInvalid
from supervisor.config.walk import walk


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "s", tmp_path / "openclaw.json")


def file(**fields: Any) -> ApprovalsFile:
    return approvals.checked({"version": 1, **fields}, Path("x"))


@pytest.mark.parametrize(
    ("shared", "own", "rules", "expected"),
    [
        ({}, {}, {}, ("full", "off")),
        ({"security": "allowlist"}, {}, {}, ("allowlist", "off")),
        ({"security": "allowlist"}, {"security": "full"}, {}, ("full", "off")),
        ({"security": "full"}, {"ask": "always"}, {}, ("full", "always")),
        ({}, {}, {"defaults": {"security": "deny"}}, ("deny", "off")),
        ({"security": "deny"}, {}, {"defaults": {"security": "full", "ask": "on-miss"}}, ("deny", "on-miss")),
        ({"ask": "always"}, {}, {"defaults": {"ask": "off"}}, ("full", "always")),
        ({}, {}, {"defaults": {"security": "deny"}, "agents": {"a": {"security": "allowlist"}}}, ("allowlist", "off")),
        ({}, {}, {"agents": {"*": {"ask": "on-miss"}, "b": {"ask": "always"}}}, ("full", "on-miss")),
        ({}, {}, {"agents": {"b": {"security": "deny"}}}, ("full", "off")),
        ({}, {}, {"agents": {"A": {"security": "deny"}}}, ("deny", "off")),
    ],
)
def test_the_stricter_of_configuration_and_file_holds(
    shared: dict[str, Any], own: dict[str, Any], rules: dict[str, Any], expected: tuple[str, str]
) -> None:
    found = effective(ExecTool(**shared), ExecTool(**own), file(**rules), "a", "/h")
    assert (found.security, found.ask) == expected


def test_a_call_only_tightens() -> None:
    policy = effective(None, None, file(defaults={"security": "allowlist", "ask": "on-miss"}), "a", "/h")
    assert tightened(policy, "full", "off") == policy
    assert tightened(policy, "deny", "always").security == "deny"


def test_the_allowlist_is_the_agents_and_everybodys() -> None:
    agents = {
        "a": {"allowlist": [{"pattern": "~/bin/*"}, {"pattern": "git"}, {"pattern": "make", "argPattern": "x"}]},
        "*": {"allowlist": [{"pattern": "git", "id": "1", "lastUsedAt": 5}, {"pattern": "/usr/bin/*"}]},
        "b": {"allowlist": [{"pattern": "sh"}]},
    }
    found = effective(None, ExecTool(safe_bins=()), file(agents=agents), "a", "/h")
    assert found.allowlist == ("/h/bin/*", "git", "/usr/bin/*") and found.safe_bins == ()
    assert effective(None, None, file(agents=agents), "c", "/h").safe_bins == SAFE_BINS


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], "<root>"),
        ({}, "version"),
        ({"version": 2}, "version"),
        ({"version": 1, "defaults": {"security": "none"}}, "defaults.security"),
        ({"version": 1, "agents": {"a": {"allow": []}}}, "agents.a"),
        ({"version": 1, "agents": {"a": {"allowlist": ["git"]}}}, "agents.a.allowlist.0"),
        ({"version": 1, "agents": {"a": {"allowlist": [{"pattern": ""}]}}}, "agents.a.allowlist.0.pattern"),
        ({"version": 1, "agents": {"a": {"allowlist": [{"pattern": "*"}]}}}, "agents.a.allowlist.0.pattern"),
        ({"version": 1, "agents": {"a": {"allowlist": [{"pattern": "a/b"}]}}}, "agents.a.allowlist.0.pattern"),
        ({"version": 1, "agents": {"a": {"allowlist": [{"pattern": "git *"}]}}}, "agents.a.allowlist.0.pattern"),
        ({"version": 1, "agents": {"a": {"allowlist": [{"pattern": "x" * 600}]}}}, "agents.a.allowlist.0.pattern"),
        ({"version": 1, "agents": {"a": {}, "A": {}}}, "agents.A"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(ConfigInvalid) as error:
        approvals.checked(value, Path("x"))
    assert path in [one.path for one in error.value.problems]


def test_a_broken_file_is_an_error_and_never_no_rules(paths: Paths) -> None:
    assert approvals.read(paths).agents is None
    paths.state.mkdir()
    for text in ("{", '{"version": 1, "defaults": []}', "[]", "\0"):
        approvals.file_of(paths).write_text(text)
        with pytest.raises(UserError):
            approvals.read(paths)


def test_a_change_is_whole_private_and_keeps_what_it_does_not_touch(paths: Paths) -> None:
    start = {"version": 1, "socket": {"path": "x"}, "agents": {"a": {"ask": "always", "allowlist": [{"pattern": "x"}]}}}
    approvals.change(paths, lambda _: start)
    target = approvals.file_of(paths)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    approvals.remember(paths, "a", ("x", "git"))
    known = json.loads(target.read_text())
    assert known["socket"] == {"path": "x"} and known["agents"]["a"]["ask"] == "always"
    first, second = known["agents"]["a"]["allowlist"]
    assert first == {"pattern": "x"} and second["pattern"] == "git" and second["lastUsedAt"] > 0
    approvals.change(paths, lambda value: approvals.disallow(value, "a", "x"))
    assert [one.pattern for one in (approvals.read(paths).agents or {})["a"].allowlist or ()] == ["git"]
    before = target.read_text()
    with pytest.raises(ConfigInvalid):
        approvals.change(paths, lambda value: {**value, "version": 3})
    assert target.read_text() == before
    assert not [one for one in paths.state.iterdir() if one.name.endswith(".tmp")]


def test_a_link_is_replaced_and_not_written_through(paths: Paths, tmp_path: Path) -> None:
    paths.state.mkdir()
    (tmp_path / "other").write_text('{"version": 1}')
    approvals.file_of(paths).symlink_to(tmp_path / "other")
    approvals.remember(paths, "a", ("git",))
    assert (tmp_path / "other").read_text() == '{"version": 1}'


@pytest.mark.parametrize(
    ("tools", "own", "default", "expected"),
    [
        (None, None, None, ElevatedRules(enabled=True, default="ask")),
        (
            {"allowFrom": {"Telegram": ["7", 8]}},
            None,
            "full",
            {"allow_from": {"telegram": ("7", 8)}, "default": "full"},
        ),
        ({"enabled": False, "allowFrom": {"x": ["7"]}}, None, None, {"enabled": False, "allow_from": {"x": ("7",)}}),
        ({"allowFrom": {"x": ["7"]}}, {"enabled": False}, "off", {"enabled": False, "allow_from": {"x": ("7",)}}),
        ({"allowFrom": {"x": ["7"]}}, {"allowFrom": {}}, "on", {"allow_from": {"x": ("7",)}, "own": {}}),
    ],
)
def test_who_may_leave_the_sandbox_is_global_and_an_agent_can_only_restrict(
    tools: Any, own: Any, default: Any, expected: Any
) -> None:
    value = {
        "tools": {"elevated": tools},
        "agents": {"defaults": {"elevatedDefault": default}, "list": [{"id": "a", "tools": {"elevated": own}}]},
    }
    if not isinstance(expected, ElevatedRules):
        off = {"default": default} if default == "off" else {}
        expected = ElevatedRules(**{"enabled": True, "default": "ask", **off, **expected})
    assert approvals.elevated(msgspec.convert(value, Config), "a") == expected


@pytest.mark.parametrize(
    "elevated", [{"allowFrom": ["7"]}, {"allowFrom": {"x": "7"}}, {"enabled": "yes"}, True, {"x": 1}]
)
def test_a_list_of_senders_that_cannot_be_read_is_an_error_and_not_nobody(elevated: Any) -> None:
    for where in (
        {"tools": {"elevated": elevated}},
        {"agents": {"list": [{"id": "a", "tools": {"elevated": elevated}}]}},
    ):
        assert list(walk(where, Config))


def test_an_approval_is_known_by_all_that_it_is_about() -> None:
    ids = {
        approval_id("t", "ls", "/w"),
        approval_id("u", "ls", "/w"),
        approval_id("t", "id", "/w"),
        approval_id("t", "ls", "/x"),
        approval_id("t", "ls", "/w", elevated=True),
        approval_id("t", "/w\0ls", ""),
    }
    assert len(ids) == 6 and all(len(id) == 8 for id in ids)
