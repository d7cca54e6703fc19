"""Real containers of a real Docker: their walls, their lives, what setupCommand leaves, what a hostile worker gets."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest

from supervisor.sandbox.box import BoxWorker
from supervisor.sandbox.containers import Keep
from supervisor.spawners.base import SpawnError
from tests.support.containers import UID, Yard, a_yard, client, decode_facts

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    async with a_yard() as yard:
        yield yard


async def end(handle: BoxWorker, within: float = 15.0) -> tuple[int, int, bool]:
    how = await asyncio.wait_for(handle.wait(), within)
    return how.code, how.signal, how.oom


# --- walls -------------------------------------------------------------------------------------------------------


async def test_a_worker_sees_the_strict_profile_from_inside_and_cannot_reach_its_launcher(yard: Yard) -> None:
    await yard.spawn(yard.spec("tells"), until="")
    facts = decode_facts(await yard.read_log("}}\n"))
    assert facts["uids"] == [str(UID)] * 4
    assert facts["caps"] == ["0" * 16]
    assert (facts["no_new_privs"], facts["seccomp"], facts["interfaces"]) == ("1", "2", ["lo"])
    launcher = facts["launcher"]
    assert launcher.pop("connect") == "FileNotFoundError"
    assert launcher.pop("write-root") in {"OSError", "PermissionError"}
    assert set(launcher.values()) == {"PermissionError"}


async def test_docker_was_told_every_limit(yard: Yard) -> None:
    await yard.spawn(yard.spec("obeys", cpus=0.5, pidsLimit=64, memory="200m"))
    found = yard.inspect()
    host = found["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Privileged"]) == ("none", True, False)
    assert (host["CapDrop"], host["CapAdd"] or []) == (["ALL"], [])
    assert (host["PidsLimit"], host["Memory"], host["MemorySwap"]) == (64, 200 << 20, 200 << 20)
    assert (host["NanoCpus"], host["CpuShares"], host["Init"]) == (500_000_000, 256, True)
    assert any(option.startswith("seccomp=") for option in host["SecurityOpt"])
    assert found["Config"]["User"] == f"{UID}:{UID}"
    assert {mount["Destination"]: mount["RW"] for mount in found["Mounts"]} == {
        "/workspace": True,
        "/openclaw/sessions": True,
        "/openclaw/link": False,
        "/openclaw/proxy": False,
        "/openclaw/boot": False,
    }


async def test_in_a_shared_container_every_agent_has_its_own_user_and_no_capability(yard: Yard) -> None:
    spec = yard.spec("tells", uid=0, agents=("a", "b"))
    for uid in (UID, UID + 1):
        await yard.spawn(spec, uid=uid, until="")
        facts = decode_facts(await yard.read_log("}}\n"))
        assert facts["uids"] == [str(uid)] * 4
        assert (facts["groups"], facts["caps"]) == ([], ["0" * 16])
        assert facts["launcher"]["setuid"] == facts["launcher"]["memory"] == "PermissionError"
    assert len(yard.all()) == 1


async def test_a_root_launcher_makes_no_root_worker(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("obeys", uid=0), uid=0, until="must not be root")
    assert (await end(handle))[0] == 1


async def test_a_worker_kills_nobody_of_another_user(yard: Yard) -> None:
    good = await yard.spawn(yard.spec("obeys", uid=0, agents=("a", "b")), uid=UID)
    bad = await yard.spawner.spawn(yard.order(yard.spec("obeys", uid=0, agents=("a", "b")), uid=UID + 1))
    bad.kill()
    await bad.wait()
    assert "running" in repr(good)


# --- ends --------------------------------------------------------------------------------------------------------


async def test_what_a_worker_leaves_behind_ends_with_it(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("leaves-a-daemon"), until="left")
    assert yard.top().count("sleep 4242") == 2
    handle.signal(signal.SIGTERM)
    assert (await end(handle))[0] == 0
    assert "sleep" not in yard.top()


async def test_leftovers_of_one_agent_end_while_another_lives_in_the_same_container(yard: Yard) -> None:
    spec = yard.spec("leaves-a-daemon", uid=0, agents=("a", "b"))
    first, second = [await yard.spawn(spec, uid=uid, until="left") for uid in (UID, UID + 1)]
    assert yard.top().count("sleep 4242") == 4
    first.signal(signal.SIGTERM)
    assert (await end(first))[0] == 0
    assert yard.top().count("sleep 4242") == 2
    assert "running" in repr(second)


async def test_a_worker_that_kills_all_it_can_ends_only_its_own_container(yard: Yard) -> None:
    good = await yard.spawn(yard.spec("obeys", name="good"))
    bad = await yard.spawn(yard.spec("kills-everybody", name="bad"))
    assert (await end(bad))[1] == signal.SIGKILL
    assert "running" in repr(good)
    again = await yard.spawn(yard.spec("kills-everybody", name="bad"))
    assert (await end(again))[1] == signal.SIGKILL


async def test_a_fork_bomb_stops_at_the_limit_and_is_gone_after_a_kill(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("forks-without-end", pidsLimit=50), until="bombs")
    handle.kill()
    assert (await end(handle))[1] == signal.SIGKILL
    assert await yard.spawn(yard.spec("forks-without-end", pidsLimit=50), until="bombs")


async def test_a_worker_that_fills_memory_is_told_as_out_of_memory(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("fills-memory", memory="96m"))
    assert await end(handle) == (0, signal.SIGKILL, True)


async def test_a_first_process_that_does_not_obey_a_kill_loses_its_container(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("disobeys"))
    handle.kill()
    assert (await end(handle))[1] == signal.SIGKILL
    assert not yard.inspect()["State"]["Running"]


async def test_a_first_process_that_breaks_the_protocol_loses_its_container(yard: Yard) -> None:
    with pytest.raises(SpawnError, match="ended while it forked"):
        await yard.spawn(yard.spec("babbles"))
    assert not yard.inspect()["State"]["Running"]
    assert "ZygoteReady that nobody waits for" in yard.said()


async def test_a_container_killed_from_outside_ends_its_workers_and_comes_back(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("obeys"))
    client().kill(yard.inspect()["Id"])
    assert (await end(handle))[1] == signal.SIGKILL
    assert (await yard.spawn(yard.spec("obeys"))).pid_text == handle.pid_text


# --- lives -------------------------------------------------------------------------------------------------------


async def test_a_container_is_used_again_over_workers_and_over_gateways(yard: Yard) -> None:
    ids = set()
    for _ in range(3):
        for _ in range(2):
            handle = await yard.spawn(yard.spec("exits"))
            await handle.wait()
            ids.add(handle.pid_text)
        await yard.spawner.close()
        assert not yard.inspect()["State"]["Running"]
        yard.gateway()
    assert len(ids) == 1


async def test_changed_settings_make_a_new_container_while_the_old_worker_finishes_in_the_old_one(yard: Yard) -> None:
    old = await yard.spawn(yard.spec("obeys"))
    new = await yard.spawn(yard.spec("obeys", memory="200m"))
    assert old.pid_text != new.pid_text
    assert len(yard.all()) == 2
    old.signal(signal.SIGTERM)
    assert (await end(old))[0] == 0
    while len(yard.all()) > 1:
        await asyncio.sleep(0.02)
    assert yard.inspect()["HostConfig"]["Memory"] == 200 << 20
    assert "running" in repr(new)


async def test_changed_settings_after_a_restart_make_a_new_container(yard: Yard) -> None:
    old = await yard.spawn(yard.spec("obeys"))
    await yard.spawner.close()
    yard.gateway()
    new = await yard.spawn(yard.spec("obeys", pidsLimit=99))
    assert old.pid_text != new.pid_text
    assert len(yard.all()) == 1


async def test_many_workers_at_once_share_one_container(yard: Yard) -> None:
    made = await asyncio.gather(*(yard.spawn(yard.spec("obeys"), until="") for _ in range(8)))
    assert len({handle.pid_text for handle in made}) == 1


async def test_a_container_without_workers_is_stopped_and_kept() -> None:
    async with a_yard(linger=0.2) as yard:
        handle = await yard.spawn(yard.spec("exits"))
        await handle.wait()
        while yard.inspect()["State"]["Running"]:
            await asyncio.sleep(0.02)
        assert (await yard.spawn(yard.spec("exits"))).pid_text == handle.pid_text


async def test_a_killed_gateway_leaves_nothing_running_and_the_next_one_reaps(yard: Yard) -> None:
    spec, gone = yard.spec("obeys", name="kept"), yard.spec("obeys", name="gone")
    for one in (spec, gone):
        await yard.spawn(one)
    # What a SIGKILL does: the connections close, nobody says anything to Docker.
    for box in yard.spawner.containers._boxes.values():
        box._pipe._sock.shutdown(2)
    yard.gateway()
    foreign = client().create_container(
        yard.spec().image, name=f"{yard.owner}-foreign", labels={"openclaw.sandbox": "1"}
    )
    try:
        await yard.spawner.reap({spec.name}, [])
        assert [row["Names"] for row in yard.all()] == [[f"/{spec.name}"]]
        assert not yard.inspect("kept")["State"]["Running"]
        assert yard.inspect("foreign")["State"]["Status"] == "created"
    finally:
        client().remove_container(foreign["Id"], force=True)


async def test_a_container_that_nobody_used_for_long_is_pruned_and_a_busy_one_is_not(yard: Yard) -> None:
    idle, busy = yard.spec("exits", name="idle"), yard.spec("obeys", name="busy")
    for one in (idle, busy):
        handle = await yard.spawn(one)
    await yard.spawner.containers.remove([])
    registry = yard.spawner.containers._registry
    for entry in registry.entries().values():
        registry.put(msgspec.structs.replace(entry, last_used_at_ms=entry.last_used_at_ms - 25 * 3600_000))
    while yard.spawner.containers._boxes[idle.name].busy:
        await asyncio.sleep(0.01)
    registry.put(msgspec.structs.replace(registry.entries()[idle.name], last_used_at_ms=1))
    assert await yard.spawner.prune({busy.name: Keep()}, Keep(24, 7)) == [idle.name]
    assert [row["Names"] for row in yard.all()] == [[f"/{busy.name}"]]
    assert "running" in repr(handle)


async def test_a_removed_container_ends_its_workers(yard: Yard) -> None:
    handle = await yard.spawn(yard.spec("obeys"))
    assert await yard.spawner.remove([f"{yard.owner}-x", "nobody"]) == [f"{yard.owner}-x"]
    assert (await end(handle))[1] == signal.SIGKILL
    assert yard.all() == []


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "settings", "words"),
    [
        ("ends-at-once", {}, r"ended at once with code 5: something is wrong here"),
        ("old-protocol", {}, r"it speaks protocol 1, this gateway speaks \d+; hint: docker build -t .* FROM"),
        ("obeys", {"image": "nosuch:1"}, r"there is no image nosuch:1; hint: docker build -t nosuch:1"),
        (
            "obeys",
            {"image": "base:test"},
            r"the image base:test has no /opt/openclaw/bin/python3; hint: docker build",
        ),
        ("obeys", {"runtime": "nosuch"}, r'Docker knows no runtime "nosuch"; hint: docker info'),
        ("obeys", {"network": "nosuch"}, r'Docker has no network "nosuch"; hint: docker network ls'),
        ("obeys", {"network": "host"}, r'network mode "host" is blocked'),
        ("obeys", {"binds": ["/nonexist:/x"]}, r"the folder /nonexist does not exist"),
    ],
)
async def test_a_container_that_cannot_be_is_an_error_with_the_way_out_and_leaves_nothing(
    yard: Yard, behaviour: str, settings: dict[str, str], words: str
) -> None:
    if settings.get("image") == "bare":
        settings = settings | {"image": yard.base_image}
    with pytest.raises(SpawnError, match=words):
        await yard.spawn(yard.spec(behaviour, **settings))
    assert yard.all() == []


async def test_a_container_of_the_same_name_that_is_not_ours_is_left_alone(yard: Yard) -> None:
    spec = yard.spec("obeys")
    foreign = client().create_container(spec.image, name=spec.name)
    try:
        with pytest.raises(SpawnError, match="that is not this gateway's; hint: docker rm -f"):
            await yard.spawn(spec)
        assert yard.inspect()["Id"] == foreign["Id"]
    finally:
        client().remove_container(foreign["Id"], force=True)
