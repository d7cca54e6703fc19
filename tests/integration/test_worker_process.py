"""A real zygote, real workers, a real link: what an operator can see of them, and that no crash loses or doubles."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from protocol import messages as m
from protocol.pipe import make_pair, send_blocking
from tests.support.offline_proxy import offline_proxy
from tests.support.worker_rig import RouterEnd, Zygote, kill, set_subreaper, wait_for_end

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    set_subreaper(True)
    made = Zygote()
    try:
        await made.ready()
        yield made
    finally:
        made.close()
        set_subreaper(False)


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[RouterEnd]:
    made = RouterEnd(tmp_path)
    async with offline_proxy(str(tmp_path / "run/proxy")):
        yield made
    made.close()


def boot(router: RouterEnd, generation: int = 1, **fields: object) -> m.WorkerBoot:
    return m.WorkerBoot(version=m.PROTOCOL_VERSION, generation=generation, slice=router.settings(**fields))


async def start(zygote: Zygote, router: RouterEnd, generation: int = 1, **fields: object) -> int:
    pid = await zygote.spawn(boot(router, generation, **fields))
    await router.hear(lambda one: isinstance(one, m.Hello) and one.generation == generation)
    return pid


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")


def field(pid: int, name: str) -> str:
    return next(line for line in proc(pid, "status").splitlines() if line.startswith(f"{name}:")).split()[1]


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def until_there(path: Path) -> str:
    async with asyncio.timeout(10):
        while not path.exists() or not path.read_text():
            await asyncio.sleep(0.01)
    return path.read_text()


async def test_a_message_is_accepted_answered_and_done(zygote: Zygote, router: RouterEnd) -> None:
    await start(zygote, router)
    router.deliver("m1", "hello")
    done = await router.hear_kind(m.Done, "m1")
    assert done.outcome == "answered"
    kinds = [type(one) for one in router.heard if type(one) not in (m.Hello, m.Partial, m.Activity)]
    assert kinds == [m.Accepted, m.Say, m.Done]
    assert "I am offline" in (await router.hear_kind(m.Say, "m1")).text


async def test_a_newcomer_sees_a_tool_run(zygote: Zygote, router: RouterEnd) -> None:
    await start(zygote, router)
    router.deliver("m1", "/run pwd")
    said = await router.hear_kind(m.Say, "m1")
    assert str(router.folder / "workspace") in said.text


async def test_a_worker_killed_before_its_answer_was_stored_says_the_same_again(
    zygote: Zygote, router: RouterEnd
) -> None:
    router.acks = False
    pid = await start(zygote, router)
    router.deliver("m1", "hello")
    first = await router.hear_kind(m.Say, "m1")
    assert os.waitstatus_to_exitcode(kill(pid) or 0) == -signal.SIGKILL
    router.heard.clear()
    router.acks = True
    await start(zygote, router, generation=2)
    router.deliver("m1", "hello")
    assert await router.hear_kind(m.Done, "m1") == m.Done(id="m1", outcome="answered")
    assert [one for one in router.heard if isinstance(one, m.Say)] == [first]
    [transcript] = (router.folder / "sessions").glob("*.jsonl")
    assert transcript.read_text().count('"role":"user"') == 1


async def test_a_tool_that_ran_when_the_worker_was_killed_is_not_run_twice(zygote: Zygote, router: RouterEnd) -> None:
    pid = await start(zygote, router)
    router.deliver("m1", "/run echo x >> ran; exec sleep 1000")
    await until_there(router.folder / "workspace/ran")
    kill(pid)
    router.heard.clear()
    await start(zygote, router, generation=2)
    router.deliver("m1", "/run echo x >> ran; exec sleep 1000")
    said = await router.hear_kind(m.Say, "m1")
    assert "interrupted by a restart; outcome unknown" in said.text
    assert (router.folder / "workspace/ran").read_text() == "x\n"


async def test_the_router_may_come_and_go(zygote: Zygote, router: RouterEnd) -> None:
    await start(zygote, router)
    router.deliver("m1", "/run sleep 0.3; echo fin")
    await router.hear_kind(m.Accepted, "m1")
    router.unbind()
    router.heard.clear()
    router.bind()
    hello = await router.hear_kind(m.Hello)
    assert hello.running == ("m1",) or hello.done == ("m1",)
    assert "fin" in (await router.hear_kind(m.Say, "m1")).text
    await router.hear_kind(m.Done, "m1")


async def test_a_worker_holds_nothing_that_is_not_its_own(zygote: Zygote, router: RouterEnd) -> None:
    pid = await start(zygote, router)
    router.deliver("m1", "hello")
    await router.hear_kind(m.Done, "m1")
    assert proc(pid, "cmdline").rstrip("\0 ") == "openclaw: worker main"
    shown = (
        proc(pid, "environ")
        + proc(pid, "cmdline")
        + "".join(path.read_text() for path in router.folder.rglob("*") if path.is_file())
    )
    assert not [secret for secret in router.secrets if secret in shown]
    targets = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    files = {target for target in targets if target.startswith("/")} - {os.readlink("/proc/self/fd/2")}
    own = ("/dev/null", str(router.folder / "sessions"), str(router.folder / "workspace"))
    assert all(file.startswith(own) for file in files)
    assert len(os.listdir(f"/proc/{pid}/fd")) < 25


async def test_a_worker_is_locked_down(zygote: Zygote, router: RouterEnd) -> None:
    pid = await start(zygote, router)
    assert field(pid, "PPid") == str(os.getpid())
    assert field(pid, "NoNewPrivs") == "1"
    assert os.getsid(pid) == pid == os.getpgid(pid)
    assert os.readlink(f"/proc/{pid}/cwd") == str(router.folder / "workspace")
    limits = {line[:26].strip(): line[26:].split()[0] for line in proc(pid, "limits").splitlines()}
    assert (limits["Max core file size"], limits["Max open files"]) == ("0", "1024")
    assert field(pid, "Umask") == "0077"


async def test_a_drained_worker_says_so_and_exits(zygote: Zygote, router: RouterEnd) -> None:
    pid = await start(zygote, router)
    router.deliver("m1", "/run sleep 0.2; echo fin")
    await router.hear_kind(m.Accepted, "m1")
    router.send(m.Drain())
    await router.hear_kind(m.Drained)
    assert await wait_for_end(pid) == 0
    assert [type(one) for one in router.heard][-2:] == [m.Done, m.Drained]
    assert (router.folder / "sessions/sessions.json").exists()


async def test_sigterm_drains_too(zygote: Zygote, router: RouterEnd) -> None:
    pid = await start(zygote, router)
    os.kill(pid, signal.SIGTERM)
    await router.hear_kind(m.Drained)
    assert await wait_for_end(pid) == 0


async def test_a_stack_dump_can_be_had_from_a_living_worker(zygote: Zygote, router: RouterEnd) -> None:
    reading, writing = os.pipe()
    pid = await zygote.spawn(boot(router), log=writing)
    os.close(writing)
    await router.hear_kind(m.Hello)
    os.kill(pid, signal.SIGUSR2)
    with os.fdopen(reading, "rb") as log:
        line = await asyncio.to_thread(log.readline)
        kill(pid)
    assert b"most recent call first" in line


async def test_a_bad_boot_message_is_never_tried_again(zygote: Zygote, router: RouterEnd) -> None:
    old = m.WorkerBoot(version=m.PROTOCOL_VERSION - 1, generation=1, slice=router.settings())
    assert await wait_for_end(await zygote.spawn(old)) == 78


async def test_a_supervisor_that_hangs_up_is_no_bad_boot_message(zygote: Zygote) -> None:
    assert await wait_for_end(await zygote.spawn(None)) == 1


async def test_a_workspace_that_cannot_be_made_is_bad_configuration(zygote: Zygote, router: RouterEnd) -> None:
    (router.folder / "file").touch()
    pid = await zygote.spawn(boot(router, workspace=str(router.folder / "file/ws")))
    assert await wait_for_end(pid) == 78


async def test_workers_live_on_without_their_zygote(zygote: Zygote, router: RouterEnd) -> None:
    await start(zygote, router)
    zygote.process.kill()
    zygote.process.wait()
    router.deliver("m1", "hello")
    assert (await router.hear_kind(m.Done, "m1")).outcome == "answered"


async def test_the_zygote_ends_with_its_pipe_and_refuses_nonsense(zygote: Zygote) -> None:
    assert proc(zygote.process.pid, "cmdline").rstrip("\0 ") == "openclaw: zygote"
    assert len(os.listdir(f"/proc/{zygote.process.pid}/task")) == 1
    zygote._pipe.close()
    assert await asyncio.to_thread(zygote.process.wait, 10) == 0


async def test_an_orphan_of_a_command_that_timed_out_does_not_survive(zygote: Zygote, router: RouterEnd) -> None:
    await start(zygote, router, exec_timeout=1)
    router.deliver("m1", "/run (setsid sh -c 'echo $$ > pid; exec sleep 1000' &) ; sleep 1000")
    pid = int(await until_there(router.folder / "workspace/pid"))
    assert "timed out after 1 seconds" in (await router.hear_kind(m.Say, "m1")).text
    await until_gone(pid)


async def test_a_daemon_ends_with_its_worker(zygote: Zygote, router: RouterEnd) -> None:
    pid = await start(zygote, router)
    router.deliver("m1", "/run setsid sh -c 'echo $$ > pid; exec sleep 1000' > /dev/null 2>&1 &")
    await router.hear_kind(m.Done, "m1")
    daemon = int(await until_there(router.folder / "workspace/pid"))
    os.kill(pid, signal.SIGTERM)
    assert await wait_for_end(pid) == 0
    with suppress(ChildProcessError):  # reaped by the worker already, else an orphan that is ours now
        os.waitpid(daemon, 0)
    await until_gone(daemon)


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from protocol import messages as m
from tests.support.worker_rig import RouterEnd, Zygote, set_subreaper

async def main():
    set_subreaper(True)
    router, zygote = RouterEnd(Path(sys.argv[1])), Zygote()
    await zygote.ready()
    boot = m.WorkerBoot(version=m.PROTOCOL_VERSION, generation=1, slice=router.settings())
    pid = await zygote.spawn(boot)
    await router.hear_kind(m.Hello)
    print(pid, zygote.process.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_everything_dies_with_the_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    supervisor = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    with supervisor.stdout as told:
        line = await asyncio.to_thread(told.readline)
    supervisor.kill()
    supervisor.wait()
    for pid in map(int, line.split()):
        await until_gone(pid)


async def test_a_worker_in_an_interpreter_of_its_own(router: RouterEnd) -> None:
    ours, theirs = make_pair()
    with ours, theirs:
        worker = subprocess.Popen(
            [sys.executable, "-m", "worker", "--boot", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "SOMETHING_SECRET": "x"},
            start_new_session=True,
        )
        send_blocking(ours, boot(router))
        await router.hear_kind(m.Hello)
    router.deliver("m1", "/run env")
    assert "SOMETHING_SECRET" not in (await router.hear_kind(m.Say, "m1")).text
    await router.hear_kind(m.Done, "m1")
    router.send(m.Drain())
    assert await asyncio.to_thread(worker.wait, 10) == 0
