"""A changed config file is applied by itself: to exactly what it touches, and never when it is wrong."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol import control as c
from tests.support.gateway import Gateway, free_port
from tests.support.model_api import ModelApi
from tests.support.supervise import Supervised, pids
from tests.support.telegram_api import TelegramApi

FAST = {"reload": {"debounceMs": 50}}


@pytest.fixture
async def gateway() -> AsyncIterator[Supervised]:
    async with Supervised("main", "ops") as supervised:
        configure(supervised, {"id": "main"}, {"id": "ops"})
        yield supervised


def configure(supervised: Supervised, *agents: dict[str, Any], mode: str = "hybrid", **extra: Any) -> None:
    section = {"mode": "local", "reload": {"mode": mode, "debounceMs": 50}, **extra.pop("gateway", {})}
    replace(supervised.paths.config, json.dumps({"agents": {"list": list(agents)}, "gateway": section, **extra}))


def replace(file: Path, text: str) -> None:
    """As an editor does it: a new file takes the name."""
    part = file.with_name("part")
    part.write_text(text)
    part.replace(file)


def reloads(gateway: Supervised) -> list[str]:
    return [entry["message"] for entry in gateway.entries() if entry["subsystem"] == "reload"]


def applied(gateway: Supervised) -> int:
    return sum("config hot reload applied" in text for text in reloads(gateway))


async def reloaded(gateway: Supervised, times: int = 1) -> c.GatewayStatus:
    await gateway.until(lambda _: applied(gateway) >= times)
    return await gateway.serving()


def differing(before: c.GatewayStatus, after: c.GatewayStatus) -> set[str]:
    names = pids(before).keys() | pids(after).keys()
    return {name for name in names if pids(before).get(name) != pids(after).get(name)}


async def test_an_agents_own_keys_replace_that_worker_only(gateway: Supervised) -> None:
    before = await gateway.up()
    configure(gateway, {"id": "main"}, {"id": "ops", "model": "openai/other"})
    after = await gateway.until(lambda found: differing(before, found) == {"worker ops"} and len(found.processes) == 6)
    assert differing(before, after) == {"worker ops"}
    assert "config change detected; evaluating reload (agents.list.ops.model)" in reloads(gateway)
    assert "config hot reload applied (workers replaced ops)" in reloads(gateway)
    assert "RouterUpdate" not in gateway.heard()


async def test_bindings_and_access_are_told_to_the_router_and_nobody_is_restarted(gateway: Supervised) -> None:
    before = await gateway.up()
    configure(
        gateway, {"id": "main"}, {"id": "ops"},
        bindings=[{"agentId": "ops", "match": {"channel": "telegram"}}], session={"dmScope": "per-peer"},
    )  # fmt: skip
    after = await reloaded(gateway)
    assert differing(before, after) == set()
    assert gateway.heard().count("RouterUpdate") == 1
    assert "config change detected; evaluating reload (bindings, session)" in reloads(gateway)


async def test_agents_come_and_go_without_touching_the_others(gateway: Supervised) -> None:
    before = await gateway.up()
    configure(gateway, {"id": "main"}, {"id": "fam"})
    after = await gateway.until(lambda found: set(pids(found)) == set(pids(before)) - {"worker ops"} | {"worker fam"})
    assert pids(after)["worker main"] == pids(before)["worker main"]
    wanted = [
        "GenerationStarted ops 2", "RouterUpdate", "DrainWorker ops 2", "GenerationEnded ops 2 as asked",
        "RouterUpdate",
    ]  # fmt: skip
    # The last word follows when the worker is gone already.
    await gateway.until(lambda _: len(told_of_ops(gateway)) >= len(wanted))
    assert told_of_ops(gateway) == wanted


def told_of_ops(gateway: Supervised) -> list[str]:
    return [line for line in gateway.heard() if "ops 2" in line or line == "RouterUpdate"]


async def test_a_wrong_file_changes_nothing_and_is_complained_about_once(gateway: Supervised) -> None:
    before = await gateway.up()
    replace(gateway.paths.config, '{ agents: { list: [{ id: "main", wrkspace: 7 }] } }')
    status = await gateway.until(lambda found: "wrkspace" in found.config_problem)
    replace(gateway.paths.config, '{ agents: { list: [{ id: "main", wrkspace: 8 }] } } // again')
    replace(gateway.paths.config, "{ agents: ")
    status = await gateway.until(lambda found: "JSON5" in found.config_problem)
    assert differing(before, status) == set() and applied(gateway) == 0
    complaints = [text for text in reloads(gateway) if "config reload skipped" in text]
    assert len(complaints) == 2
    assert any("agents.list.0" in text and "wrkspace" in text and "hint:" in text for text in reloads(gateway))
    configure(gateway, {"id": "main"}, {"id": "ops", "name": "Operations"})
    after = await reloaded(gateway)
    assert after.config_problem == ""


async def test_a_removed_file_changes_nothing(gateway: Supervised) -> None:
    before = await gateway.up()
    gateway.paths.config.unlink()
    status = await gateway.until(lambda found: "the file is gone" in found.config_problem)
    assert differing(before, status) == set()


async def test_an_included_file_and_the_env_file_are_followed(gateway: Supervised) -> None:
    folder = gateway.paths.config.parent
    (folder / "agents.json5").write_text('{ list: [{ id: "main" }, { id: "ops", model: "${MODEL}" }] }')
    (folder / ".env").write_text("MODEL=openai/one\n")
    whole = {"agents": {"$include": "./agents.json5"}, "gateway": {"mode": "local", **FAST}}
    replace(gateway.paths.config, json.dumps(whole))
    before = await gateway.up()
    (folder / ".env").write_text("MODEL=openai/two\n")
    await gateway.until(lambda found: differing(before, found) == {"worker ops"})
    replace(folder / "agents.json5", '{ list: [{ id: "main" }] }')
    after = await gateway.until(lambda found: "worker ops" not in pids(found))
    assert pids(after)["worker main"] == pids(before)["worker main"]


async def test_what_was_accepted_is_kept_as_last_good_unless_secrets_were_hidden_in_it(gateway: Supervised) -> None:
    copy = gateway.paths.config.with_name("openclaw.json.last-good")
    await gateway.up()
    await gateway.until(lambda _: copy.exists())
    assert copy.read_bytes() == gateway.paths.config.read_bytes() and stat.S_IMODE(copy.stat().st_mode) == 0o600
    good = copy.read_bytes()
    configure(gateway, {"id": "main"}, {"id": "ops", "name": "x", "apiKey": "***"})
    await reloaded(gateway)
    assert copy.read_bytes() == good


async def test_a_ruined_file_gives_way_to_the_last_good_one_loudly(gateway: Supervised) -> None:
    config = gateway.paths.config
    copy = config.with_name("openclaw.json.last-good")
    await gateway.up()
    await gateway.until(lambda _: copy.exists())
    assert await stop(gateway) == 0
    config.write_text('{ "agents": { "list": [ {"id"')
    status = await gateway.up()
    assert config.read_bytes() == copy.read_bytes()
    [kept] = config.parent.glob("openclaw.json.clobbered.*")
    assert kept.read_text() == '{ "agents": { "list": [ {"id"'
    assert str(kept) in (gateway.folder / "out").read_text() and str(kept) in status.config_problem


async def test_a_file_with_a_mistake_in_it_is_never_replaced(gateway: Supervised) -> None:
    await gateway.up()
    await gateway.until(lambda _: gateway.paths.config.with_name("openclaw.json.last-good").exists())
    await stop(gateway)
    wrong = '{ agents: { list: [{ id: "main", wrkspace: 7 }] } }'
    gateway.paths.config.write_text(wrong)
    code, said = await gateway.run_to_end()
    assert code == 1 and "wrkspace" in said and gateway.paths.config.read_text() == wrong


async def stop(gateway: Supervised) -> int:
    await gateway.ask(c.Stop())
    return await gateway.ended()


async def test_off_waits_for_the_operator(gateway: Supervised) -> None:
    configure(gateway, {"id": "main"}, {"id": "ops"}, mode="off")
    before = await gateway.up()
    configure(gateway, {"id": "main"}, {"id": "ops"}, mode="off", session={"dmScope": "per-peer"})
    await gateway.until(lambda _: any("gateway.reload.mode is off" in text for text in reloads(gateway)))
    assert "RouterUpdate" not in gateway.heard()
    await gateway.ask(c.Restart())
    assert differing(before, await gateway.serving()) == {"worker main", "worker ops"}


async def test_restart_replaces_every_worker_on_every_change(gateway: Supervised) -> None:
    configure(gateway, {"id": "main"}, {"id": "ops"}, mode="restart")
    before = await gateway.up()
    configure(gateway, {"id": "main"}, {"id": "ops"}, mode="restart", session={"dmScope": "per-peer"})
    await gateway.until(lambda found: differing(before, found) == {"worker main", "worker ops"})


@pytest.mark.parametrize("mode", ["hot", "hybrid"])
async def test_another_port_restarts_the_router_or_waits(gateway: Supervised, mode: str) -> None:
    configure(gateway, {"id": "main"}, {"id": "ops"}, mode=mode, gateway={"port": free_port()})
    before = await gateway.up()
    agents = ({"id": "main"}, {"id": "ops"})
    configure(gateway, *agents, mode=mode, gateway={"port": free_port()}, session={"mainKey": "m"})
    after = await reloaded(gateway)
    assert differing(before, after) == ({"router"} if mode == "hybrid" else set())
    assert any("openclaw gateway restart" in text for text in reloads(gateway)) == (mode == "hot")


async def test_a_port_that_is_taken_costs_nothing(gateway: Supervised) -> None:
    configure(gateway, {"id": "main"}, {"id": "ops"}, gateway={"port": free_port()})
    before = await gateway.up()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        taken = server.sockets[0].getsockname()[1]
        configure(gateway, {"id": "main"}, {"id": "ops"}, gateway={"port": taken}, session={"mainKey": "m"})
        after = await reloaded(gateway)
    assert differing(before, after) == set()
    assert any(f"127.0.0.1:{taken}: Address already in use" in text for text in reloads(gateway))


async def test_the_next_message_goes_by_the_new_bindings_and_only_the_changed_account_logs_in_again() -> None:
    """With real Telegram accounts: within the debounce and a second, as SPEC 7.7 asks."""
    one, two = "7001:one-token-0123456789-0123456789-abcd", "7002:two-token-0123456789-0123456789-abcd"
    async with TelegramApi() as api, ModelApi() as models, Gateway() as gateway:
        for token in (one, two):
            api.world.add_bot(token)

        def config(owner: str, **of_two: Any) -> dict[str, Any]:
            return {
                "agents": {
                    "defaults": {"model": "anthropic/claude-sonnet-4-5"},
                    "list": [{"id": agent, "apiKey": f"sk-ant-key-of-{agent}-0000"} for agent in ("ann", "bob")],
                },
                "bindings": [{"agentId": owner, "match": {"channel": "telegram", "accountId": "*"}}],
                "channels": {
                    "telegram": {
                        "apiRoot": api.url, "dmPolicy": "open", "allowFrom": ["*"],
                        "accounts": {"one": {"botToken": one}, "two": {"botToken": two, **of_two}},
                    }
                },
                "models": {"providers": {"anthropic": {"baseUrl": models.url}}},
            }  # fmt: skip

        gateway.write(config("ann"))
        await gateway.start()
        while len(before := {process.name: process.pid for process in gateway.processes()}) < 6:
            await asyncio.sleep(0.02)
        api.world.push_text(one, chat=1, user=1, text="first")
        await api.world.wait_sent(1)
        gateway.write(config("bob", dmPolicy="allowlist", allowFrom=["2"]))
        await applied_in(gateway, 1.5)
        api.world.push_text(one, chat=1, user=1, text="second")
        api.world.push_text(two, chat=1, user=1, text="from a stranger")
        api.world.push_text(two, chat=2, user=2, text="from a friend")
        await api.world.wait_sent(3)
        assert [seen.key for seen in models.seen] == ["sk-ant-key-of-ann-0000", *["sk-ant-key-of-bob-0000"] * 2]
        gateway.write(config("bob", textChunkLimit=100))
        await applied_in(gateway, 1.5, 2)
        api.world.push_text(two, chat=2, user=2, text="after the restart of this account")
        await api.world.wait_sent(4)
        log = (gateway.state / "logs" / "openclaw.log").read_text()
        assert re.findall(r"\[telegram\] \[(\w+)\] restarting", log) == ["two"]
        assert {process.name: process.pid for process in gateway.processes()} == before


async def applied_in(gateway: Gateway, seconds: float, times: int = 1) -> None:
    log = gateway.state / "logs" / "openclaw.log"
    async with asyncio.timeout(seconds):
        while log.read_text().count("config hot reload applied") < times:
            await asyncio.sleep(0.02)
