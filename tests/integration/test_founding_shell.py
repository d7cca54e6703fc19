"""Every shell line of the two founding documents, in order, typed on a clean machine, does what it says.

Lines that need what this build does not have check what was typed, say so plainly, exit with 1 and change nothing:
they are in NOT_IN_THIS_BUILD by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.shell import Shell, Typed, clean_machine
from tests.support.telegram_api import TelegramApi

#: The multi-agent page, in its order.
MULTI_AGENT_PAGE = (
    "openclaw agents add work",
    "openclaw agents list --bindings",
    "openclaw agents add coding",
    "openclaw agents add social",
    "openclaw channels login --channel whatsapp --account work",
    "openclaw gateway restart",
    "openclaw agents list --bindings",
    "openclaw channels status --probe",
    "openclaw channels login --channel whatsapp --account personal",
    "openclaw channels login --channel whatsapp --account biz",
)
#: The tutorial, in its order. `<agent-name>` is the reader's to fill in.
TUTORIAL = (
    "# Lihat agents yang lo punya\nopenclaw agents list",
    "# Tambah agent baru untuk kerjaan\nopenclaw agents add work \\\n--workspace ~/.openclaw/workspace-work",
    "# Tambah agent untuk client\nopenclaw agents add client1 \\\n--workspace ~/.openclaw/workspace-client1",
    "openclaw channels login --channel telegram --account work",
    "openclaw channels login --channel telegram --account client1",
    "openclaw agents bind \\\n--agent work \\\n--bind telegram:work",
    "openclaw agents bind \\\n--agent client1 \\\n--bind telegram:client1",
    "openclaw agents list --bindings",
    "openclaw agents add client-ops \\\n--workspace ~/.openclaw/workspace-client-ops",
    "openclaw agents add internal \\\n--workspace ~/.openclaw/workspace-internal",
    "openclaw channels login --channel telegram --account client-ops",
    "openclaw channels login --channel telegram --account internal",
    "openclaw channels login --channel discord --account community",
    "openclaw agents bind --agent client-ops --bind telegram:client-ops",
    "openclaw agents bind --agent internal --bind telegram:internal",
    "openclaw agents bind --agent main --bind discord:community",
    "npm install -g cliproxy",
    'cliproxy add-account --name seat1 --api-key "sk-ant-..."',
    'cliproxy add-account --name seat2 --api-key "sk-ant-..."',
    'cliproxy add-account --name seat3 --api-key "sk-ant-..."',
    'cliproxy add-account --name seat4 --api-key "sk-ant-..."',
    'cliproxy add-account --name seat5 --api-key "sk-ant-..."',
    "cliproxy start --port 8080 --strategy round-robin",
    'export OPENAI_BASE_URL="http://localhost:8080/v1"',
    'export ANTHROPIC_BASE_URL="http://localhost:8080/v1"',
    'cliproxy add-pool --name client-a \\\n--endpoint http://localhost:3001 \\\n--api-key "sk-ant-client-a..."',
    'cliproxy add-pool --name client-b \\\n--endpoint http://localhost:3002 \\\n--api-key "sk-ant-client-b..."',
    "openclaw agents list --bindings",
    "# Check if workspace exists\nls ~/.openclaw/workspace-<agent-name>/",
    "# Check agent status\nopenclaw agents list",
    "openclaw logs --lines 50",
    "# Check channel accounts\nopenclaw channels status",
    "openclaw channels login --channel telegram --account work",
)
#: What a line needs that comes later, by the beginning of the line.
NOT_IN_THIS_BUILD = {
    "openclaw channels login --channel whatsapp": "WhatsApp is not in this build",
    "openclaw channels login --channel discord": "Discord is not in this build",
    "cliproxy add-account": "this build has no account store",
    "cliproxy start": "this build has no proxy that stands alone",
    "cliproxy add-pool": "this build has no account pools",
}
#: Not ours to run: the command it installs is part of this package.
NOT_TYPED = "npm install -g cliproxy"

BOTS = {"work": "101:work", "client1": "102:client1", "client-ops": "103:client-ops", "internal": "104:internal"}
FIRST_FILES = {"AGENTS.md", "SOUL.md", "USER.md"}


@pytest.fixture
async def api() -> AsyncIterator[TelegramApi]:
    async with TelegramApi() as one:
        for account, token in BOTS.items():
            one.world.add_bot(token, f"{account.replace('-', '_')}_bot")
        yield one


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    async with clean_machine() as one:
        yield one


async def type_in_order(shell: Shell, lines: tuple[str, ...]) -> list[tuple[str, Typed]]:
    """Type them all; each succeeds, or is refused for the reason that its row names."""
    done = []
    for line in lines:
        if line != NOT_TYPED:
            done.append((line, await type_one(shell, line.replace("<agent-name>", "work"))))
    return done


async def type_one(shell: Shell, line: str) -> Typed:
    missing = next((text for start, text in NOT_IN_THIS_BUILD.items() if line.startswith(start)), "")
    before = shell.tree() if missing else {}
    result = await shell.type(line, stdin=token_for(line))
    if missing:
        assert result.code == 1 and missing in result.err and not result.out, (line, result)
        assert shell.tree() == before, line
    else:
        assert result.code == 0, (line, result)
    assert "Traceback" not in result.err
    return result


def token_for(line: str) -> str:
    """What the reader copies from @BotFather."""
    return BOTS.get(line.rpartition(" ")[2], "") + "\n" if "--channel telegram" in line else ""


def said(done: list[tuple[str, Typed]], ending: str) -> list[str]:
    """What the lines with this ending printed."""
    return [result.out for line, result in done if line.endswith(ending)]


async def test_the_lines_of_the_multi_agent_page(shell: Shell) -> None:
    """Agents appear with their own folders and first files; the restart starts a gateway, which then answers."""
    done = await type_in_order(shell, MULTI_AGENT_PAGE)
    assert [one["id"] for one in shell.config()["agents"]["list"]] == ["main", "work", "coding", "social"]
    for agent in ("work", "coding", "social"):
        assert {file.name for file in (shell.state / f"workspace-{agent}").iterdir()} >= FIRST_FILES
        assert (shell.state / "agents" / agent / "sessions").is_dir()
    before, after = said(done, "agents list --bindings")
    assert before.count("- ") < after.count("- ") and "- social" in after and "- social" not in before
    assert "ready" in said(done, "gateway restart")[0] or "started" in said(done, "gateway restart")[0]
    assert "Gateway reachable." in said(done, "channels status --probe")[0]


async def test_the_lines_of_the_tutorial(shell: Shell, api: TelegramApi) -> None:
    """Two bots, then two more, each to its agent; everything the tutorial says one should see is there.

    The tutorial presumes a gateway that runs; it takes every change over without being restarted.
    """
    await shell.type(f"openclaw config set channels.telegram.apiRoot {api.url}")
    assert (await shell.type("openclaw gateway start")).code == 0
    done = await type_in_order(shell, TUTORIAL)
    config = shell.config()
    assert [one["id"] for one in config["agents"]["list"]] == ["main", "work", "client1", "client-ops", "internal"]
    assert {name: one["botToken"] for name, one in config["channels"]["telegram"]["accounts"].items()} == BOTS
    assert "discord" not in config["channels"]
    await assert_bindings(said(done, "agents list --bindings"), config)
    assert set(said(done, "workspace-<agent-name>/")[0].split()) >= FIRST_FILES
    assert len(said(done, "logs --lines 50")[0].splitlines()) in range(2, 52)
    await assert_connected(shell)


async def assert_bindings(tables: list[str], config: dict[str, object]) -> None:
    """Which channel is connected to which agent, as a table."""
    assert config["bindings"] == [
        *(
            {"type": "route", "agentId": name, "match": {"channel": "telegram", "accountId": name}}
            for name in ("work", "client1", "client-ops", "internal")
        ),
        {"type": "route", "agentId": "main", "match": {"channel": "discord", "accountId": "community"}},
    ]
    for account in BOTS:
        assert any("│ Telegram │" in row and row.count(f"│ {account} ") == 2 for row in tables[-1].splitlines()), (
            tables[-1]
        )
    assert "client-ops" not in tables[0] and "Agent" in tables[0]


async def assert_connected(shell: Shell) -> None:
    """All four bots, without a restart: the running gateway has read the file."""
    async with asyncio.timeout(20):
        while True:
            out = (await shell.type("openclaw channels status")).out
            lines = [line for line in out.splitlines() if line.startswith("- Telegram")]
            if len(lines) == len(BOTS) and all(" connected" in line for line in lines):
                return
            await asyncio.sleep(0.2)


async def test_the_proxy_command_comes_with_this_package(shell: Shell) -> None:
    """What the tutorial installs with npm is here already."""
    result = await shell.type("cliproxy --version")
    assert result.code == 0 and result.out.startswith("cliproxy ")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("openclaw channels login --channel whatsap --account work", "Unsupported channel: whatsap"),
        ("cliproxy add-account --name seat1", "api-key"),
        ("cliproxy add-account --name seat1 --api-key sk-ant-oat01-x", "subscription"),
        ("cliproxy start --port 80800 --strategy round-robin", "65535"),
        ("cliproxy start --strategy round", "round"),
        ("cliproxy add-pool --name a --endpoint localhost:3001 --api-key sk-ant-x", "not an http address"),
    ],
)
async def test_a_line_that_cannot_work_here_still_checks_what_was_typed(shell: Shell, line: str, error: str) -> None:
    """A mistake is told as such, before anybody hears that the thing itself is missing."""
    before = shell.tree()
    result = await shell.type(line)
    assert result.code in (1, 2) and error in result.err and "this build has no" not in result.err
    assert shell.tree() == before
