"""`sandbox.docker` is an allowlist: what is unknown, malformed or opens the container is refused with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.paths import Paths
from supervisor.config import check

PATHS = Paths.from_environ({"HOME": "/home/tester"})


def told(docker: dict[str, Any]) -> list[str]:
    value = {"agents": {"defaults": {"sandbox": {"docker": docker}}}}
    return [
        f"{one.path}: {one.message}" + (f" ({one.hint})" if one.hint else "") for one in check.problems(value, PATHS)
    ]


@pytest.mark.parametrize(
    ("docker", "expected"),
    [
        ({"netwrk": "none"}, 'Unrecognized key: "netwrk" (did you mean "network"?)'),
        ({"privileged": True}, 'Sandbox security: "privileged" is blocked: a container keeps all its walls'),
        ({"capAdd": ["SYS_ADMIN"]}, 'Sandbox security: "capAdd" is blocked: capabilities are never added'),
        ({"devices": ["/dev/kvm"]}, 'Sandbox security: "devices" is blocked: devices of the host are never given'),
        ({"pid": "host"}, 'Sandbox security: "pid" is blocked: namespaces of others are never joined'),
        ({"ipc": "host"}, 'Sandbox security: "ipc" is blocked: namespaces of others are never joined'),
        ({"securityOpt": []}, 'Sandbox security: "securityOpt" is blocked: use seccompProfile and apparmorProfile'),
        ({"volumes": []}, 'Sandbox security: "volumes" is blocked: use binds'),
    ],
)
def test_a_key_outside_of_the_allowlist_is_refused(docker: dict[str, Any], expected: str) -> None:
    """A slip of the pen is told what was meant, a word that takes a wall away is told why."""
    assert told(docker) == [f"agents.defaults.sandbox.docker: {expected}"]


@pytest.mark.parametrize(
    ("docker", "at", "message"),
    [
        ({"network": "HOST"}, "network", 'network mode "HOST" is blocked. Use "bridge" or "none" instead.'),
        (
            {"network": "container:x"},
            "network",
            'network mode "container:x" is blocked. Use "bridge" or "none" instead.',
        ),
        ({"seccompProfile": "Unconfined"}, "seccompProfile", 'seccomp profile "Unconfined" is blocked.'),
        (
            {"seccompProfile": "profile.json"},
            "seccompProfile",
            'must be the absolute path of a profile: "profile.json"',
        ),
        ({"apparmorProfile": "unconfined"}, "apparmorProfile", 'apparmor profile "unconfined" is blocked.'),
        ({"user": "0"}, "user", "user root is blocked."),
        ({"user": "root:1000"}, "user", "user root is blocked."),
        ({"user": "1000:00"}, "user", "user root is blocked."),
        ({"user": "a b"}, "user", 'not a user: "a b"'),
        ({"memory": "lots"}, "memory", 'not a size: "lots"'),
        ({"memory": "4m"}, "memory", "Too small: a worker needs 32m at least"),
        ({"memory": "1g", "memorySwap": "512m"}, "memorySwap", "Too small: memory and swap together"),
        ({"cpus": 0}, "cpus", "Invalid input: expected a number above 0"),
        ({"cpus": "2"}, "cpus", "Invalid input: expected number, received string"),
        ({"pidsLimit": 0}, "pidsLimit", "Too small: expected number to be >0"),
        ({"pidsLimit": -1}, "pidsLimit", "Too small: expected number to be >0"),
        ({"ulimits": {"nofiles": 10}}, "ulimits", 'unknown limit "nofiles"'),
        ({"ulimits": {"nofile": "20:10"}}, "ulimits.nofile", "the soft limit is above the hard one"),
        ({"ulimits": {"nofile": "many"}}, "ulimits.nofile", 'not a limit: "many"'),
        (
            {"ulimits": {"nofile": {"soft": 1}}},
            "ulimits.nofile.hard",
            "Invalid input: expected number, received undefined",
        ),
        ({"tmpfs": ["/tmp", "/proc/x"]}, "tmpfs.1", 'tmpfs "/proc/x" targets reserved container path "/proc".'),
        ({"tmpfs": ["/"]}, "tmpfs.0", 'tmpfs "/" targets reserved container path'),
        ({"tmpfs": ["/tmp:size=lots"]}, "tmpfs.0", 'unknown option of a tmpfs: "size=lots"'),
        ({"dns": ["1.1.1.1", "one.one"]}, "dns.1", 'not an IP address: "one.one"'),
        ({"extraHosts": ["api"]}, "extraHosts.0", 'must be host:address: "api"'),
        ({"image": "My Image"}, "image", 'not the name of an image: "My Image"'),
        ({"image": "--privileged"}, "image", 'not the name of an image: "--privileged"'),
        ({"containerPrefix": "a/b"}, "containerPrefix", "not fit for names of containers"),
        ({"containerPrefix": "p" * 23}, "containerPrefix", "Too big: a name of a container has room for 22"),
        ({"workdir": "work"}, "workdir", 'must be an absolute path in the container: "work"'),
        ({"env": {"A-B": "x"}}, "env", 'not a name of a variable: "A-B"'),
        ({"setupCommand": ["true", 1]}, "setupCommand.1", "Invalid input: expected string, received number"),
        ({"runtime": "/bin/sh"}, "runtime", 'not the name of a runtime: "/bin/sh"'),
        ({"capDrop": ["NET RAW"]}, "capDrop.0", 'not a capability: "NET RAW"'),
    ],
)
def test_a_value_that_is_malformed_or_opens_the_container_is_refused(
    docker: dict[str, Any], at: str, message: str
) -> None:
    """The path names the value, the message what would do."""
    (found,) = told(docker)
    assert found.startswith(f"agents.defaults.sandbox.docker.{at}: ")
    assert message in found


def test_what_the_documents_show_is_accepted() -> None:
    """Every key of SPEC 2.2, and the OCI runtime."""
    docker = {
        "image": "registry.example:5000/team/box:1.2@sha256:" + "a" * 64,
        "containerPrefix": "openclaw-sbx-",
        "workdir": "/workspace",
        "readOnlyRoot": True,
        "tmpfs": ["/tmp:size=64m,mode=1777", "/var/tmp", "/run"],
        "network": "bridge",
        "user": "1000:1000",
        "capDrop": ["ALL"],
        "env": {"LANG": "C.UTF-8"},
        "setupCommand": "apt-get update && apt-get install -y git curl",
        "pidsLimit": 256,
        "memory": "1g",
        "memorySwap": -1,
        "cpus": 1.5,
        "gpus": "all",
        "ulimits": {"nofile": {"soft": 1024, "hard": 2048}, "nproc": 256, "core": "0:0"},
        "seccompProfile": "/etc/openclaw/seccomp.json",
        "apparmorProfile": "openclaw-sandbox",
        "dns": ["1.1.1.1", "2606:4700::1111"],
        "extraHosts": ["internal:10.0.0.5", "six:::1"],
        "binds": ["/srv/project:/project:ro"],
        "runtime": "runsc",
    }
    assert told(docker) == []


@pytest.mark.parametrize(
    ("docker", "switch"),
    [
        ({"network": "container:x"}, "dangerouslyAllowContainerNamespaceJoin"),
        ({"user": "0:0"}, "dangerouslyAllowRootUser"),
        ({"binds": ["/srv/x:/workspace/x"]}, "dangerouslyAllowReservedContainerTargets"),
    ],
)
def test_a_dangerous_switch_opens_its_own_door_only(docker: dict[str, Any], switch: str) -> None:
    """Said beside the value, by its full name."""
    assert len(told(docker)) == 1
    assert told({**docker, switch: True}) == []
    assert len(told({**docker, switch: False})) == 1


@pytest.mark.parametrize(
    ("bind", "blocked"),
    [
        ("/var/run/docker.sock:/sock", "targets blocked path"),
        ("/srv/docker.sock:/sock", 'targets blocked path "/srv/docker.sock"'),
        ("/:/host", "covers blocked path"),
        ("/etc:/x:ro", 'targets blocked path "/etc"'),
        ("/etc/ssh/x:/x", 'targets blocked path "/etc"'),
        ("/proc:/x", 'targets blocked path "/proc"'),
        ("/sys/fs:/x", 'targets blocked path "/sys"'),
        ("/dev/kvm:/x", 'targets blocked path "/dev"'),
        ("/var:/x", "covers blocked path"),
        ("/root:/x", "covers blocked path"),
        ("~/.ssh:/x", 'targets blocked path "/home/tester/.ssh"'),
        ("~:/x", "covers blocked path"),
        ("/home:/x", "covers blocked path"),
        ("/srv/../etc:/x", 'targets blocked path "/etc"'),
        ("//etc:/x", 'targets blocked path "/etc"'),
        ("~/.openclaw:/x", 'targets blocked path "/home/tester/.openclaw"'),
        ("~/.openclaw/credentials:/x", 'targets blocked path "/home/tester/.openclaw"'),
        ("etc:/x", 'the source "etc" is not an absolute path'),
        ("/srv/x", "must be host:container or host:container:mode"),
        ("/srv/x:/x:exec", 'unknown mode "exec"'),
        ("/srv/x:/openclaw/link", 'targets reserved container path "/openclaw"'),
        ("/srv/x:/agent", 'targets reserved container path "/agent"'),
        ("/srv/x:/proc/1", 'targets reserved container path "/proc"'),
        ("/srv/x:x", "has a target that is not an absolute path"),
    ],
)
def test_a_bind_of_what_is_not_the_agents_is_refused(bind: str, blocked: str) -> None:
    """The host, its keys, its engine, the state root, and every folder that shows them."""
    (found,) = told({"binds": [bind]})
    assert found.startswith("agents.defaults.sandbox.docker.binds.0: ")
    assert blocked in found


def agents_told(home: Path, *entries: dict[str, Any]) -> list[str]:
    paths = Paths.from_environ({"HOME": str(home)})
    value = {"agents": {"list": list(entries)}}
    return [f"{one.path}: {one.message}" for one in check.problems(value, paths)]


def boxed(agent: str, *binds: str, **more: Any) -> dict[str, Any]:
    return {"id": agent, "sandbox": {"mode": "all", "docker": {"binds": list(binds)}, **more}}


def test_an_agent_may_be_given_its_own_workspace_and_no_one_elses(tmp_path: Path) -> None:
    """The deepest folder that is known decides."""
    own = "~/.openclaw/workspace-b:/mine:ro"
    assert agents_told(tmp_path, {"id": "a"}, boxed("b", own)) == []
    (found,) = agents_told(tmp_path, {"id": "a"}, boxed("b", "~/.openclaw/workspace:/x"))
    assert found.startswith("agents.list.1.sandbox.docker.binds.0: Sandbox security: bind mount")
    assert f'targets blocked path "{tmp_path}/.openclaw/workspace"' in found
    (found,) = agents_told(tmp_path, {"id": "a"}, boxed("b", "~/.openclaw/agents/b/agent:/x"))
    assert "/agents/b/agent" in found


def test_a_link_does_not_lead_around_the_rule(tmp_path: Path) -> None:
    """Also where only a part of the path exists, and also where the state root itself is behind a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / ".openclaw").symlink_to("real")
    (tmp_path / "innocent").symlink_to("/etc")
    (tmp_path / "around").symlink_to("real")
    assert 'targets blocked path "/etc"' in agents_told(tmp_path, boxed("a", f"{tmp_path}/innocent/ssh/new:/x"))[0]
    assert "targets blocked path" in agents_told(tmp_path, boxed("a", f"{tmp_path}/around/credentials:/x"))[0]
    assert "targets blocked path" in agents_told(tmp_path, boxed("a", f"{tmp_path}/real/credentials:/x"))[0]


