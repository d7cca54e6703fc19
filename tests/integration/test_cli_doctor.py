"""`openclaw doctor` with the real command: what it finds, what it mends, and that it never crashes."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import Home, Result


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def doctor(home: Home, *options: str, code: int = 0) -> dict[str, Any]:
    """Its report as data."""
    result = home.run("doctor", "--json", *options)
    assert result.code == code, result
    assert "Traceback" not in result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def messages(report: dict[str, Any], level: str) -> list[str]:
    return [one["message"] for one in report["findings"] if one["level"] == level]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


SICK = """{
  // mine
  gateway: { bind: "localhost" },
  agents: { list: [{ id: "main" }, { id: "work" }] },
  bindings: [
    { agentId: "work", match: { channel: "telegram", accountId: "nobody" } },
    { agentId: "work", match: { channel: "telegram", accountId: "b" } },
  ],
  channels: { telegram: { accounts: { b: { botToken: "1:a", allowFrom: ["1", "2"] }, c: {} } } },
}
"""


def test_a_clean_machine_has_no_errors(home: Home) -> None:
    """Nothing is there yet, and nothing is made by looking."""
    result = home.run("doctor")
    assert result.code == 0 and "0 errors and 1 warning." in result.out
    assert not home.tree()


def test_everything_that_is_wrong_is_told_with_what_to_type(home: Home) -> None:
    """Errors and warnings of all kinds in one run."""
    home.write(SICK)
    home.config.chmod(0o644)
    report = doctor(home, code=1)
    assert messages(report, "error") == ["old spelling: gateway.bind is loopback today"]
    told = "\n".join(messages(report, "warning"))
    for text in (
        "channels.telegram has 2 accounts and no default one: b is taken",
        "bindings.0: telegram account nobody is not configured",
        "Telegram account c has no login",
        "agent work: direct messages of 2 people share its main session",
        "agent main has no model key",
        "the workspace of agent work is missing",
        "others may look into it (mode 0644, should be 0600)",
    ):
        assert text in told
    assert all(one.get("hint") for one in report["findings"] if one["level"] != "note")


def test_fix_mends_what_is_safe_after_a_backup(home: Home) -> None:
    """Folders, first files, rights, old spellings, the default account; comments stay and the rest is left."""
    home.write(SICK)
    home.config.chmod(0o644)
    result = home.run("doctor", "--fix", "--yes")
    assert result.code == 0, result
    assert "mended: chmod 0600 ~/.openclaw/openclaw.json" in result.out
    value = home.value()
    assert value["gateway"] == {"bind": "loopback"} and value["channels"]["telegram"]["defaultAccount"] == "b"
    assert "// mine" in home.config.read_text() and home.config.with_name("openclaw.json.bak").read_text() == SICK
    assert mode(home.config) == 0o600 and (home.state / "workspace-work" / "SOUL.md").exists()
    again = doctor(home, "--fix")
    assert again["errors"] == 0 and again["mended"] == [] and not any(one["fixable"] for one in again["findings"])


def test_a_mistake_that_only_its_owner_can_mend_keeps_the_file_as_it_is(home: Home) -> None:
    """Rights and folders are mended, the file is not half mended."""
    home.write(SICK.replace("gateway:", "gatway:"))
    before = home.config.read_bytes()
    report = doctor(home, "--fix", code=1)
    assert home.config.read_bytes() == before
    assert any("defaultAccount" in text and "gatway" in text for text in report["failed"])
    assert (home.state / "workspace").is_dir()


def test_accounts_of_one_folder_and_keys_that_are_refused(home: Home) -> None:
    """agentDirs that are one by a link, nested workspaces, a subscription login, damaged files."""
    home.write(
        "{agents: {list: [{id: 'a', workspace: '~/w'}, {id: 'b', workspace: '~/w/b'}, {id: 'c', workspace: '~/w'}]}}"
    )
    a, b, c = (home.state / "agents" / one / "agent" for one in "abc")
    a.mkdir(parents=True)
    b.parent.mkdir(parents=True)
    b.symlink_to(a)
    (a / "auth-profiles.json").write_text(
        '{"profiles": {"x": {"type": "api_key", "provider": "anthropic", "key": "sk-ant-oat01-secret"}}}'
    )
    c.mkdir(parents=True)
    (c / "auth-profiles.json").write_text("{")
    (home.state / "credentials").mkdir()
    (home.state / "credentials" / "telegram-default-allowFrom.json").write_text("[]")
    result = home.run("doctor")
    assert result.code == 1 and "secret" not in result.out + result.err
    for text in (
        "the agentDirs of a and b are the same folder by a link",
        "the workspace of b lies in that of a",
        "agents a and c share one workspace",
        "agent a: profile x is a login of a consumer subscription",
        "agent c: its auth profiles cannot be read",
        "the pairing file is damaged",
    ):
        assert text in result.out, text


BROKEN: list[tuple[str, str]] = [
    ("", "JSON5 parse failed"),
    ("{ jx ", "JSON5 parse failed"),
    ("[1]", "expected object"),
    ("{$include: './none.json5'}", "Failed to read include file"),
    ("{agents: 5, channels: [], bindings: {}, gateway: 'x'}", "agents: Invalid input"),
    ("{agents: {list: [5, {id: 6}, {}]}}", "agents.list.0: Invalid input"),
    ("{channels: {telegram: 5, discord: {accounts: []}, nosuch: {}}}", "unknown channel id: nosuch"),
    ("{bindings: [{agentId: 'x', match: {channel: 5}}, 7]}", "bindings.0.match.channel"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN, ids=lambda one: one[:24])
def test_a_broken_configuration_is_told_and_never_crashes(home: Home, text: str, told: str) -> None:
    """Also with --fix: nothing is written over it."""
    home.write(text)
    for options in ((), ("--fix",)):
        report = doctor(home, *options, code=1)
        assert any(told in one for one in messages(report, "error")), report
        assert not any("could not be checked" in one for one in messages(report, "error")), report
        assert home.config.read_text() == text


def test_a_config_that_is_no_text_and_one_that_is_no_file(home: Home) -> None:
    home.state.mkdir(mode=0o700)
    home.config.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8 text (byte 0)" in messages(doctor(home, code=1), "error")
    home.config.unlink()
    home.config.mkdir()
    assert doctor(home, code=1)["errors"] == 1


def test_what_a_killed_gateway_left_is_told_and_taken_away(home: Home) -> None:
    """A dead socket, a crash report, a file that was put aside."""
    home.write("{gateway: {mode: 'local'}}")
    records = home.state / "run" / "records"
    records.mkdir(parents=True, mode=0o700)
    (home.state / "run" / "control.sock").touch()
    (records / "crash-20260101T000000000000-worker-main.json").write_text('{"reason": "signal 11"}')
    home.config.with_name("openclaw.json.clobbered.20260101T000000").write_text("x")
    (home.state / "workspace-gone").mkdir()
    report = doctor(home)
    assert "a workspace that no agent has" in messages(report, "note")
    assert "worker-main ended unasked once since yesterday, last: signal 11" in messages(report, "warning")
    assert "a control socket without a gateway: the last one was killed" in messages(report, "note")
    assert "a ruined config was replaced by the last good one" in messages(report, "note")
    assert any("remove " in one for one in doctor(home, "--fix")["mended"])
    assert not (home.state / "run" / "control.sock").exists()


def test_random_configurations_never_crash_it(home: Home) -> None:
    """Cut and stirred texts of a good file; in this process, for speed, by the same function that the command calls."""
    from supervisor.cli.checkup.facts import gather
    from supervisor.cli.context import Context
    from supervisor.cli.doctor import examine

    dice = random.Random(7)
    whole = (Path(__file__).parents[1] / "unit" / "supervisor" / "config" / "everything.json5").read_text()
    from protocol.paths import Paths

    context = Context(Paths.from_environ({"HOME": str(home.folder)}), {"HOME": str(home.folder)})
    words = ["5", "[]", "{}", "null", "'x'", "true"]
    for _ in range(150):
        start = dice.randrange(len(whole))
        text = whole[:start] + dice.choice(words) + whole[start + dice.randrange(40) :]
        home.write(text)
        found = examine(gather(context, deep=False))
        assert not [one for _, one in found.found if "could not be checked" in one.message], text


def test_a_running_gateway_is_asked(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its version, its processes, its queue; nothing is wrong with a fresh one, and --json says so."""
    import shutil
    import tempfile

    from tests.support.gateway import free_port

    folder = Path(tempfile.mkdtemp(prefix="oc"))
    fresh = Home(folder)
    fresh.environ["OPENCLAW_GATEWAY_PORT"] = str(free_port())
    try:
        assert fresh.run("gateway", "start", "--allow-unconfigured").code == 0
        result: Result = fresh.run("doctor")
        assert (
            result.code == 0
            and "✓ a gateway runs and answers" in result.out
            and "✓ no message is stranded" in result.out
        )
        fresh.config.write_text("{agents: {list: [{id: 'main', wrkspace: 1}]}}")
        assert doctor(fresh, code=1)["errors"] >= 1
        assert os.path.exists(fresh.state / "run" / "control.sock")
    finally:
        fresh.run("gateway", "stop")
        shutil.rmtree(folder, ignore_errors=True)
