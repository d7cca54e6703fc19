# ruff: noqa: E501  # whole messages on one line are what a reader compares
"""`openclaw approvals` in a home of its own: what it prints, with which exit code, and what it leaves on disk."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.integration.test_cli import Home

GOOD = "{version: 1, defaults: {security: 'allowlist', ask: 'on-miss'}, agents: {Main: {allowlist: [{pattern: 'ls'}]}}}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_a_file_everything_is_allowed_and_nothing_is_written(home: Home) -> None:
    done = home.run("approvals", "get", "--json")
    found = json.loads(done.out)
    assert (done.code, found["exists"], found["hash"], found["file"]) == (0, False, None, {"version": 1})
    [policy] = found["effectivePolicy"]
    assert (policy["agentId"], policy["security"], policy["ask"]) == ("main", "full", "off")
    assert not (home.state / "exec-approvals.json").exists()


def test_rules_are_set_shown_and_changed(home: Home) -> None:
    file = home.state / "exec-approvals.json"
    assert home.run("approvals", "set", "--stdin", stdin=GOOD).out == (
        "Approvals set\nUpdated ~/.openclaw/exec-approvals.json\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = home.run("approvals", "get").out
    for text in ("Target", "Hash", "security=allowlist, ask=on-miss", "Effective Policy", "on-miss", "ls"):
        assert text in shown
    added = home.run("approvals", "allowlist", "add", "/usr/bin/git", "--agent", "MAIN", "--json")
    assert added.code == 0 and json.loads(added.out)["exists"] is True
    effective = json.loads(home.run("approvals", "get", "--agent", "main", "--json").out)["effectivePolicy"]
    assert effective[0]["allowlist"] == ["ls", "/usr/bin/git"]
    assert home.run("approvals", "allowlist", "remove", "ls", "--agent", "main").out.startswith("Removed for main: ls")
    again = home.run("approvals", "allowlist", "remove", "ls", "--agent", "main")
    assert (again.code, again.out) == (1, "")
    assert again.err == "error: ls is not on the allowlist of main\nhint: openclaw approvals get\n"


def test_bad_rules_are_named_by_path_and_change_nothing(home: Home) -> None:
    (home.folder / "good.json5").write_text(GOOD)
    (home.folder / "bad.json5").write_text("{version: 1, defaults: {security: 'allowlst'}, agent: {}}")
    assert home.run("approvals", "set", "--file", "good.json5").code == 0
    before = (home.state / "exec-approvals.json").read_text()
    done = home.run("approvals", "set", "--file", "bad.json5")
    assert (done.code, done.out) == (1, "")
    for text in ("error: exec approvals invalid\n", "$.defaults.security", 'did you mean "allowlist"?', "$.agent"):
        assert text in done.err
    assert (home.state / "exec-approvals.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "stdin", "error"),
    [
        (("set",), "", "error: name one source of the new rules\nhint: openclaw approvals set --file approvals.json5\n"),
        (("set", "--file", "missing"), "", "error: no such file\n  at missing\nhint: openclaw approvals get --json\n"),
        (("get", "--node", "x"), "", "error: there are no nodes in this build\nhint: openclaw approvals get --gateway\n"),
        (("resolve", "1a", "sure"), "", "error: unknown decision 'sure'\nhint: openclaw approvals resolve 1a allow-once\n"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_what_to_type(home: Home, arguments: tuple[str, ...], stdin: str, error: str) -> None:
    done = home.run("approvals", *arguments, stdin=stdin)
    assert (done.code, done.out, done.err) == (1, "", error)


@pytest.mark.parametrize("pattern", ["git push", "g*", "a/b", ""])
def test_a_pattern_is_a_program(home: Home, pattern: str) -> None:
    done = home.run("approvals", "allowlist", "add", pattern)
    assert done.code == 1 and done.err.startswith("error: Invalid input: ")
    assert not (home.state / "exec-approvals.json").exists()


def test_a_gateway_does_not_start_on_rules_it_cannot_read(home: Home) -> None:
    home.write('{gateway: {mode: "local", port: 0}}')
    (home.state / "exec-approvals.json").write_text("{version: 1, defaults: {security: 'none'}}")
    done = home.run("gateway", "run")
    assert done.code in (1, 78) and "defaults.security" in done.err and "exec-approvals.json" in done.err


def test_what_waits_is_asked_of_the_running_gateway(home: Home) -> None:
    done = home.run("approvals", "pending")
    assert done.code == 1 and done.err.startswith("error: gateway not running")