def test_an_agent_cannot_make_the_configuration_invalid_by_a_link(tmp_path: Path) -> None:
    """What it puts into its own workspace is judged when a container is made, and keeps nobody else from starting."""
    workspace = tmp_path / ".openclaw" / "workspace-b"
    workspace.mkdir(parents=True)
    (workspace / "data").symlink_to("/etc")
    assert agents_told(tmp_path, {"id": "a"}, boxed("b", "~/.openclaw/workspace-b/data:/data")) == []
    assert len(agents_told(tmp_path, {"id": "a"}, boxed("b", "~/.openclaw/workspace-b/../credentials:/data"))) == 1


def test_a_workspace_that_shows_the_gateways_files_is_not_mounted(tmp_path: Path) -> None:
    """A mount is a mount, whichever key asks for it."""
    family = {"id": "a", "workspace": "~", "sandbox": {"mode": "all", "workspaceAccess": "rw"}}
    (found,) = agents_told(tmp_path, family)
    assert found.startswith(f'agents.list.0.workspace: Sandbox security: workspace "{tmp_path}" covers blocked path')
    assert agents_told(tmp_path, {**family, "sandbox": {"mode": "all", "workspaceAccess": "none"}}) == []
    (found,) = agents_told(tmp_path, boxed("a", workspaceRoot="/etc/boxes"))
    assert found.startswith('agents.list.0.sandbox.workspaceRoot: Sandbox security: workspaceRoot "/etc/boxes/agent-a-')
    assert agents_told(tmp_path, boxed("a", workspaceRoot="~/boxes")) == []


