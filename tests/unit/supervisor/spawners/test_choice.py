"""A worker is made where its specification says, and nowhere else."""

from __future__ import annotations

import pytest

from supervisor.spawners.base import SpawnError, SpawnSpec
from supervisor.spawners.choice import ChoiceSpawner
from supervisor.spawners.fake import FakeSpawner, Scene
from tests.support.containers import boot
from tests.unit.supervisor.sandbox.test_profile import SPEC

HOST_WORKER = SpawnSpec(title="t", boot=boot(), log_fd=2)
INSIDE = SpawnSpec(title="t", boot=boot(), log_fd=2, container=SPEC)


async def test_only_workers_with_a_container_go_to_docker() -> None:
    local, docker = Scene(), Scene()
    choice = ChoiceSpawner(FakeSpawner(local), FakeSpawner(docker))
    await choice.spawn(HOST_WORKER)
    await choice.spawn(INSIDE)
    assert [worker.spec for worker in local.workers] == [HOST_WORKER]
    assert [worker.spec for worker in docker.workers] == [INSIDE]


async def test_without_docker_a_sandboxed_worker_is_not_made_on_the_host() -> None:
    local, docker = Scene(), Scene()
    docker.broken = "there is no Docker"
    with pytest.raises(SpawnError, match="there is no Docker"):
        await ChoiceSpawner(FakeSpawner(local), FakeSpawner(docker)).spawn(INSIDE)
    assert local.workers == []


async def test_who_is_restored_is_sought_where_it_was() -> None:
    local = Scene()
    choice = ChoiceSpawner(FakeSpawner(local), FakeSpawner(Scene()))
    handle = await choice.spawn(HOST_WORKER)
    assert await choice.restore(handle.describe()) is handle
    assert await choice.restore({"container": "c"}) is None
