# ruff: noqa: E501  # whole messages on one line are what a reader compares
"""The real command in a home of its own: what it prints, where, with which exit code, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import json5
import pytest

ROOT = Path(__file__).parents[2]
CONFIG = "~/.openclaw/openclaw.json"


class Result(NamedTuple):
    """What one command did."""

    code: int
    out: str
    err: str


class Home:
    """A user's home in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".openclaw"
        self.config = self.state / "openclaw.json"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "OPENCLAW_LOCAL_MODEL_PORTS": "",
        }

    def write(self, text: str) -> None:
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.config.write_text(text)

    def run(self, *arguments: str, stdin: str = "", **environ: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environ | environ,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def value(self) -> Any:
        return json5.loads(self.config.read_text())

    def tree(self) -> dict[str, bytes]:
        """Every file, so that "nothing changed" can be said."""
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def check(home: Home, *arguments: str, code: int, err: str, out: str = "") -> None:
    """A refusal: exact words, exit code, nothing changed, no traceback."""
    before = home.tree()
    result = home.run(*arguments)
    assert result == Result(code, out, err)
    assert home.tree() == before


BROKEN = "{\n  agents: { list: [ { id: 'main' }, jx ] },\n}\n"
UNKNOWN_KEY = "{\n  // mine\n  agents: {\n    list: [\n      { id: 'work', wrkspace: '~/w' },\n    ],\n  },\n}\n"


def test_broken_json5_is_told_with_line_and_column(home: Home) -> None:
    """By `config validate`, by any other command, and by the gateway."""
    home.write(BROKEN)
    problem = "<root>: JSON5 parse failed: SyntaxError: JSON5: invalid character 'j' at 2:37"
    check(
        home, "config", "validate", code=1,
        err=f"Config invalid at {CONFIG}:\n  × {problem}\n\nRun `openclaw doctor` to repair, or fix the keys above manually.\n",
    )  # fmt: skip
    told = f"Config invalid\nFile: {CONFIG}\nProblem:\n  - {problem}\n\nRun: openclaw doctor --fix\n"
    check(home, "agents", "list", code=1, err=told)
    check(home, "agents", "bind", "--agent", "main", "--bind", "telegram", code=1, err=told)
    check(home, "gateway", "run", code=1, err=f"Invalid config at {home.config}:\n- {problem}\n")


def test_an_unknown_key_is_told_with_its_place_and_what_was_meant(home: Home) -> None:
    """`$.path`, the line, and "did you mean"."""
    home.write(UNKNOWN_KEY)
    lines = (
        'agents.list.0: Unrecognized key: "wrkspace"',
        "at $.agents.list[0].wrkspace, line 5",
        'hint: did you mean "workspace"?',
    )
    check(
        home, "status", code=1,
        err=f"Config invalid\nFile: {CONFIG}\nProblem:\n  - {lines[0]}\n    {lines[1]}\n    {lines[2]}\n\n"
        "Run: openclaw doctor --fix\n",
    )  # fmt: skip
    check(
        home,
        "gateway",
        "run",
        code=1,
        err=f"Invalid config at {home.config}:\n- {lines[0]}\n  {lines[1]}\n  {lines[2]}\n",
    )


def test_every_problem_is_told_as_json(home: Home) -> None:
    """stdout stays one document."""
    home.write("{gateway: {port: 'x'}, session: {dmScope: 'per-pee'}, channels: {telegrm: {}}}")
    result = home.run("config", "validate", "--json")
    assert (result.code, result.err) == (1, "")
    assert json.loads(result.out) == {
        "valid": False,
        "path": str(home.config),
        "issues": [
            {"path": "gateway.port", "message": "Invalid input: expected number, received string"},
            {
                "path": "session.dmScope",
                "message": 'Invalid input (allowed: "main", "per-peer", "per-channel-peer", "per-account-channel-peer")',
                "hint": 'did you mean "per-peer"?',
            },
            {
                "path": "channels.telegrm",
                "message": "unknown channel id: telegrm",
                "hint": 'did you mean "telegram"?',
            },
        ],
    }


BIND = ("agents", "bind", "--agent")
EXAMPLE = "openclaw agents bind --agent work --bind telegram:work"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((*BIND, "nope", "--bind", "telegram"), 'Agent "nope" not found.\nhint: openclaw agents list'),
        ((*BIND, "wrk", "--bind", "telegram"), 'Agent "wrk" not found.\nhint: did you mean "work"?'),
        ((*BIND, "work", "--bind", "telegrm:a"), 'Unknown channel "telegrm".\nhint: did you mean "telegram"?'),
        ((*BIND, "work", "--bind", "telegram:"), f'Invalid binding "telegram:" (empty account id).\nhint: {EXAMPLE}'),
        ((*BIND, "work", "--bind", "irc", "--bind", "x"), f'Unknown channel "x".\nhint: {EXAMPLE}'),
        ((*BIND, "work"), f"Provide at least one --bind <channel[:accountId]>.\nhint: {EXAMPLE}"),
        (("agents", "unbind", "--agent", "work", "--all", "--bind", "irc"), "Use either --all or --bind, not both."),
        (("agents", "bindings", "--agent", "nope"), 'Agent "nope" not found.\nhint: openclaw agents list'),
        (("agents", "add", "work"), 'Agent "work" already exists.\nhint: openclaw agents list'),
        (("agents", "add", "main"), '"main" is reserved. Choose another name.\nhint: openclaw agents add work'),
        (("agents", "delete", "main", "--force"), '"main" cannot be deleted.'),
        (("agents", "delete", "nope", "--force"), 'Agent "nope" not found.\nhint: openclaw agents list'),
        (
            ("agents", "delete", "work"),
            "Non-interactive session. Re-run with --force.\nhint: openclaw agents delete work --force",
        ),
        (("config", "get", "x.y"), "Config path not found: x.y"),
        (("config", "unset", "x.y"), "Config path not found: x.y"),
        (("config", "get", "a..b"), "not a config path: a..b\nhint: openclaw config get 'agents.list[0].id'"),
        (
            ("config", "set", "session.dmScope", "x"),
            'Config validation failed: session.dmScope: Invalid input (allowed: "main", "per-peer", "per-channel-peer",'
            ' "per-account-channel-peer")\n  at $.session.dmScope',
        ),
        (
            ("config", "set", "gateway.prt", "1"),
            'Config validation failed: gateway: Unrecognized key: "prt"\n  at $.gateway.prt\nhint: did you mean "port"?',
        ),
        (
            ("agent", "-m", "hi", "--agent", "nope"),
            'Unknown agent id "nope". Use "openclaw agents list" to see configured agents.\nhint: openclaw agents list',
        ),
        (
            ("agent", "-m", "hi"),
            'Pass --to <E.164>, --session-id, or --agent to choose a session\nhint: openclaw agent --agent main -m "…"',
        ),
        (
            ("channels", "login", "--channel", "whatsapp", "--account", "work"),
            "Channel login failed: WhatsApp is not in this build; it has telegram and irc\n"
            "hint: openclaw channels login --channel telegram",
        ),
        (
            ("channels", "login", "--channel", "nosuch"),
            "Channel login failed: Error: Unsupported channel: nosuch\n"
            "hint: openclaw channels login --channel telegram",
        ),
        (
            ("channels", "login", "--channel", "telegram", "--account", "work"),
            "Channel login failed: no token: pass --token, or write it to stdin\n"
            "hint: openclaw channels login --channel telegram --account work --token 123456:ABC…",
        ),
        (
            ("channels", "remove", "--channel", "telegram", "--account", "nope", "--delete"),
            'Account "nope" not found for telegram.\nhint: openclaw channels list',
        ),
        (("nosuch",), "unknown command 'nosuch'\nhint: openclaw --help"),
        (("tasks",), "'tasks' is not implemented in this build\nhint: openclaw --help"),
        (("agnts",), "unknown command 'agnts'\nhint: did you mean \"agents\"?"),
        (("agents", "list", "--nope"), "unknown option '--nope'\nhint: openclaw agents list --help"),
        (("gateway", "install"), "'gateway install' is not implemented in this build\nhint: openclaw gateway --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_gets_one_clear_error_and_changes_nothing(home: Home, arguments: tuple[str, ...], error: str) -> None:
    """What, where, one hint; exit code 1; no traceback."""
    home.write("{agents: {list: [{id: 'main'}, {id: 'work'}]}, gateway: {mode: 'local'}}")
    check(home, *arguments, code=1, err=f"error: {error}\n")


def test_a_gateway_without_a_configuration_does_not_start(home: Home) -> None:
    """Exit code 78, so that a service manager does not try again."""
    check(
        home, "gateway", "run", code=78,
        err="error: Missing config. Run `openclaw setup` or set gateway.mode=local (or pass --allow-unconfigured).\n"
        f"  at {CONFIG}\nhint: openclaw gateway run --allow-unconfigured\n",
    )  # fmt: skip


def test_a_gateway_open_to_the_network_without_a_token_does_not_start(home: Home) -> None:
    """The same code, and the hint makes one."""
    home.write("{gateway: {bind: 'lan'}}")
    result = home.run("gateway", "run")
    assert (
        result.code == 78
        and "without auth" in result.err
        and "hint: openclaw config set gateway.auth.token" in result.err
    )


def test_what_needs_the_gateway_says_that_it_is_not_running(home: Home) -> None:
    """With the way to start it."""
    for arguments in (("health",), ("agent", "--agent", "main", "-m", "hi")):
        place = home.state / "run" / "control.sock"
        text = f"error: gateway not running (no control socket)\n  at {place}\nhint: openclaw gateway start\n"
        check(home, *arguments, code=1, err=text)
    check(home, "gateway", "stop", code=0, out="Gateway not running.\n", err="")


def test_pairing_works_without_a_gateway(home: Home) -> None:
    """On the same files; whoever should have been told is not, and that is said."""
    assert home.run("pairing", "list").out == "No pending pairing requests.\n"
    credentials = home.state / "credentials"
    credentials.mkdir(parents=True, mode=0o700)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = [
        {"id": id, "code": code, "createdAt": now, "lastSeenAt": now, "meta": {"accountId": "work"}}
        for id, code in (("5", "AAAABBBB"), ("6", "CCCCDDDD"))
    ]
    (credentials / "telegram-pairing.json").write_text(json.dumps({"version": 1, "requests": rows}))
    approved = home.run("pairing", "approve", "telegram", "aaaabbbb", "--notify")
    assert approved.out == "Approved telegram sender 5.\n" and "no gateway runs" in approved.err
    assert home.run("pairing", "reject", "--channel", "telegram", "CCCCDDDD").out == "Rejected telegram sender 6.\n"
    assert home.run("pairing", "revoke", "telegram", "5").out == "Revoked telegram sender 5 (work).\n"
    check(
        home, "pairing", "approve", "telegram", "ZZZZZZZZ", code=1,
        err="error: No pending pairing request found for code: ZZZZZZZZ\nhint: openclaw pairing list telegram\n",
    )  # fmt: skip
    usage = "error: usage: openclaw pairing revoke <channel> <id>\nhint: openclaw pairing list\n"
    check(home, "pairing", "revoke", "telegram", code=1, err=usage)


def test_an_agent_is_added_bound_shown_and_deleted(home: Home) -> None:
    """The commands of the tutorial, in their order, without a terminal."""
    assert home.run("agents", "add", "work", "--workspace", "~/.openclaw/workspace-work").out == (
        f"Updated {CONFIG}\nWorkspace OK: ~/.openclaw/workspace-work\nSessions OK: ~/.openclaw/agents/work/sessions\n"
        "Agent: work\nWorkspace: ~/.openclaw/workspace-work\nAgent dir: ~/.openclaw/agents/work/agent\n"
    )
    assert [one["id"] for one in home.value()["agents"]["list"]] == ["main", "work"]
    bound = home.run("agents", "bind", "--agent", "work", "--bind", "telegram")
    assert (bound.code, bound.out) == (0, f"Updated {CONFIG}\nAdded bindings:\n- telegram\n")
    assert "hint: openclaw channels login --channel telegram" in bound.err
    upgraded = home.run("agents", "bind", "--agent", "work", "--bind", "telegram:work")
    assert upgraded.out == f"Updated {CONFIG}\nUpdated bindings:\n- telegram accountId=work\n"
    again = home.run("agents", "bind", "--agent", "work", "--bind", "telegram:work")
    assert again == Result(0, "No new bindings added.\nAlready present:\n- telegram accountId=work\n", again.err)
    claimed = home.run("agents", "bind", "--agent", "main", "--bind", "telegram:work", "--json")
    assert (claimed.code, json.loads(claimed.out)["conflicts"]) == (1, ["telegram accountId=work (agent=work)"])
    shown = home.run("agents", "list", "--bindings").out
    assert "    - telegram accountId=work\n" in shown
    assert "│ work  │ Telegram │ work    │ any             │ not configured │\n" in shown
    assert home.run("agents", "delete", "work", "--force").out == (
        f"Updated {CONFIG}\nMoved to Trash: ~/.openclaw/workspace-work\nMoved to Trash: ~/.openclaw/agents/work/agent\n"
        "Moved to Trash: ~/.openclaw/agents/work/sessions\nDeleted agent: work\n"
    )
    assert "bindings" not in home.value()
    assert [one["id"] for one in json.loads(home.run("agents", "list", "--json").out)] == ["main"]


def test_the_users_comments_survive_every_command(home: Home) -> None:
    """Also where the file is JSON5 in a style of its own."""
    text = "// head\n{\n  agents: { list: [ { id: 'main' } /* the one */ ] }, // agents\n  bindings: [], // none yet\n}\n// foot\n"
    home.write(text)
    for arguments in (
        ("agents", "add", "work"),
        ("agents", "bind", "--agent", "work", "--bind", "irc:a"),
        ("config", "set", "gateway.port", "18790"),
        ("channels", "add", "--channel", "telegram", "--account", "work", "--token", "1:a"),
        ("config", "unset", "gateway.port"),
        ("agents", "unbind", "--agent", "work", "--all"),
    ):
        result = home.run(*arguments)
        assert result.code == 0, result.err
    kept = home.config.read_text()
    assert all(comment in kept for comment in ("// head", "/* the one */", "// agents", "// none yet", "// foot"))
    assert home.value()["channels"]["telegram"]["accounts"]["work"] == {"enabled": True, "botToken": "1:a"}


def test_secrets_are_not_shown(home: Home) -> None:
    """And what was shown can be set again without losing them."""
    home.write("{channels: {telegram: {accounts: {work: {botToken: '1:secret', name: 'x'}}}}}")
    shown = home.run("config", "get", "channels.telegram.accounts.work")
    assert json.loads(shown.out) == {"botToken": "__OPENCLAW_REDACTED__", "name": "x"}
    assert home.run("config", "set", "channels.telegram.accounts.work", shown.out.replace('"x"', '"y"')).code == 0
    assert home.value()["channels"]["telegram"]["accounts"]["work"] == {"botToken": "1:secret", "name": "y"}
    for arguments in (("channels", "list"), ("channels", "status"), ("status",), ("agents", "list", "--bindings")):
        result = home.run(*arguments)
        assert result.code == 0 and "secret" not in result.out + result.err


def test_the_last_log_lines_are_read_without_a_gateway(home: Home) -> None:
    """`--lines`, as the tutorial writes it."""
    (home.state / "logs").mkdir(parents=True)
    line = '{"time":"2026-01-01T00:00:0%dZ","level":"info","subsystem":"gateway","message":"m%d"}\n'
    (home.state / "logs" / "openclaw.log").write_text("".join(line % (number, number) for number in range(5)))
    result = home.run("logs", "--lines", "2")
    assert result.out == (
        "Log file: ~/.openclaw/logs/openclaw.log\n"
        "2026-01-01T00:00:03Z info gateway m3\n2026-01-01T00:00:04Z info gateway m4\n"
    )
    assert result.err == "Gateway not reachable; reading local log file.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",), ("--help",), ("agents", "list"), ("agents", "list", "--bindings"), ("channels", "list"),
        ("channels", "status"), ("config", "validate"), ("config", "get", "agents"), ("gateway", "status"), ("status",),
        ("health",), ("logs",), ("dashboard",), ("pairing", "list"), ("agents", "--help"), ("config", "schema"),
        ("doctor",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_is_quick(home: Home, arguments: tuple[str, ...]) -> None:
    """Under half a second of work at best of three; waiting for a busy machine does not count."""
    home.write("{agents: {list: [{id: 'main'}]}}")
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Traceback" not in home.run(*arguments).err
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.5