def test_another_backend_than_docker_is_an_error_that_names_what_there_is() -> None:
    """It would not be isolated in the way that was asked for."""
    value = {"agents": {"list": [{"id": "a", "sandbox": {"backend": "ssh", "prune": {"idleHour": 1}}}]}}
    assert [f"{one.path}: {one.message}" for one in check.problems(value, PATHS)] == [
        'agents.list.0.sandbox.backend: sandbox backend "ssh" is not supported here; the only one is "docker"',
        'agents.list.0.sandbox.prune: Unrecognized key: "idleHour"',
    ]


def test_warnings_name_what_a_shared_container_ignores_and_whom_it_keeps_apart() -> None:
    """They stop nothing."""
    value = {
        "agents": {
            "defaults": {"sandbox": {"mode": "all", "scope": "shared"}},
            "list": [
                {"id": "a", "tenant": "one", "sandbox": {"docker": {"memory": "1g", "image": "x"}}},
                {"id": "b", "tenant": "two"},
                {
                    "id": "c",
                    "sandbox": {"scope": "agent", "workspaceAccess": "ro", "docker": {"capDrop": ["NET_RAW"]}},
                    "tools": {"sandbox": {"tools": {"allow": ["read", "write"]}}},
                },
            ],
        },
    }
    assert check.problems(value, PATHS) == ()
    assert check.warnings(value) == (
        "agents.list.0.sandbox.docker: ignored because the scope is shared: image, memory (agent a)",
        "agents.list.2.sandbox.docker.capDrop: without ALL; all capabilities are dropped all the same",
        "agents.list.2.sandbox.workspaceAccess: ro, so write cannot change the agent's own workspace",
        "sandbox: scope shared spans 2 tenants (one, two); each has a container of its own",
    )
