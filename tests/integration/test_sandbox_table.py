"""The whole table mode × scope × workspaceAccess on one gateway with a real Docker: read back from `docker inspect`,
and from inside by what the agents' own commands see.

One gateway has an agent for each row. Each is asked in its main session and in a group, and looks around from there.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from protocol.sandbox import slug
from supervisor.sandbox.profile import LAUNCHER_CAPS
from tests.support.docker_engine import DockerEngine
from tests.support.founding import Stage, stage
from tests.support.sandboxes import TELL, Sandboxes, sandboxes_on, told

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="agents have users of their own where the gateway is root"),
]

MODES, SCOPES, ACCESS = ("off", "non-main", "all"), ("session", "agent", "shared"), ("none", "ro", "rw")
LIMITS = {"memory": "300m", "pidsLimit": 77, "cpus": 0.5}
#: Reads whatever of others a path leads to, and tries to write where it must not.
LOOK = (
    TELL
    + """
    for one in STATE/workspace-*/secret STATE/openclaw.json STATE/sandboxes/*/secret STATE/agents/*/agent \\
        STATE/agents/*/sessions* /workspace/secret /workspace/*/secret /agent/secret /agent/*/secret \\
        /openclaw/sessions/* /openclaw/link/*
    do { if [ -d "$one" ]; then ls "$one"; else cat "$one"; fi; } >/dev/null 2>&1 && echo "read:$one"; done
    for one in "$PWD" /workspace/* /agent /agent/* / /openclaw /openclaw/link /openclaw/proxy /openclaw/boot STATE
    do touch "$one/made" 2>/dev/null && echo "wrote:$one"; done
    ls -1d /openclaw/*
    true"""
)


class Row(NamedTuple):
    """One agent."""

    mode: str
    scope: str
    access: str

    @property
    def id(self) -> str:
        return "-".join(self)

    @property
    def group(self) -> str:
        return f"agent:{self.id}:whatsapp:group:120363@g.us"

    def box(self, session: str) -> str | None:
        """The container of a session, without the prefix; None for the host."""
        if self.mode == "off" or (self.mode == "non-main" and session != self.group):
            return None
        if self.scope == "shared":
            return "shared"
        return slug(f"agent:{self.id}" if self.scope == "agent" else session)

    @property
    def under(self) -> str:
        """Where its own things are in a container of several."""
        return f"/{self.id}" if self.scope == "shared" else ""


ROWS = tuple(Row(*row) for row in itertools.product(MODES, SCOPES, ACCESS))


class Table:
    """The gateway of all rows."""

    def __init__(self, it: Stage, boxes: Sandboxes) -> None:
        self.it, self.boxes, self.state = it, boxes, it.gateway.state

    def workspace(self, row: Row) -> Path:
        return self.state / f"workspace-{row.id}"

    async def look(self, row: Row, session: str) -> str:
        return await self.exec(row.id, session, LOOK.replace("STATE", str(self.state)))

    async def exec(self, agent: str, session: str, command: str) -> str:
        ran = await self.it.ask(
            *("agent", "--agent", agent, "--session-key", session, "--timeout", "100"),
            *("-m", f"use tool exec {json.dumps({'command': command})}"),
        )
        assert ran.code == 0, (ran, self.it.gateway.output())
        return ran.out.removeprefix("tool said: ")

    def uid(self, agent: str) -> str:
        given = json.loads((self.state / "state" / "uids.json").read_text())
        return str(given["agents"][agent])


def agent(row: Row, state: Path) -> dict[str, Any]:
    sandbox = {"mode": row.mode, "scope": row.scope, "workspaceAccess": row.access}
    return {"id": row.id, "workspace": str(state / f"workspace-{row.id}"), "sandbox": sandbox}


@pytest.fixture(scope="module")
def boxes(docker_engine: DockerEngine) -> Iterator[Sandboxes]:
    with sandboxes_on(docker_engine) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table(boxes: Sandboxes) -> AsyncIterator[Table]:
    lab = boxes.lab(**LIMITS)
    async with stage("{}", lab, environ=boxes.environ, prepare=lambda state: furnish(state, ROWS)) as it:
        yield Table(it, boxes)


def furnish(state: Path, rows: tuple[Row, ...]) -> None:
    """Each agent's workspace with a secret, and the agents."""
    for row in rows:
        (state / f"workspace-{row.id}").mkdir(mode=0o700)
        (state / f"workspace-{row.id}" / "secret").write_text(f"only {row.id} may read this")
    (state / "founding.json5").write_text(json.dumps({"agents": {"list": [agent(row, state) for row in rows]}}))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_where_a_session_is_worked_on_and_what_it_sees_there(table: Table, row: Row) -> None:
    main = f"agent:{row.id}:main"
    answers = await asyncio.gather(table.look(row, main), table.look(row, row.group))
    found = await asyncio.to_thread(table.boxes.all)
    for session, answer in zip((main, row.group), answers, strict=True):
        name = row.box(session)
        if name is None:
            sees_the_host(table, row, answer)
        else:
            sees_its_container(table, row, answer, found[name])
            is_as_strict_as_configured(table, row, found[name], "shared" if row.scope == "shared" else session)
    wanted = {row.box(session) for session in (main, row.group)} - {None}
    assert {name for name in found if row.id in name} == wanted - {"shared"}
    assert (table.workspace(row) / "made").exists() == (row.box(main) is None or row.access == "rw")


def marked(answer: str, word: str) -> set[str]:
    return {line.removeprefix(word) for line in answer.splitlines() if line.startswith(word)}


def sees_the_host(table: Table, row: Row, answer: str) -> None:
    facts = told(answer)
    assert (facts["host"], facts["uid"]) == (socket.gethostname(), table.uid(row.id))
    assert (facts["pid"], facts["net"]) == tuple(os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net"))
    assert facts["pwd"] == str(table.workspace(row))
    of_sessions = {path for path in marked(answer, "read:") if f"/agents/{row.id}/sessions" in path}
    assert marked(answer, "read:") - of_sessions == {f"{table.workspace(row)}/secret"}
    # The state folder that it sees is an empty one of its own.
    assert marked(answer, "wrote:") <= {str(table.workspace(row)), str(table.state)}
    assert not (table.state / "made").exists()


def sees_its_container(table: Table, row: Row, answer: str, box: dict[str, Any]) -> None:
    facts = told(answer)
    assert (facts["host"], facts["uid"], facts["links"]) == (box["Id"][:12], table.uid(row.id), "lo")
    for kind in ("mnt", "pid", "net"):
        assert facts[kind] not in ("", os.readlink(f"/proc/self/ns/{kind}"))
    assert facts["pwd"] == f"/workspace{row.under}"
    secret = {"none": set(), "ro": {f"/agent{row.under}/secret"}, "rw": {f"/workspace{row.under}/secret"}}
    own = {path for path in marked(answer, "read:") if path.startswith("/openclaw/")}
    assert marked(answer, "read:") - own == secret[row.access]
    assert not row.under or all(path.endswith((row.under, f"{row.under}/")) for path in own), own
    assert marked(answer, "wrote:") == {f"/workspace{row.under}"}
    assert {line for line in answer.splitlines() if line.startswith("/openclaw/")} == {
        f"/openclaw/{folder}" for folder in ("boot", "link", "proxy", "sessions")
    }


def is_as_strict_as_configured(table: Table, row: Row, box: dict[str, Any], scope_key: str) -> None:
    shared, host, labels = row.scope == "shared", box["HostConfig"], box["Config"]["Labels"]
    key = f"agent:{row.id}" if row.scope == "agent" else scope_key
    assert (labels["openclaw.sandbox"], labels["openclaw.sessionKey"]) == ("1", key)
    assert (labels["openclaw.mountFormatVersion"], len(labels["openclaw.configHash"])) == ("2", 64)
    assert labels["openclaw.createdAtMs"].isdigit()
    assert box["Config"]["User"] == ("0:0" if shared else f"{table.uid(row.id)}:{table.uid(row.id)}")
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Privileged"]) == ("none", True, False)
    assert (host["CapDrop"], host["CapAdd"] or []) == (["ALL"], list(LAUNCHER_CAPS) if shared else [])
    assert (host["Memory"], host["MemorySwap"]) == (300 << 20, 300 << 20)
    assert (host["PidsLimit"], host["NanoCpus"]) == (77, 500_000_000)
    assert "no-new-privileges" in host["SecurityOpt"]
    assert any(option.startswith("seccomp={") for option in host["SecurityOpt"])
    assert set(host["Tmpfs"]) == {"/tmp", "/var/tmp", "/run"}
    inside = tuple(one for one in ROWS if one.scope == "shared" and one.mode != "off") if shared else (row,)
    assert labels["openclaw.agents"] == ",".join(one.id for one in inside)
    wanted = [mount for one in inside for mount in mounts(table, one)]
    wanted += [("/openclaw/boot", f"{table.state}/run/c/", False), ("/openclaw/proxy", f"{table.state}/run/p", False)]
    seen = sorted((one["Destination"], one["Source"], one["RW"]) for one in box["Mounts"])
    assert [(target, rw) for target, _, rw in seen] == sorted((target, rw) for target, _, rw in wanted)
    for (target, source, _), (_, begins, _) in zip(seen, sorted(wanted), strict=True):
        assert source.startswith(begins), (target, source, begins)


def mounts(table: Table, row: Row) -> Iterator[tuple[str, str, bool]]:
    """Target, how the source begins, whether it may be written."""
    workspace = str(table.workspace(row))
    yield f"/workspace{row.under}", workspace if row.access == "rw" else f"{table.state}/sandboxes/agent-", True
    yield f"/openclaw/sessions{row.under}", f"{table.state}/agents/{row.id}/sessions", True
    yield f"/openclaw/link{row.under}", f"{table.state}/run/w/{row.id}", False
    if row.access == "ro":
        yield f"/agent{row.under}", workspace, False


SHARED = {
    "agents": {
        "list": [
            {"id": "ann", "tenant": "one", "sandbox": {"docker": {"memory": "64m", "env": {"ANN": "1"}}}},
            {"id": "ben", "tenant": "one"},
            {"id": "cat", "tenant": "two"},
        ]
    }
}
#: Files, processes and sockets of whoever else is there.
SPY = """
    me=$(id -u); echo "uid $me"; echo "host $(hostname)"; echo "env ${ANN:-none}"
    for one in /workspace/* /openclaw/sessions/* /openclaw/link/*
    do [ "$one" = "$PWD" ] || [ "${one##*/}" = "${PWD##*/}" ] || { ls "$one" && echo "got:$one"; } 2>/dev/null; done
    for one in /workspace/*/mine; do cat "$one" 2>/dev/null; done
    for one in /proc/[0-9]*
    do [ "$(stat -c %u $one)" = $me ] || { cat $one/environ >/dev/null && echo "got:$one"; } 2>/dev/null; done
    for one in /proc/[0-9]*
    do [ "$(stat -c %u $one)" = $me ] || { kill -0 ${one#/proc/} && echo "got:$one"; } 2>/dev/null; done
    true"""


async def test_agents_that_share_a_container_are_strangers_in_it_and_tenants_have_one_each(boxes: Sandboxes) -> None:
    with sandboxes_on(boxes.engine) as own:
        lab = own.lab()
        lab["agents"]["defaults"]["sandbox"] |= {"mode": "all", "scope": "shared"}
        async with stage(json.dumps(SHARED), lab, environ=own.environ) as it:
            await strangers(Table(it, own))
            valid = await it.ask("config", "validate")
            ignored = "sandbox.docker: ignored because the scope is shared: env, memory (agent ann)"
            assert valid.code == 0 and ignored in valid.out + valid.err, valid
            assert ignored in it.log()


async def strangers(table: Table) -> None:
    agents = ("ann", "ben", "cat")
    for agent in agents:
        await table.exec(agent, "", f"echo {agent} was here > mine")
    facts = {agent: await table.exec(agent, "", SPY) for agent in agents}
    for agent, answer in facts.items():
        assert marked(answer, "got:") == set()
        assert told(answer)["uid"] == table.uid(agent)
        assert f"{agent} was here" in answer and answer.count("was here") == 1
    boxes = await asyncio.to_thread(table.boxes.all)
    hosts = {box["Config"]["Labels"]["openclaw.agents"]: box["Id"][:12] for box in boxes.values()}
    assert hosts == {"ann,ben": told(facts["ann"])["host"], "cat": told(facts["cat"])["host"]}
    assert told(facts["ben"])["host"] == hosts["ann,ben"]
    assert len({told(answer)["uid"] for answer in facts.values()}) == 3
    # What one of them wished for the container is not done.
    assert {box["HostConfig"]["Memory"] for box in boxes.values()} == {1 << 30}
    assert told(facts["ann"])["env"] == "none"
