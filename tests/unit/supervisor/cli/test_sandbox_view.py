"""`sandbox explain` believes what runs, not what is written."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.config import Config
from protocol.control import Namespace, PlaceFacts
from protocol.paths import Paths
from supervisor.cli.sandbox_view import View, as_json, lines, proof, proven, view, with_live

PATHS = Paths.from_environ({"HOME": "/home/tester"})
KINDS = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")


def config(**sandbox: Any) -> Config:
    return msgspec.convert(
        {
            "agents": {"list": [{"id": "family", "sandbox": sandbox, "tools": {"deny": ["exec"]}}]},
            "tools": {"elevated": {"allowFrom": {"telegram": ["7"]}}},
        },
        Config,
    )


def seen(live: PlaceFacts | None, key: str = "", **sandbox: Any) -> View:
    return with_live(view(config(**sandbox), PATHS, "family", key), live, "no gateway answers")


def facts(*own: str, **more: Any) -> PlaceFacts:
    spaces = tuple(Namespace(kind=kind, id=f"{kind}:[1]", own=kind in own) for kind in KINDS)
    known = {"state": "ready", "pid": 77, "uid": 2_000_000_001, "container_name": "c", "container": "abc" * 10}
    given = {**known, "container_status": "running", "config_match": True, "namespaces": spaces, **more}
    return PlaceFacts(agent="family", place="p", **given)


def test_a_container_that_runs_is_proved_by_its_namespaces() -> None:
    """Its id, its process and what it does not share with the supervisor."""
    one = seen(facts("mnt", "pid", "net", "ipc", "uts"), mode="all")
    assert proven(one) is True
    assert proof(one) == [
        "container: c abcabcabcabc (running)",
        "process: pid 77, uid 2000000001",
        "namespaces of its own: mnt, pid, net, ipc, uts; shared with the supervisor: user, cgroup",
        "worker: ready",
    ]


def test_a_config_that_says_sandboxed_is_no_container() -> None:
    """The sentence nobody should have to guess."""
    missing = facts(container="", container_status="", namespaces=(), pid=0, state="backoff", reason="image missing")
    one = seen(missing, mode="all")
    assert proven(one) is None
    assert proof(one) == [
        "NOT RUNNING: the config says sandboxed, and no container c exists",
        "worker: backoff (image missing)",
    ]
    (text,) = proof(seen(facts(problem="Docker does not answer"), mode="all"))
    assert text == "NOT RUNNING: Docker does not answer"
    assert proof(seen(None, mode="all"))[0].startswith("not known: no gateway answers")


def test_a_process_that_shares_the_hosts_namespaces_is_not_isolated() -> None:
    """Whatever the configuration and Docker say."""
    one = seen(facts("mnt", "pid"), mode="all")
    assert proven(one) is False
    assert "  NOT ISOLATED: " in "\n".join(lines(one, config(mode="all")))
    assert proven(seen(facts(), mode="off")) is True


def test_it_says_which_rule_decides() -> None:
    """For each mode."""
    assert "runtime: direct (mode off: every session runs on the host)" in text_of(mode="off")
    main = "mode non-main: agent:family:main is the main session (agent:family:main)"
    assert f"runtime: direct ({main})" in text_of(mode="non-main")
    other = "agent:family:telegram:group:-5"
    assert f"runtime: sandboxed (mode non-main: {other} is not the main session" in text_of(other, mode="non-main")
    assert "taken away by agents.list[0].tools: exec" in text_of(mode="off")


def text_of(key: str = "", **sandbox: Any) -> str:
    return "\n".join(lines(seen(None, key, **sandbox), config(**sandbox)))


def test_elevated_names_the_gates_that_are_shut() -> None:
    """By their keys, for the channel of the session."""
    made = config(mode="all")
    found = as_json(seen(None, "agent:family:telegram:group:-5", mode="all"), made)["elevated"]
    assert found == {
        "enabled": True,
        "allowedByConfig": True,
        "alwaysAllowedByConfig": False,
        "allowFrom": {"telegram": ["7"]},
        "failures": [],
    }
    found = as_json(seen(None, "agent:family:irc:group:x", mode="all"), made)
    assert found["elevated"]["failures"] == [{"gate": "allowFrom", "key": "tools.elevated.allowFrom.irc"}]
    assert "openclaw config set 'agents.list[0].sandbox.mode' off" in found["fixItCommands"]
