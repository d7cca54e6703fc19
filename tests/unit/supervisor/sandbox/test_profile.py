"""What Docker is told for a specification."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.errors import Permanent
from supervisor.sandbox import profile
from supervisor.sandbox.spec import ContainerSpec, Mount, digest

SPEC = ContainerSpec(
    name="openclaw-sbx-agent-family-0", scope_key="agent:family", agents=("family",), image="i", uid=7, gid=8,
    mounts=(Mount(source="/s/w", target="/workspace", read_only=False),), boot_folder="/s/boot", owner="o",
)  # fmt: skip


def made(**docker: Any) -> dict[str, Any]:
    spec = msgspec.structs.replace(SPEC, docker=docker)
    return profile.arguments(spec, "i", "{}", now_ms=1)


def host(**docker: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(**docker)["HostConfig"]
    return found


def test_where_nothing_is_set_everything_is_limited() -> None:
    found = host()
    assert (found["NetworkMode"], found["ReadonlyRootfs"], found["CapDrop"], found["CapAdd"]) == (
        "none", True, ["ALL"], [],
    )  # fmt: skip
    assert (found["PidsLimit"], found["Memory"], found["MemorySwap"], found["CpuShares"]) == (
        256,
        1 << 30,
        1 << 30,
        256,
    )
    assert found["SecurityOpt"] == ["no-new-privileges", "seccomp={}"]
    assert {"Name": "nofile", "Soft": 1024, "Hard": 1024} in found["Ulimits"]
    assert found["Tmpfs"] == dict.fromkeys(("/tmp", "/var/tmp", "/run"), "rw,nosuid,nodev,noexec,size=64m")
    assert found["LogConfig"]["Config"]["max-size"] == "64k"


def test_labels_are_those_of_the_specification() -> None:
    labels = made()["Labels"]
    assert labels["openclaw.sandbox"] == "1"
    assert labels["openclaw.sessionKey"] == "agent:family"
    assert labels["openclaw.createdAtMs"] == "1"
    assert labels["openclaw.mountFormatVersion"] == "2"
    assert (labels["openclaw.owner"], labels["openclaw.agents"]) == ("o", "family")
    assert labels["openclaw.place"].startswith("agent-family-")
    assert labels["openclaw.configHash"] == digest(SPEC)


def test_a_launcher_of_several_users_keeps_three_capabilities() -> None:
    spec = msgspec.structs.replace(SPEC, uid=0, gid=0)
    assert profile.arguments(spec, "i", "{}")["HostConfig"]["CapAdd"] == ["SETUID", "SETGID", "KILL"]


def test_the_boot_folder_is_mounted_read_only_and_once() -> None:
    mounts = {mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in host()["Mounts"]}
    assert mounts == {"/workspace": ("/s/w", False), "/openclaw/boot": ("/s/boot", True)}


@pytest.mark.parametrize(
    ("docker", "key", "value"),
    [
        ({"memory": "512m"}, "Memory", 512 << 20),
        ({"memory": 1048576}, "Memory", 1 << 20),
        ({"memory": "1g", "memorySwap": "2g"}, "MemorySwap", 2 << 30),
        ({"memorySwap": -1}, "MemorySwap", 1 << 30),
        ({"cpus": 1.5}, "NanoCpus", 1_500_000_000),
        ({"network": "bridge"}, "NetworkMode", "bridge"),
        ({"readOnlyRoot": False}, "ReadonlyRootfs", False),
        ({"tmpfs": ["/x:size=1g,exec"]}, "Tmpfs", {"/x": "size=1g,exec"}),
        ({"runtime": "runsc"}, "Runtime", "runsc"),
        ({"dns": ["9.9.9.9"]}, "Dns", ["9.9.9.9"]),
        ({"extraHosts": ["a:1.2.3.4"]}, "ExtraHosts", ["a:1.2.3.4"]),
        ({"gpus": "all"}, "DeviceRequests", [{"Capabilities": [["gpu"]], "Count": -1}]),
        ({"gpus": "device=0,1"}, "DeviceRequests", [{"Capabilities": [["gpu"]], "DeviceIDs": ["0", "1"]}]),
        ({"apparmorProfile": "mine"}, "SecurityOpt", ["no-new-privileges", "seccomp={}", "apparmor=mine"]),
        ({"capDrop": []}, "CapDrop", ["ALL"]),
    ],
)
def test_a_setting_becomes_dockers(docker: dict[str, Any], key: str, value: object) -> None:
    assert host(**docker)[key] == value


@pytest.mark.parametrize(("limit", "pair"), [({"soft": 1, "hard": 2}, (1, 2)), (5, (5, 5)), ("3:4", (3, 4))])
def test_a_ulimit_is_written_in_three_ways(limit: object, pair: tuple[int, int]) -> None:
    assert {"Name": "nproc", "Soft": pair[0], "Hard": pair[1]} in host(ulimits={"nproc": limit})["Ulimits"]


def test_a_bind_is_writable_unless_it_says_ro() -> None:
    mounts = {mount["Target"]: mount["ReadOnly"] for mount in host(binds=["/a:/b", "/c:/d:ro"])["Mounts"]}
    assert (mounts["/b"], mounts["/d"]) == (False, True)


@pytest.mark.parametrize(
    "docker",
    [
        {"network": "host"},
        {"network": "container:x"},
        {"apparmorProfile": "unconfined"},
        {"memory": "much"},
        {"binds": ["relative:/x"]},
        {"gpus": "some"},
    ],
)
def test_what_is_dangerous_or_nonsense_is_refused(docker: dict[str, Any]) -> None:
    with pytest.raises(Permanent):
        made(**docker)


def test_no_profile_is_no_container() -> None:
    with pytest.raises(Permanent, match="seccomp"):
        profile.arguments(SPEC, "i", "unconfined")


def test_the_fingerprint_changes_with_the_profile_and_not_with_the_time() -> None:
    one = profile.arguments(SPEC, "i", "{}", now_ms=1)["Labels"]
    other = profile.arguments(SPEC, "i", "{}", now_ms=2)["Labels"]
    stricter = profile.arguments(SPEC, "i", '{"x":1}', now_ms=1)["Labels"]
    assert one[profile.PROFILE_HASH] == other[profile.PROFILE_HASH] != stricter[profile.PROFILE_HASH]
