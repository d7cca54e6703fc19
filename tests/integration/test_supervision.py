"""The supervisor with real processes and signals: what an operator sees when children and supervisors die."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from protocol import control as c
from protocol.pipe import Pipe
from tests.support.supervise import Supervised, kill, pids


@pytest.fixture
async def gateway() -> AsyncIterator[Supervised]:
    async with Supervised("main", "ops") as supervised:
        yield supervised


def process(status: c.GatewayStatus, name: str) -> c.ProcessStatus:
    return next(one for one in status.processes if one.name == name)


async def gone(pid: int) -> None:
    """Until a process that is not our child has ended."""
    async with asyncio.timeout(10):
        while _lives(pid):
            await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# --- dying and coming back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["router", "cliproxy", "zygote", "worker ops"])
async def test_whoever_is_killed_comes_back_and_nobody_else_notices(gateway: Supervised, victim: str) -> None:
    before = await gateway.up()
    kill(pids(before)[victim])
    after = await gateway.until(
        lambda found: (
            pids(found)[victim] not in {0, pids(before)[victim]} and process(found, victim).state in {"ready", "stable"}
        )
    )
    assert {name for name, pid in pids(after).items() if pid != pids(before)[name]} == {victim}
    assert process(after, victim).restarts == 1
    assert f"{victim}: killed by SIGKILL; crash 1 of 5, restart in 0.1 s" in gateway.log()


async def test_when_the_supervisor_is_killed_everybody_dies_with_it(gateway: Supervised) -> None:
    await gateway.up()
    children = gateway.descendants()
    assert len(children) == 5
    gateway.signal(signal.SIGKILL)
    await gateway.ended()
    await asyncio.gather(*(gone(child.pid) for child in children))


async def test_a_killed_supervisor_leaves_nothing_that_keeps_the_next_one_from_starting(gateway: Supervised) -> None:
    await gateway.up()
    gateway.signal(signal.SIGKILL)
    await gateway.ended()
    after = await gateway.up()
    assert process(after, "worker main").generation > 10_000


async def test_a_restarted_router_is_told_which_workers_live(gateway: Supervised) -> None:
    before = await gateway.up()
    kill(pids(before)["router"])
    await gateway.until(lambda found: gateway.heard()[-1].startswith("RouterBoot "))
    assert sorted(gateway.heard()[-1].removeprefix("RouterBoot ").split(",")) == ["main:1", "ops:2"]


async def test_the_router_hears_of_a_generation_before_it_lives_and_after_it_is_gone(gateway: Supervised) -> None:
    before = await gateway.up()
    kill(pids(before)["worker ops"])
    await gateway.until(lambda found: pids(found)["worker ops"] not in {0, pids(before)["worker ops"]})
    ops = [line for line in gateway.heard() if " ops " in line]
    assert ops == ["GenerationStarted ops 2", "GenerationEnded ops 2 crashed", "GenerationStarted ops 3"]


async def test_what_a_worker_left_in_another_session_ends_after_it(gateway: Supervised) -> None:
    gateway.behave("ops", "starts-a-session")
    before = await gateway.up()
    left = psutil.Process(pids(before)["worker ops"]).children()[0].pid
    kill(pids(before)["worker ops"])
    await gone(left)
    await gateway.until(lambda found: "ended 1 processes that a worker left behind" in gateway.log())


# --- failing again and again ---------------------------------------------------------------------------------------


async def test_a_worker_that_always_crashes_is_quarantined_and_only_that_one(gateway: Supervised) -> None:
    gateway.behave("ops", "exits")
    await gateway.start()
    status = await gateway.until(lambda found: process(found, "worker ops").state == "quarantined")
    ops = process(status, "worker ops")
    assert ops.reason == "5 crashes in 60 s, the last: exited with code 3 before it was ready"
    assert 50 < ops.retry_at - time.time() < 70
    assert process(status, "worker main").state in {"ready", "stable"}
    assert f"AgentTrouble ops {ops.reason}" in gateway.heard()


async def test_a_worker_with_exit_code_78_is_not_started_again_until_the_configuration_is_read_again(
    gateway: Supervised,
) -> None:
    gateway.behave("ops", "exits-78")
    await gateway.start()
    status = await gateway.until(lambda found: process(found, "worker ops").state == "quarantined")
    assert process(status, "worker ops").retry_at == 0
    gateway.behave("ops", "obeys")
    assert isinstance(await gateway.ask(c.Restart()), c.Finished)
    await gateway.serving()


async def test_a_crash_report_tells_how_it_ended_and_what_it_said_last(gateway: Supervised) -> None:
    gateway.behave("ops", "dies-by-signal")
    await gateway.start()
    await gateway.until(lambda found: process(found, "worker ops").state == "quarantined")
    reports = sorted(gateway.paths.records.glob("crash-*-worker-ops.json"))
    report = json.loads(reports[0].read_text())
    assert (report["signal"], report["ended"], report["name"]) == (11, "killed by SIGSEGV", "worker ops")
    assert report["last_lines"] == ["booted ops 2"] and len(report["config"]) == 64
    assert {stat.S_IMODE(path.stat().st_mode) for path in gateway.paths.records.iterdir()} == {0o600}
    state = json.loads((gateway.paths.records / "worker-ops.json").read_text())
    assert state["state"] == "quarantined"


async def test_a_silent_worker_shows_its_stacks_and_is_killed(gateway: Supervised) -> None:
    before = await gateway.up()
    await say_as_router(gateway, "silent ops")
    await gateway.until(lambda found: pids(found)["worker ops"] not in {0, pids(before)["worker ops"]})
    assert "Current thread" in gateway.log()
    assert "worker ops: does not answer; crash 1 of 5" in gateway.log()


async def test_a_worker_that_breaks_the_protocol_is_killed(gateway: Supervised) -> None:
    before = await gateway.up()
    await say_as_router(gateway, "misbehaved main")
    await gateway.until(lambda found: pids(found)["worker main"] not in {0, pids(before)["worker main"]})
    assert "worker main: broke the protocol: said nonsense; it is killed" in gateway.log()


async def say_as_router(gateway: Supervised, words: str) -> None:
    """Attach to the router peer and tell it what to tell the supervisor."""
    pipe = await gateway.dial()
    sock = pipe._sock.dup()
    pipe.send(c.Attach())
    await pipe.flush()
    asyncio.get_running_loop().remove_reader(pipe._sock)
    reader, writer = await asyncio.open_connection(sock=sock)
    assert await reader.readline() == b"attached\n"
    writer.write(words.encode() + b"\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    pipe.close()


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("talks-nonsense", "cliproxy: broke the protocol"),
        ("closes-its-pipe", "cliproxy: closed its pipe; it is killed"),
        ("segfaults", "cliproxy: killed by SIGSEGV before it was ready; crash 1 of 5"),
    ],
)
async def test_a_program_that_fails_is_replaced(gateway: Supervised, behaviour: str, text: str) -> None:
    gateway.behave("cliproxy", behaviour)
    await gateway.start()
    await gateway.until(lambda found: text in gateway.log())
    gateway.behave("cliproxy", "obeys")
    await gateway.serving()


async def test_saying_ready_twice_is_harmless(gateway: Supervised) -> None:
    gateway.behave("cliproxy", "ready-twice")
    status = await gateway.up()
    assert process(status, "cliproxy").restarts == 0


async def test_a_dead_zygote_delays_new_workers_but_does_not_lose_them(gateway: Supervised) -> None:
    gateway.behave("zygote", "exits-at-once")
    await gateway.start()
    await gateway.until(lambda found: process(found, "zygote").state == "backoff")
    gateway.behave("zygote", "obeys")
    status = await gateway.serving()
    assert process(status, "worker main").restarts == 0


# --- starting ------------------------------------------------------------------------------------------------------


async def test_a_program_that_says_why_it_cannot_start_ends_the_start_with_its_words(gateway: Supervised) -> None:
    gateway.behave("router", "port-in-use")
    code, printed = await gateway.run_to_end()
    assert code == 1
    assert "error: Gateway failed to start: port 18789 is in use by pid 4711 [None]" in printed
    assert "hint: openclaw gateway stop" in printed
    assert not gateway.paths.control_socket.exists()


async def test_a_program_that_only_crashes_ends_the_start_after_a_few_tries(gateway: Supervised) -> None:
    gateway.behave("router", "exits-at-once")
    code, printed = await gateway.run_to_end()
    assert code == 2
    assert "failed: router does not start: 5 crashes in 60 s" in printed


async def test_a_second_gateway_on_the_same_state_folder_is_refused_and_names_the_first(gateway: Supervised) -> None:
    await gateway.up()
    assert gateway.process is not None
    first = gateway.process
    code, printed = await gateway.run_to_end()
    assert code == 1
    assert f"another gateway is already running on this state folder (pid {first.pid})" in printed
    assert "hint: openclaw gateway stop" in printed
    gateway.process = first
    await gateway.serving()


async def test_a_missing_configuration_is_refused_with_exit_code_78(gateway: Supervised) -> None:
    gateway.paths.config.unlink()
    code, printed = await gateway.run_to_end()
    assert (code, "Missing config." in printed) == (78, True)
    assert list(gateway.state.iterdir()) == []


async def test_with_allow_unconfigured_it_starts_without_a_configuration() -> None:
    async with Supervised(allow_unconfigured=True) as gateway:
        gateway.paths.config.unlink()
        status = await gateway.up()
        assert "worker main" in pids(status)


async def test_the_address_with_the_token_goes_to_stdout_and_never_into_the_log() -> None:
    async with Supervised(print_url=True) as gateway:
        await gateway.up()
        token = (gateway.paths.credentials / "gateway-token").read_text().strip()
        printed = (gateway.folder / "out").read_text()
        assert printed == f"OpenClaw gateway ready: http://127.0.0.1:4711/#token={token}\n"
        assert token not in gateway.log()


async def test_verbose_prints_lines_for_people() -> None:
    async with Supervised(verbose=True) as gateway:
        await gateway.up()
        lines = (gateway.folder / "out").read_text().splitlines()
        assert lines[1][8:] == " [gateway] starting..."


# --- what children are given ---------------------------------------------------------------------------------------


async def test_no_child_finds_a_key_in_its_environment_or_arguments(gateway: Supervised) -> None:
    await gateway.up()
    for child in gateway.descendants():
        everything = " ".join([*child.environ().values(), *child.cmdline()])
        assert "sk-ant-" not in everything and "OPENCLAW" not in " ".join(child.environ())


async def test_folders_are_closed_to_others(gateway: Supervised) -> None:
    await gateway.up()
    run = gateway.paths.run
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [run, *run.rglob("*")]}
    assert modes[run] == modes[gateway.paths.records] == 0o700
    # Where agents have users of their own: what their group may pass, in folders that no other can reach.
    passed = {gateway.paths.proxy_folder: 0o711} | {folder: 0o2710 for folder in (run / "w").iterdir()}
    for path in (path for path in modes if path.is_dir()):
        assert modes[path] in {0o700, passed.get(path, 0o700)}, path
    assert modes[gateway.paths.control_socket] == 0o600
    assert stat.S_IMODE(gateway.paths.log_file.stat().st_mode) == 0o600


# --- logs ----------------------------------------------------------------------------------------------------------


async def test_a_worker_cannot_forge_who_said_something_nor_log_a_key(gateway: Supervised) -> None:
    gateway.behave("ops", "forges")
    await gateway.up()
    await gateway.until(lambda found: "in plain text" in gateway.log())
    forged = next(entry for entry in gateway.entries() if entry["message"] == "forged")
    assert (forged["subsystem"], forged["part"]) == ("worker/ops", "router")
    assert not forged["time"].startswith("1999")
    assert "and sk-ant…wxyz in plain text" in gateway.log()
    assert "sk-ant-api03" not in gateway.log()


async def test_a_flooding_worker_is_held_short_and_the_others_go_on(gateway: Supervised) -> None:
    gateway.behave("ops", "floods")
    await gateway.start()
    status = await gateway.until(lambda found: "lines were dropped: logging too fast" in gateway.log())
    assert process(status, "worker main").state in {"ready", "stable"}
    assert len(gateway.log()) < 1024 * 1024


# --- restart -------------------------------------------------------------------------------------------------------


def names(progress: list[c.FromSupervisor]) -> list[str]:
    return [type(one).__name__ for one in progress]


async def test_restart_replaces_the_workers_and_nobody_else(gateway: Supervised) -> None:
    before = await gateway.up()
    heard = await gateway.hear(c.Restart())
    assert names(heard) == ["Progress"] * 5 + ["Finished"]
    after = await gateway.serving()
    changed = {name for name, pid in pids(after).items() if pid != pids(before)[name]}
    assert changed == {"worker main", "worker ops"}
    told = [line for line in gateway.heard() if "main" in line]
    assert told == [
        "GenerationStarted main 1", "GenerationStarted main 3", "DrainWorker main 1", "GenerationEnded main 1 as asked",
    ]  # fmt: skip


async def test_restart_of_one_agent_leaves_the_others_alone(gateway: Supervised) -> None:
    before = await gateway.up()
    await gateway.hear(c.Restart(agents=("ops",)))
    after = await gateway.serving()
    assert {name for name, pid in pids(after).items() if pid != pids(before)[name]} == {"worker ops"}


async def test_restart_with_a_broken_configuration_changes_nothing(gateway: Supervised) -> None:
    before = await gateway.up()
    gateway.paths.config.write_text("{ agents: { list: 7 } }")
    answer = await gateway.ask(c.Restart())
    assert isinstance(answer, c.Failure) and "agents.list" in answer.where
    after = await gateway.serving()
    assert pids(after) == pids(before) and "agents.list" in after.config_problem
    assert "RouterUpdate" not in gateway.heard()


async def test_restart_of_an_unknown_agent_is_refused(gateway: Supervised) -> None:
    await gateway.up()
    answer = await gateway.ask(c.Restart(agents=("nope",)))
    assert answer == c.Failure(message='Agent "nope" not found.', hint="openclaw agents list")


async def test_restart_takes_in_new_agents_and_lets_removed_ones_finish(gateway: Supervised) -> None:
    before = await gateway.up()
    gateway.configure("main", "fam")
    assert isinstance(await gateway.ask(c.Restart(agents=("main",))), c.Finished)
    after = await gateway.serving()
    assert set(pids(after)) == set(pids(before)) - {"worker ops"} | {"worker fam"}
    heard = gateway.heard()
    # First nothing is routed to it any more, then it finishes, and only then its link is taken away.
    told = [line for line in heard if line in {"RouterUpdate", "DrainWorker ops 2", "GenerationEnded ops 2 as asked"}]
    assert told == ["RouterUpdate", "DrainWorker ops 2", "GenerationEnded ops 2 as asked", "RouterUpdate"]
    assert not (gateway.paths.records / "worker-ops.json").exists()


async def test_an_old_worker_stays_when_the_new_one_does_not_come_up(gateway: Supervised) -> None:
    before = await gateway.up()
    gateway.behave("ops", "exits")
    answer = await gateway.ask(c.Restart())
    assert isinstance(answer, c.Failure) and "worker ops: the new one does not start" in answer.message
    after = await gateway.serving()
    assert pids(after)["worker ops"] == pids(before)["worker ops"]
    assert pids(after)["worker main"] != pids(before)["worker main"]


async def test_an_old_worker_that_never_finishes_is_ended_at_the_deadline() -> None:
    async with Supervised(grace=0.3) as gateway:
        gateway.behave("main", "never-drains")
        before = await gateway.up()
        assert isinstance(await gateway.ask(c.Restart()), c.Finished)
        assert pids(await gateway.serving())["worker main"] != pids(before)["worker main"]
        assert "worker main: still busy after 0.3 s; it is stopped" in gateway.log()


async def test_sigusr1_restarts_the_workers(gateway: Supervised) -> None:
    before = await gateway.up()
    gateway.signal(signal.SIGUSR1)
    after = await gateway.until(
        lambda found: pids(found)["worker ops"] not in {0, pids(before)["worker ops"]} and len(found.processes) == 6
    )
    assert pids(after)["router"] == pids(before)["router"]


# --- stopping ------------------------------------------------------------------------------------------------------


async def test_stopping_drains_workers_first_then_the_router_then_the_cliproxy(gateway: Supervised) -> None:
    await gateway.up()
    children = gateway.descendants()
    gateway.signal(signal.SIGTERM)
    assert await gateway.ended() == 0
    told = [line.split()[0] for line in gateway.heard()]
    assert told[-6:] == ["DrainWorker", "DrainWorker", "GenerationEnded", "GenerationEnded", "RouterStop", "ProxyStop"]
    assert not any(psutil.pid_exists(child.pid) for child in children)
    assert not gateway.paths.control_socket.exists()


async def test_a_second_signal_stops_at_once() -> None:
    async with Supervised(grace=60) as gateway:
        gateway.behave("main", "never-drains")
        await gateway.up()
        gateway.signal(signal.SIGTERM)
        await gateway.until(lambda found: process(found, "worker main").state == "draining")
        gateway.signal(signal.SIGINT)
        assert await gateway.ended() == 0


async def test_stop_over_the_control_socket_says_when_it_is_done(gateway: Supervised) -> None:
    await gateway.up()
    assert await gateway.ask(c.Stop()) == c.Finished(text="stopped")
    assert await gateway.ended() == 0


async def test_sigterm_during_the_start_ends_it(gateway: Supervised) -> None:
    gateway.behave("router", "never-ready")
    await gateway.start()
    await gateway.until(lambda found: process(found, "cliproxy").state in {"ready", "stable"})
    gateway.signal(signal.SIGTERM)
    assert await gateway.ended() == 0


# --- the control socket --------------------------------------------------------------------------------------------


async def test_nonsense_on_the_control_socket_is_answered_and_ends_that_connection_only(gateway: Supervised) -> None:
    await gateway.up()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(gateway.paths.control_socket))
    sock.sendall(b'\x00\x00\x00\x11\x00{"type":"Whoami"}')
    pipe = Pipe(sock, c.from_supervisor)
    answer, _ = await pipe.receive()
    assert isinstance(answer, c.Failure) and "Whoami" in answer.message
    pipe.close()
    await gateway.serving()


async def test_more_operators_than_allowed_are_sent_away(gateway: Supervised) -> None:
    await gateway.up()
    pipes = [await gateway.dial() for _ in range(40)]
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(pipes[-1].receive(), 5)
    for pipe in pipes:
        pipe.close()
    await gateway.serving()


async def test_the_usage_of_the_cliproxy_is_handed_through(gateway: Supervised) -> None:
    await gateway.up()
    assert await gateway.ask(c.GetUsage()) == c.Usage(json='{"requests":7}')


async def test_with_many_agents_a_worker_starts_with_its_first_message() -> None:
    async with Supervised("main", *(f"a{number}" for number in range(120))) as gateway:
        status = await gateway.up_programs()
        assert {one.state for one in status.processes if one.kind == "worker"} == {"stopped"}
        await say_as_router(gateway, "wanted a7")
        status = await gateway.until(lambda found: process(found, "worker a7").state in {"ready", "stable"})
        assert sum(one.pid > 0 for one in status.processes if one.kind == "worker") == 1
