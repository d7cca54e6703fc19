"""The command line and a living gateway: start, ask, restart, break the configuration, stop; logins are tried."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli import Home, Result
from tests.support.gateway import free_port
from tests.support.telegram_api import TelegramApi


@pytest.fixture
def home() -> Iterator[Home]:
    """A short path: sockets live below it. Whatever runs there is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="oc"))
    one = Home(folder)
    one.environ["OPENCLAW_GATEWAY_PORT"] = str(free_port())
    yield one
    one.run("gateway", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_a_gateway_lives_by_the_command_line(home: Home) -> None:
    """Started from nothing, asked, extended, restarted and stopped; a broken edit changes nothing."""
    started = home.run("gateway", "start", "--allow-unconfigured", "--json")
    assert started.code == 0, started.err
    pid = json.loads(started.out)["pid"]
    assert home.value()["gateway"] == {"mode": "local"}
    assert json.loads(home.run("gateway", "start", "--json").out)["message"] == f"Gateway already running (pid {pid})"

    answer = home.run("agent", "--agent", "main", "-m", "good morning", "--json")
    assert answer.code == 0 and "good morning" in json.loads(answer.out)["result"]["payloads"][0]["text"]

    added = home.run("agents", "add", "work")
    assert added.err.endswith("The running gateway takes it over by itself.\n")
    restarted = home.run("gateway", "restart")
    assert restarted.code == 0 and f"Gateway restarted (pid {pid})" in restarted.out
    assert home.run("agent", "--agent", "work", "-m", "hello").code == 0
    health = json.loads(home.run("health", "--json").out)
    assert health["ok"] and [one["agentId"] for one in health["agents"]] == ["main", "work"]
    assert json.loads(home.run("status", "--json").out)["gateway"]["reachable"]
    assert home.run("dashboard").out.startswith(f"http://127.0.0.1:{home.environ['OPENCLAW_GATEWAY_PORT']}/#token=")

    second = home.run("gateway", "run")
    assert second.code == 1 and f"another gateway is already running on this state folder (pid {pid})" in second.err

    good = home.config.read_text()
    home.config.write_text("{agents: {list: [{id: 'main', wrkspace: 1}]}}")
    assert home.run("gateway", "restart").code == 1
    assert home.run("gateway", "status", "--require-rpc").code == 0
    home.config.write_text(good)
    assert home.run("agent", "--agent", "work", "-m", "still there?").code == 0

    assert home.run("gateway", "stop").out == f"Gateway stopped (pid {pid})\n"
    assert home.run("gateway", "status", "--require-rpc").code == 1


async def run(home: Home, *arguments: str, stdin: str = "") -> Result:
    """A command beside the fake platform's loop."""
    return await asyncio.to_thread(home.run, *arguments, stdin=stdin)


async def test_a_telegram_login_is_tried_before_it_is_stored(home: Home) -> None:
    """The right token by stdin; a wrong one, a silent server: nothing changes, and no message holds the token."""
    async with TelegramApi() as api:
        api.world.add_bot("777:good", "work_bot")
        home.write("{channels: {telegram: {apiRoot: '%s'}}}" % api.url)  # noqa: UP031
        login = ("channels", "login", "--channel", "telegram", "--account", "work")
        done = await run(home, *login, stdin="777:good\n")
        assert (done.code, done.out) == (0, 'Logged in: Telegram account "work" (@work_bot)\n')
        assert home.value()["channels"]["telegram"]["accounts"] == {"work": {"enabled": True, "botToken": "777:good"}}
        before = home.tree()
        refused = await run(home, *login, "--token", "777:bad")
        assert refused == Result(
            1, "",
            f"error: Channel login failed: Telegram says: Unauthorized\n  at {api.url}\n"
            "hint: get a new token from @BotFather: /token\n",
        )  # fmt: skip
    down = await run(home, *login, "--token", "777:bad")
    assert down.code == 1 and "Telegram cannot be asked" in down.err and "777:bad" not in down.err
    assert home.tree() == before


async def test_a_dead_login_is_shown_as_disconnected_and_a_new_login_repairs_it(home: Home) -> None:
    """What the tutorial sends people to look for; the other account goes on."""
    async with TelegramApi() as api:
        api.world.add_bot("1:a", "a_bot")
        api.world.add_bot("2:b", "b_bot")
        accounts = {"a": {"botToken": "1:a"}, "b": {"botToken": "2:wrong"}}
        home.write(json.dumps({"channels": {"telegram": {"apiRoot": api.url, "accounts": accounts}}}))
        assert (await run(home, "gateway", "start")).code == 0
        lines = (await run(home, "channels", "status", "--probe")).out.splitlines()
        assert "connected" in lines[2] and "works" in lines[2] and "disconnected" not in lines[2]
        assert lines[3].startswith("- Telegram b: enabled, configured, ") and "disconnected" in lines[3]
        assert "probe failed" in lines[3] and "error:" in lines[3]
        login = ("channels", "login", "--channel", "telegram", "--account", "b")
        assert (await run(home, *login, "--token", "2:b")).code == 0
        assert (await run(home, "gateway", "restart")).code == 0
        lines = (await run(home, "channels", "status", "--probe")).out.splitlines()
        assert "works" in lines[3] and "disconnected" not in lines[3]
        assert (await run(home, "gateway", "stop")).code == 0
