"""`setupCommand` on a real Docker: run once, kept as an image, named by its line when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from supervisor.sandbox.containers import Containers
from supervisor.sandbox.setup import REPOSITORY, Setup
from supervisor.spawners.base import SpawnError
from tests.support.containers import Yard, a_yard, client

pytestmark = pytest.mark.timeout(180)

SCRIPT = "test $(id -u) = 0\nmkdir /opt/tool\necho $WORD > /opt/tool/word\n"


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    before = images()
    async with a_yard() as yard:
        yield yard
    for name in images() - before:
        client().remove_image(name, force=True)


def images() -> set[str]:
    return {tag for row in client().images(REPOSITORY) for tag in row["RepoTags"] or ()}


def script(yard: Yard) -> str:
    """One that no earlier run has left an image of."""
    return f"# {yard.owner}\n{SCRIPT}"


def begun(yard: Yard) -> int:
    return yard.said().count("begins; its result is kept")


def read_inside(yard: Yard, path: str) -> str:
    ran = client().exec_create(yard.inspect()["Id"], ["cat", path])
    text: bytes = client().exec_start(ran["Id"])
    return text.decode()


async def test_it_runs_once_over_three_restarts_and_again_after_a_change(yard: Yard) -> None:
    spec = yard.spec("obeys", setup=script(yard), env={"BEHAVIOUR": "obeys", "WORD": "first"})
    for _ in range(3):
        await yard.spawn(spec)
        assert read_inside(yard, "/opt/tool/word") == "first\n"
        await yard.spawner.close()
        yard.gateway()
    assert begun(yard) == 1
    await yard.spawn(yard.spec("obeys", setup=script(yard), env={"BEHAVIOUR": "obeys", "WORD": "second"}))
    assert read_inside(yard, "/opt/tool/word") == "second\n"
    await yard.spawn(yard.spec("obeys", setup=script(yard) + "true\n", env={"BEHAVIOUR": "obeys", "WORD": "second"}))
    assert begun(yard) == 3


async def test_the_container_made_from_it_is_as_strict_as_any_and_nothing_of_the_run_stays_in_the_image(
    yard: Yard,
) -> None:
    spec = yard.spec("obeys", setup=script(yard), env={"BEHAVIOUR": "obeys", "WORD": "secret"})
    await yard.spawn(spec)
    found = yard.inspect()
    assert (found["HostConfig"]["NetworkMode"], found["HostConfig"]["ReadonlyRootfs"]) == ("none", True)
    made, base = config(found["Config"]["Image"]), config(spec.image)
    assert {key: made[key] for key in ("Env", "Entrypoint", "User", "WorkingDir")} == {
        key: base[key] for key in ("Env", "Entrypoint", "User", "WorkingDir")
    }
    assert [row["Names"] for row in yard.all()] == [[f"/{spec.name}"]]


def config(image: str) -> dict[str, Any]:
    found = client().inspect_image(image)["Config"]
    return {**found, "User": found["User"].replace("0:0", "")}


async def test_many_who_want_it_at_once_share_one_run(yard: Yard) -> None:
    setup = "sleep 0.3\n" + script(yard)
    await asyncio.gather(*(yard.spawn(yard.spec("obeys", name=name, setup=setup), until="") for name in "abc"))
    assert begun(yard) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("true\necho fine\nnosuchcommand --now\ntrue\n", r"code 127 at line 3 \(nosuchcommand --now\): .*not found"),
        ("if true; then\n  echo lost >&2\n  false\nfi\n", r"code 1 at line 4 \(fi\): lost"),
        ("echo one && false", r"code 1 at line 1 \(echo one && false\): one"),
        ("if true\n", r"code 2 at line \d"),
    ],
)
async def test_a_failing_one_names_its_line_and_leaves_nothing(yard: Yard, script: str, words: str) -> None:
    before = images()
    with pytest.raises(SpawnError, match=words):
        await yard.spawn(yard.spec("obeys", setup=script))
    assert yard.all() == []
    assert images() == before
    assert not list((yard.folder / "sandbox/setup").iterdir())


async def test_one_that_fails_is_tried_again(yard: Yard) -> None:
    for _ in range(2):
        with pytest.raises(SpawnError, match="code 7"):
            await yard.spawn(yard.spec("obeys", setup="exit 7"))
    assert begun(yard) == 2


@pytest.mark.parametrize(
    ("script", "within", "words"),
    [
        ("true\nsleep 600\n", 2, r"longer than 2 s at line 2 \(sleep 600\)"),
        ("yes 0123456789012345678901234567890123456789\n", 60, r"wrote more than 8 MB at line 1"),
    ],
)
async def test_one_without_end_is_ended(yard: Yard, script: str, within: float, words: str) -> None:
    containers: Containers = yard.spawner.containers
    folder = yard.folder / "sandbox/setup"
    containers._setup = Setup(containers._engine, folder, yard.owner, yard.journal, within)
    with pytest.raises(SpawnError, match=words):
        await yard.spawn(yard.spec("obeys", setup=script))
    assert yard.all() == []
