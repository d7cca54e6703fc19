"""The broker of elevated commands, with real processes: written down first, limited, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m
from protocol.paths import Paths
from protocol.tasks import Tasks
from supervisor import elevated, host_command
from supervisor.config import approvals
from supervisor.elevated import AuditLog, Broker, Home
from supervisor.logs import Journal, LogFile


class Stage:
    """A broker for the agents `main` and `denied`."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder, folder / "state", folder / "state" / "openclaw.json")
        self.workspace = folder / "workspace"
        (self.workspace / "sub").mkdir(parents=True)
        self.paths.state.mkdir()
        self.crashes: list[BaseException] = []
        self.tasks = Tasks(lambda _, error: self.crashes.append(error))
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.audit = folder / "state" / "logs" / "audit.jsonl"
        self.swept = 0
        self.journal = Journal(LogFile(folder / "log"))
        homes = {"main": Home(self.workspace), "denied": Home(self.workspace, denied=True)}
        self.broker = Broker(
            AuditLog(self.audit), self.paths, homes.get, self.told.put_nowait, self.tasks, self.journal, self._sweep
        )

    def _sweep(self) -> None:
        self.swept += 1

    async def run(self, command: str, **fields: Any) -> m.ElevatedResult:
        self.ask(command, **fields)
        result = await self.told.get()
        assert isinstance(result, m.ElevatedResult)
        return result

    def ask(self, command: str, **fields: Any) -> None:
        given = {"request": 1, "agent": "main", "turn": "t", "channel": "telegram", "sender": "7", **fields}
        self.broker.run(m.RunElevated(command=command, **{"workdir": "", "timeout": 20.0, **given}))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()] if self.audit.exists() else []


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.broker.close()
    await stage.tasks.cancel()
    stage.journal.close()
    assert not stage.crashes


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


async def test_it_runs_in_the_workspace_as_who_we_are(stage: Stage) -> None:
    result = await stage.run("pwd; id -u; echo oops >&2", request=7)
    assert result == m.ElevatedResult(request=7, ok=True, text=f"{stage.workspace}\n{os.getuid()}\noops")
    assert stage.swept == 1


@pytest.mark.parametrize(
    ("workdir", "folder"),
    [(".", ""), ("sub", "sub"), ("/workspace", ""), ("/workspace/sub", "sub"), ("/tmp", None)],
)
async def test_the_folder_is_one_of_the_workspace_or_of_the_host(
    stage: Stage, workdir: str, folder: str | None
) -> None:
    place = Path(workdir) if folder is None else stage.workspace / folder
    assert (await stage.run("pwd", workdir=workdir)).text == str(place)


@pytest.mark.parametrize("workdir", ["../state", "missing", "/workspace/../state", "/workspaces", "way-out"])
async def test_a_folder_that_is_not_there_or_leads_out_runs_nothing(stage: Stage, workdir: str) -> None:
    (stage.workspace / "way-out").symlink_to("/etc")
    result = await stage.run("touch made", workdir=workdir)
    assert not result.ok and result.text.startswith("command not run: ")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo x; exit 3", "x\n\n(Command exited with code 3)"),
        ("kill -9 $$", "(no output)\n\n(Command was ended by signal 9)"),
        ("cat", "(no output)"),
    ],
)
async def test_the_ending_is_told(stage: Stage, command: str, text: str) -> None:
    result = await stage.run(command)
    assert (result.ok, result.text) == (command == "cat", text)


async def test_who_had_what_run_is_written_down_before_it_runs(stage: Stage) -> None:
    command = f"wc -l < {stage.audit}; echo {'x' * 1000} > /dev/null; exit 4"
    assert (await stage.run(command)).text.startswith("1\n")
    begun, ended = stage.lines()
    who = {"agent": "main", "channel": "telegram", "sender": "7", "turn": "t"}
    assert begun["event"] == "elevated.run" and begun | who == begun and len(begun["command"]) == 500
    assert ended["event"] == "elevated.ended" and ended["code"] == 4 and ended["sha256"] == begun["sha256"]
    assert stat.S_IMODE(stage.audit.stat().st_mode) == 0o600


