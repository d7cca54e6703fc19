"""What `doctor --isolation` aims at, and what it makes of the answers."""

from __future__ import annotations

import os
from pathlib import Path

from protocol import control as c
from protocol.isolation import ATTACKS, SCOPED_SINCE
from protocol.probes import Finding
from supervisor.cli.checkup.facts import Facts, Live
from supervisor.cli.checkup.targets import targets
from supervisor.cli.isolation import Judged, Worker, judge, rows, summary
from supervisor.config.version import VERSION
from tests.unit.supervisor.cli.test_checkup import facts

CONFIG = '{agents: {list: [{id: "a", workspace: "~/mine"}, {id: "b"}]}}'


def process(name: str, pid: int, agent: str = "", state: str = "stable") -> c.ProcessStatus:
    return c.ProcessStatus(name=name, kind="worker" if agent else "router", state=state, pid=pid, agent=agent)


def status(*processes: c.ProcessStatus) -> c.GatewayStatus:
    return c.GatewayStatus(
        version=VERSION, pid=os.getpid(), started_at=0.0, config="", config_problem="", host="127.0.0.1", port=18789,
        processes=processes,
    )  # fmt: skip


def machine(tmp_path: Path) -> Facts:
    """A gateway with two agents and what they leave on the disk."""
    running = status(process("router", 11), process("worker a", 12, "a"), process("worker b", 13, "b"))
    found = facts(tmp_path, CONFIG, live=Live(status=running))
    for agent in ("a", "b"):
        for folder in (found.workspace(agent), found.sessions(agent), found.agent_dir(agent)):
            folder.mkdir(parents=True)
        (found.sessions(agent) / "sessions.json").write_text("{}")
        (found.agent_dir(agent) / "auth-profiles.json").write_text("{}")
    (found.workspace("b") / "SOUL.md").write_text("")
    (found.sessions("b").parent / "sessions-agent-b-1").mkdir()
    found.paths.credentials.mkdir()
    for link in ("a", "a.1234", "b", "b.5678"):
        (found.paths.run / "w" / link).mkdir(parents=True)
        (found.paths.run / "w" / link / "link").write_text("")
    return found


def test_a_worker_aims_at_everything_that_is_not_its_own(tmp_path: Path) -> None:
    """Files, folders, sockets and processes of the gateway and of the other agents, and its own keys."""
    found = machine(tmp_path)
    aimed: dict[str, set[str]] = {}
    for one in targets(found, "a"):
        aimed.setdefault(one.what, set()).add(one.on.replace(str(found.paths.state), "S"))
    assert aimed.keys() >= {name for name, attack in ATTACKS.items() if not attack.wants}
    assert {"S/agents/b/sessions", "S/agents/b/sessions-agent-b-1", "S/agents/b/agent", "S/agents/a/agent"} <= aimed[
        "list_dir"
    ]
    assert {"S", "S/workspace-b", "S/credentials", "S/run"} <= aimed["write_file"]
    assert {"S/openclaw.json", "S/agents/a/agent/auth-profiles.json", "S/workspace-b/SOUL.md"} <= aimed["read_file"]
    assert aimed["link_of_other"] == {"S/run/w/b/link", "S/run/w/b.5678/link"}
    assert aimed["signal_pid"] == aimed["read_proc_mem"] == {"11", "13"}
    assert not {"S", "S/run"} & aimed["list_dir"], "its own things show there"
    assert "loopback:18789" in aimed["connect_tcp"]
    own = {str(found.workspace("a")), str(found.sessions("a"))}
    assert not own & {one.on for one in targets(found, "a")}


def findings(*held: bool) -> tuple[Finding, ...]:
    names = ("read_file", "connect_tcp", "signal_pid")
    return tuple(Finding(what=name, on="x", held=one, detail="d") for name, one in zip(names, held, strict=True))


def verdicts(place: str, landlock: int, found: tuple[Finding, ...]) -> list[str]:
    said = c.WorkerProbed(agent="a", place=place, generation=1, findings=found)
    (worker,) = judge([said], status(process("worker a", os.getpid(), "a")), landlock)
    return [one.verdict for one in worker.judged]


def test_a_wall_is_broken_where_it_was_promised_and_open_elsewhere() -> None:
    """The same answers mean other things on the host and in a container, and on an older kernel."""
    everything_open = findings(False, False, False)
    assert verdicts("host", SCOPED_SINCE, everything_open) == ["broken", "open", "broken"]
    assert verdicts("host", 1, everything_open) == ["broken", "open", "open"]
    assert verdicts("agent-a-1", 0, everything_open) == ["broken", "broken", "broken"]
    assert verdicts("agent-a-1", 0, findings(True, True, True)) == ["held", "held", "held"]


def test_what_did_not_hold_is_told_one_by_one() -> None:
    """What held is one line for each attack."""
    held = [Judged(what="read_file", on=str(n), verdict="held", detail="EACCES") for n in range(3)]
    broken = Judged(what="read_file", on="/x", verdict="broken", detail="read 5 bytes", reason="not its own")
    worker = Worker(agent="a", place="host", kind="uid", judged=(*held, broken))
    assert list(rows(worker)) == [
        ("read_file: cannot read", "3 targets", "held", ""),
        ("read_file: cannot read", "/x", "NOT HELD", "read 5 bytes; not its own"),
    ]
    silent = Worker(agent="b", place="host", kind="uid", problem="it is quarantined")
    assert summary([worker, silent]) == (
        "4 attacks by 1 workers: 3 held, 1 NOT HELD, 0 expected-open; 1 workers could not be asked"
    )
