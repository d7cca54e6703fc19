"""Which walls and limits follow from what a machine allows."""

from __future__ import annotations

import pytest

from protocol.config import AgentLimits
from protocol.slices import Bind, Limits, Walls, WorkerSlice
from supervisor.config.walls import Ground, Owner, limits_for, walls_for, weaknesses

STATE = "/home/o/.openclaw"
TOLD = WorkerSlice(
    agent="a", name="a", workspace=f"{STATE}/workspace-a", sessions=f"{STATE}/agents/a/sessions",
    link_socket=f"{STATE}/run/w/a/link", proxy_socket=f"{STATE}/run/proxy/proxy.sock", proxy_token="t",
    router_public="p", worker_public="p", worker_secret="s",
    forbidden_paths=(STATE, "/srv/b", "/etc/oc.json"), allowed_paths=(f"{STATE}/skills",),
)  # fmt: skip
CONFIG = (f"{STATE}/openclaw.json", "/etc/oc.json", "/etc/oc.json.bak")
OURS = Owner()
OWN = Owner(2_000_000_000, 2_000_000_000, True)
PEOPLE = Owner(1000, 1000, False)
RUNTIME = ("/opt/oc", f"{STATE}/venv")


def walls(owner: Owner = OURS, told: WorkerSlice = TOLD, **ground: object) -> Walls:
    return walls_for(told, Ground(runtime=RUNTIME, landlock=7, **ground), owner, STATE, CONFIG)  # type: ignore[arg-type]


@pytest.mark.parametrize("mounts", ["root", "user"])
def test_with_mounts_everything_of_the_gateway_and_of_others_is_covered(mounts: str) -> None:
    found = walls(OWN if mounts == "root" else OURS, mounts=mounts)
    assert found.mounts == mounts
    assert {STATE, "/srv/b"} <= set(found.covers)
    assert set(found.denied) == {"/etc/oc.json", "/etc/oc.json.bak"}, "files outside of the state folder, by Landlock"
    assert {bind.path for bind in found.binds if bind.writable} == {TOLD.workspace, TOLD.sessions}
    assert Bind(path=f"{STATE}/run/w/a") in found.binds and Bind(path="/opt/oc") in found.binds


@pytest.mark.parametrize("owner", [OURS, OWN])
def test_without_mounts_landlock_opens_only_what_is_its_own(owner: Owner) -> None:
    found = walls(owner)
    assert (found.mounts, found.covers, found.binds) == ("", (), ())
    assert {STATE, "/srv/b", "/etc/oc.json", "/etc/oc.json.bak"} <= set(found.denied)
    assert found.writable == (TOLD.workspace, TOLD.sessions)
    assert set(found.readable) == {f"{STATE}/skills", f"{STATE}/run/w/a", f"{STATE}/run/proxy", f"{STATE}/venv"}


@pytest.mark.parametrize("owner", [OURS, OWN, PEOPLE])
@pytest.mark.parametrize("mounts", ["", "root", "user"])
def test_nothing_but_its_own_is_ever_writable(owner: Owner, mounts: str) -> None:
    found = walls(owner, mounts=mounts)
    writable = {*found.writable, *(bind.path for bind in found.binds if bind.writable)}
    assert writable == {TOLD.workspace, TOLD.sessions}
    assert found.needed == (TOLD.workspace, TOLD.sessions, f"{STATE}/run/w/a", f"{STATE}/run/proxy")


@pytest.mark.parametrize("mounts", ["", "root"])
def test_sockets_that_start_programs_outside_of_the_walls_are_closed(mounts: str) -> None:
    for owner in (OURS, OWN, PEOPLE):
        found = walls(owner, mounts=mounts, user=500)
        assert "/run/docker.sock" in {*found.covers, *found.denied}
    assert "/run/user/1000" in {*(closed := walls(PEOPLE, mounts=mounts)).covers, *closed.denied}
    closed = walls(mounts=mounts, user=500)
    assert {"/run/user/500", "/sys/fs/cgroup"} <= {*closed.covers, *closed.denied}


def test_a_shared_workspace_is_writable_too() -> None:
    told = WorkerSlice(
        **{name: getattr(TOLD, name) for name in TOLD.__struct_fields__} | {"allowed_paths": ("/srv/b",)}
    )
    assert "/srv/b" in walls(told=told).writable
    assert Bind(path="/srv/b", writable=True) in walls(told=told, mounts="root").binds


def test_processes_are_counted_by_uid_only_where_the_uid_is_its_own() -> None:
    assert walls(OWN).max_processes == 512
    assert walls(PEOPLE).max_processes == walls().max_processes == 0
    assert (walls(OWN).uid, walls(PEOPLE).gid, walls().uid) == (2_000_000_000, 1000, 0)


# --- limits ------------------------------------------------------------------------------------------------------

GROUND = Ground(memory=8 << 30, cpus=4)


def test_an_agent_gets_half_of_the_memory_and_some_processes_unless_told_otherwise() -> None:
    assert limits_for(GROUND, None, None) == Limits(memory=4 << 30, pids=512, cpus=2.0, shares=256)


def test_its_own_limits_win_over_the_defaults_one_by_one() -> None:
    own, shared = AgentLimits(memory="1.5g", disk=0), AgentLimits(memory="512m", pids=7, cpus=0.5, disk="10g")
    assert limits_for(GROUND, own, shared) == Limits(memory=3 << 29, pids=7, cpus=0.5, shares=256, disk=0)
    assert limits_for(GROUND, None, shared).disk == 10 << 30


@pytest.mark.parametrize(("text", "size"), [("1k", 1024), ("512m", 512 << 20), ("2g", 2 << 30), ("77", 77), (77, 77)])
def test_sizes_are_written_as_docker_writes_them(text: int | str, size: int) -> None:
    assert limits_for(GROUND, AgentLimits(memory=text), None).memory == size


def test_zero_is_no_limit() -> None:
    assert limits_for(GROUND, AgentLimits(memory=0, pids=0, cpus=0), AgentLimits(memory="1g", pids=9)) == Limits(
        shares=256
    )


# --- what is missing ---------------------------------------------------------------------------------------------


def test_what_a_machine_lacks_is_told() -> None:
    assert weaknesses(Ground(uids=True, mounts="root", landlock=7), True) == ()
    assert weaknesses(Ground(mounts="user", landlock=7), False) == ()
    bare = weaknesses(Ground(), True)
    assert len(bare) == 4
    assert bare[-1] == "agents on the host can read each other's files; sandbox.mode=all separates them"
