"""The checks of doctor that only decide: values in, findings out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol import control as c
from protocol.paths import Paths
from supervisor.cli.checkup import disk, logins, running, sandboxes, settings
from supervisor.cli.checkup.facts import Facts, Live, read_settings
from supervisor.cli.checkup.finding import Finding
from supervisor.config.version import VERSION
from supervisor.config.walls import Ground

SEEDS = Path(__file__).parents[1] / "config" / "seeds"


def facts(folder: Path, text: str = "{}", *, live: Live | None = None, **environ: str) -> Facts:
    paths = Paths.from_environ({"HOME": str(folder)})
    paths.state.mkdir(exist_ok=True)
    paths.config.write_text(text)
    found = read_settings(paths, environ)
    return Facts(paths=paths, settings=found, live=live or Live(reason="none"), deep=False, now=1.8e9)


def texts(found: Any) -> list[str]:
    return [one.message for one in found]


SHARED = "{channels: {telegram: {%s}}, %s}"


@pytest.mark.parametrize(
    ("channel", "more", "who"),
    [
        ("allowFrom: ['1', '2']", "", "2 people"),
        ("dmPolicy: 'open', allowFrom: ['*']", "", "anybody"),
        ("allowFrom: ['1']", "", ""),
        ("allowFrom: ['1', 'tg:1', 'telegram:1']", "", ""),
        ("allowFrom: ['1', '2'], dmPolicy: 'disabled'", "", ""),
        ("allowFrom: ['1', '2']", "session: {dmScope: 'per-peer'}", ""),
        ("allowFrom: ['1', '2']", "session: {identityLinks: {ann: ['telegram:1', 'telegram:2']}}", ""),
        ("allowFrom: ['1', '2']", "bindings: [{agentId: 'main', match: {channel: 'telegram', accountId: '*'}, "
         "session: {dmScope: 'per-peer'}}]", ""),
        ("allowFrom: ['1', '2']", "agents: {list: [{id: 'a'}, {id: 'b'}]}, bindings: [{agentId: 'b', match: "
         "{channel: 'telegram', peer: {kind: 'direct', id: '2'}}}]", ""),
    ],
)  # fmt: skip
def test_people_who_share_a_main_session_are_told(tmp_path: Path, channel: str, more: str, who: str) -> None:
    """Several people whose direct messages end in one conversation; not one person with two names, nor two agents."""
    found = texts(logins.shared_sessions(facts(tmp_path, SHARED % (channel, more))))
    assert [text for text in found if who in text] == found and bool(found) == bool(who)


def test_people_let_in_by_a_code_count_too(tmp_path: Path) -> None:
    one = facts(tmp_path, "{channels: {telegram: {botToken: '1:a', allowFrom: ['1']}}}")
    one.paths.credentials.mkdir()
    (one.paths.credentials / "telegram-default-allowFrom.json").write_text('{"allowFrom": ["2"]}')
    assert "2 people" in texts(logins.shared_sessions(one))[0]


@pytest.mark.parametrize("block", sorted(SEEDS.glob("*.json5")), ids=lambda path: path.stem)
def test_the_examples_of_the_documents_have_no_errors(tmp_path: Path, block: Path) -> None:
    """Nothing in them is called wrong, and the split by person shares no session."""
    one = facts(tmp_path, block.read_text())
    checks = (settings.valid, settings.outdated, settings.bound_accounts, settings.gateway_door, logins.shared_sessions)
    found: list[Finding] = [finding for check in checks for finding in check(one)]
    assert not [finding for finding in found if finding.level == "error"]
    assert not any("share its main session" in finding.message for finding in found)


def test_workspaces_that_are_equal_or_nested_are_told() -> None:
    """Each once; siblings with a common beginning are no such thing."""
    places = {"a": Path("/w/a"), "b": Path("/w/a/b"), "c": Path("/w/a"), "d": Path("/w/ab"), "e": Path("/w/a/b/x")}
    assert texts(disk.nested(places)) == [
        "agents a and c share one workspace: each changes the other's files",
        "the workspace of b lies in that of a",
        "the workspace of e lies in that of a",
    ]


def test_a_full_disk_is_an_error_and_a_nearly_full_one_a_warning() -> None:
    levels = [[one.level for one in disk.enough(free, Path("/x"))] for free in (10**6, 5 * 10**8, 10**10)]
    assert levels == [["error"], ["warning"], []]


def test_stranded_messages_are_counted() -> None:
    assert len(texts(running.stranded({"in.dead": 2, "out.uncertain": 1, "in.queued": 9, "out.dead": 0}))) == 2


def process(state: str, reason: str = "") -> c.ProcessStatus:
    return c.ProcessStatus(name="worker/work", kind="worker", state=state, agent="work", reason=reason)


def test_a_gateway_that_is_not_well_is_told(tmp_path: Path) -> None:
    """Another version, an older configuration, a quarantine, an account that is not connected."""
    account = c.AccountStatus(
        channel="telegram", account="work", enabled=True, configured=True, running=True, connected=False, error="401"
    )
    status = c.GatewayStatus(
        version="0.0.0", pid=1, started_at=1.0, config="/c", config_problem="$.x: bad", host="127.0.0.1", port=1,
        processes=(process("quarantined", "3 crashes"), process("ready")),
    )  # fmt: skip
    one = facts(tmp_path, live=Live(status=status, accounts=(account,)))
    told = [*running.reachable(one), *running.processes(one), *running.connected(one)]
    assert [(found.level, found.message) for found in told] == [
        ("warning", f"the running gateway is version 0.0.0, this command is {VERSION}"),
        ("error", "the running gateway keeps its earlier configuration: $.x: bad"),
        ("error", "worker/work is quarantined: 3 crashes"),
        ("warning", "Telegram account work is disconnected: 401"),
    ]
    assert all(found.hint for found in told)


@pytest.mark.parametrize(
    ("text", "environ", "level"),
    [
        ("{gateway: {bind: 'lan'}}", {}, "error"),
        ("{gateway: {bind: 'lan', auth: {mode: 'none', token: 'x'}}}", {}, "error"),
        ("{gateway: {bind: 'lan', auth: {token: 'x'}}}", {}, ""),
        ("{gateway: {bind: 'lan'}}", {"OPENCLAW_GATEWAY_TOKEN": "x"}, ""),
        ("{gateway: {bind: 'custom', customBindHost: '10.0.0.1'}}", {}, "error"),
        ("{gateway: {bind: 'custom', customBindHost: '127.0.0.1'}}", {}, ""),
        ("{gateway: {auth: {token: 'x', password: 'y'}}}", {}, "error"),
        ("{gateway: {auth: {mode: 'none'}}}", {}, ""),
        ("{gateway: {mode: 'remote'}}", {}, "warning"),
    ],
)
def test_a_door_without_a_guard_is_an_error(tmp_path: Path, text: str, environ: dict[str, str], level: str) -> None:
    """As the gateway itself sees it when it starts."""
    assert [one.level for one in settings.gateway_door(facts(tmp_path, text, **environ))] == ([level] if level else [])


def test_what_this_machine_lacks_for_walls_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "survey", lambda: Ground())
    found = list(sandboxes.ground(facts(tmp_path)))
    assert "this kernel has no Landlock: one wall between agents is missing" in texts(found)
    assert {one.hint for one in found if one.level == "warning"} == {
        "openclaw config set agents.defaults.sandbox.mode all"
    }
    monkeypatch.setattr(sandboxes, "survey", lambda: Ground(uids=True, mounts="root", landlock=7))
    assert [one for one in sandboxes.ground(facts(tmp_path)) if one.level == "warning"] == []