async def test_what_cannot_be_written_down_is_not_run(stage: Stage) -> None:
    stage.audit.mkdir(parents=True)
    result = await stage.run("touch made")
    assert not result.ok and result.text.startswith("command not run: ")
    assert not (stage.workspace / "made").exists()


async def test_a_log_that_leads_elsewhere_is_not_followed(stage: Stage) -> None:
    stage.audit.parent.mkdir(parents=True)
    stage.audit.symlink_to(stage.workspace / "stolen")
    assert not (await stage.run("true")).ok
    assert not (stage.workspace / "stolen").exists()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"agent": "nobody"}, "not configured"),
        ({"agent": "denied"}, "exec is denied"),
        ({"command": "x" * 200_000}, "longer than"),
        ({"command": "id\0"}, "not text"),
    ],
)
async def test_a_refusal_runs_nothing_and_is_written_down(stage: Stage, fields: dict[str, Any], reason: str) -> None:
    result = await stage.run(**{"command": "touch made", **fields})
    assert not result.ok and reason in result.text
    assert [line["event"] for line in stage.lines()] == ["elevated.refused"]
    assert not (stage.workspace / "made").exists()


async def test_nothing_of_the_gateways_environment_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("LD_PRELOAD_TEST", "canary")
    text = (await stage.run("env; ls /proc/self/fd | wc -l")).text
    assert "canary" not in text and "OPENCLAW_SHELL=exec" in text
    assert f"OPENCLAW_LINK={stage.paths.run}/" in text
    assert int(text.splitlines()[-1]) <= 5


async def test_too_long_is_ended_with_all_it_started(stage: Stage) -> None:
    result = await stage.run("sleep 1000 & echo $!; trap '' TERM; sleep 1000", timeout=0.3)
    pid, _, ending = result.text.partition("\n")
    assert not result.ok and ending.strip() == "Command timed out after 0.3 seconds."
    await until(lambda: not alive(int(pid)))
    assert stage.lines()[-1]["timedOut"] is True


async def test_what_a_command_leaves_in_its_group_ends_with_it(stage: Stage) -> None:
    result = await stage.run("sleep 1000 > /dev/null 2>&1 & echo $!")
    await until(lambda: not alive(int(result.text)))


async def test_a_flood_of_output_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_command, "MAX_OUTPUT", 200_000)
    result = await stage.run("echo first; yes")
    assert not result.ok and result.text.startswith("first\ny\ny\n") and "more than 200000 bytes" in result.text
    assert len(result.text) < 70_000 and "bytes left out" in result.text


async def test_only_a_few_run_at_once(stage: Stage) -> None:
    for _ in range(elevated.MAX_RUNNING):
        stage.ask("sleep 1000")
    await until(lambda: len(stage.broker.pids) == elevated.MAX_RUNNING)
    assert "run already" in (await stage.run("true")).text
    pids = stage.broker.pids
    await stage.broker.close()
    assert not any(alive(pid) for pid in pids) and not stage.broker.pids


async def test_always_is_written_into_the_operators_file(stage: Stage) -> None:
    file = approvals.file_of(stage.paths)
    for _ in range(2):
        stage.broker.remember(m.RememberApproval(agent="main", patterns=("git", "wc")))
    await until(lambda: file.exists() and len(stage.tasks) == 0)
    known = json.loads(file.read_text())
    assert [one["pattern"] for one in known["agents"]["main"]["allowlist"]] == ["git", "wc"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("{broken")
    stage.broker.remember(m.RememberApproval(agent="main", patterns=("ls",)))
    await until(lambda: len(stage.tasks) == 0)
    assert file.read_text() == "{broken"
