"""The README keeps its word: every command line in it, in order, on a clean machine, with the effect it promises."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import stat
import subprocess
import termios
from collections.abc import AsyncIterator
from urllib.request import urlopen

import pytest

from tests.support.shell import COMMANDS, ROOT, Shell, clean_machine
from tests.support.telegram_api import TelegramApi

_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
#: What the reader gets from @BotFather.
BOTS = {"default": "201:default", "work": "202:work"}
STRANGER = 4242


def command_lines(text: str) -> list[str]:
    """The lines of all shell blocks."""
    return [line.strip() for _, block in _BLOCK.findall(text) for line in block.splitlines() if line.strip()]


LINES = command_lines((ROOT / "README.md").read_text())
MAKE = [line for line in LINES if line.startswith("make ")]
TYPED = [line for line in LINES if not line.startswith("make ")]


@pytest.fixture
async def api() -> AsyncIterator[TelegramApi]:
    async with TelegramApi() as one:
        for account, token in BOTS.items():
            one.world.add_bot(token, f"{account}_bot")
        one.world.add_private(STRANGER)
        yield one


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    async with clean_machine() as one:
        yield one
        # Where there is a Docker with the image, a container was made, and a gateway keeps it for its next start.
        await one.type("openclaw gateway stop")
        await one.type("openclaw sandbox recreate --all --force")


def test_the_blocks_are_found() -> None:
    """A change of the layout must not make this file test nothing."""
    assert MAKE == ["make run", "make test"]
    assert len(TYPED) > 10 and TYPED[0].startswith("mkdir -p ~/.openclaw")


async def test_the_commands_of_the_readme_in_order(shell: Shell, api: TelegramApi) -> None:
    """From nothing to two bots: the key is stored, the bot connects, a stranger is let in and answered."""
    await prepare(shell, api)
    for line in TYPED:
        own = line.replace("YOUR_ID", str(STRANGER))
        if line.endswith("CODE"):
            own = line.replace("CODE", await code_for_a_stranger(api))
        done = await shell.type(own, stdin=token_for(own))
        assert done.code == 0, (own, done)
        for start, effect in EFFECTS.items():
            if line.startswith(start):
                await effect(shell, api, done.out)
    assert EFFECTS.keys() <= {start for start in EFFECTS for line in TYPED if line.startswith(start)}
    await answered(api)


async def prepare(shell: Shell, api: TelegramApi) -> None:
    """The only thing a reader does not do: the fake platform in the place of Telegram."""
    shell.state.mkdir(mode=0o700)
    (shell.state / "openclaw.json").write_text(
        f'{{\n  // mine\n  channels: {{ telegram: {{ apiRoot: "{api.url}" }} }},\n}}\n'
    )


def token_for(line: str) -> str:
    return BOTS.get(line.rpartition(" ")[2], "") + "\n" if "channels login" in line else ""


async def key_is_stored(shell: Shell, api: TelegramApi, out: str) -> None:
    assert (shell.state / ".env").read_text() == "ANTHROPIC_API_KEY=sk-ant-your-key\n"
    # A reader's key works; this one would be tried at the vendor's, which a test must not do.
    (shell.state / ".env").unlink()


async def bot_is_stored(shell: Shell, api: TelegramApi, out: str) -> None:
    assert out == 'Logged in: Telegram account "default" (@default_bot)\n'
    assert shell.config()["channels"]["telegram"]["botToken"] == BOTS["default"]
    assert "// mine" in (shell.state / "openclaw.json").read_text()
    assert stat.S_IMODE((shell.state / "openclaw.json").stat().st_mode) == 0o600


async def gateway_runs(shell: Shell, api: TelegramApi, out: str) -> None:
    status = await shell.value("openclaw gateway status --json")
    assert status["rpc"]["ok"] and status["version"]


async def bot_is_connected(shell: Shell, api: TelegramApi, out: str) -> None:
    line = next(line for line in out.splitlines() if line.startswith("- Telegram default"))
    assert " connected" in line and "works" in line and "@default_bot" in line


async def agent_is_added(shell: Shell, api: TelegramApi, out: str) -> None:
    assert (shell.state / "workspace-work" / "SOUL.md").exists()


async def both_bots_are_shown(shell: Shell, api: TelegramApi, out: str) -> None:
    assert any("work" in line and "Telegram" in line and "│" in line for line in out.splitlines())


async def route_is_explained(shell: Shell, api: TelegramApi, out: str) -> None:
    assert "work" in out


async def walls_stand(shell: Shell, api: TelegramApi, out: str) -> None:
    assert "by 2 workers" in out and ", 0 NOT HELD," in out


async def sandbox_is_asked_for(shell: Shell, api: TelegramApi, out: str) -> None:
    family = shell.config()["agents"]["list"][2]
    assert (family["id"], family["sandbox"]) == ("family", {"mode": "all"})


async def log_is_shown(shell: Shell, api: TelegramApi, out: str) -> None:
    assert 1 < len(out.splitlines()) <= 51


#: What a line promises, by its beginning.
EFFECTS = {
    "mkdir -p ~/.openclaw": key_is_stored,
    "openclaw channels login --channel telegram --account default": bot_is_stored,
    "openclaw gateway start": gateway_runs,
    "openclaw channels status --probe": bot_is_connected,
    "openclaw agents add work": agent_is_added,
    "openclaw agents list --bindings": both_bots_are_shown,
    "openclaw doctor --isolation": walls_stand,
    "openclaw routes explain": route_is_explained,
    "openclaw config set 'agents.list[2].sandbox'": sandbox_is_asked_for,
    "openclaw logs --lines 50": log_is_shown,
}


async def code_for_a_stranger(api: TelegramApi) -> str:
    """Write to the bot, which does not know us, and read the code in its answer."""
    api.world.push_text(BOTS["default"], chat=STRANGER, user=STRANGER, text="hello")
    (offer,) = await api.world.wait_sent(1, BOTS["default"], timeout=20)
    found = re.search(r"\b[A-HJ-NP-Z2-9]{8}\b", offer.text)
    assert found, offer.text
    return found[0]


async def answered(api: TelegramApi) -> None:
    """Let in, the same person gets an answer."""
    before = len(api.world.sent(BOTS["default"]))
    api.world.push_text(BOTS["default"], chat=STRANGER, user=STRANGER, text="and again")
    sent = await api.world.wait_sent(before + 1, BOTS["default"], timeout=20)
    assert sent[-1].chat_id == STRANGER


@pytest.mark.parametrize("target", [line.split()[1] for line in MAKE])
def test_make_knows_the_targets_of_the_readme(target: str) -> None:
    """What make would do, without doing it: its own environment first, then our command."""
    assert {"run": "openclaw gateway run --allow-unconfigured", "test": "-m pytest"}[target] in planned(target)


def planned(target: str) -> str:
    """What make would run. These tests may themselves be run by a make, whose settings it would inherit."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "--no-print-directory", target]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout


async def test_what_make_run_starts_prints_an_address_that_opens() -> None:
    """The last command of `make run`, as make gives it, at a terminal, in a home of its own; Ctrl-C ends it."""
    line = planned("run").splitlines()[-1]
    program = line.replace(".venv/bin/openclaw", str(COMMANDS / "openclaw")).split()
    async with clean_machine() as shell:
        terminal, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *program, cwd=shell.folder, env=shell.environ, stdin=theirs, stdout=theirs, stderr=theirs,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )  # fmt: skip
        os.close(theirs)
        try:
            async with asyncio.timeout(60):
                address = await asyncio.to_thread(printed_address, terminal)
                assert "<html" in await asyncio.to_thread(opened, address)
                os.write(terminal, b"\x03")
                rest = asyncio.create_task(asyncio.to_thread(read_all, terminal))
                assert await process.wait() == 0
                assert "stopped" in await rest
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            os.close(terminal)


def printed_address(terminal: int) -> str:
    """The first address that appears, whole."""
    seen = b""
    while not (found := re.search(rb"http://127\.0\.0\.1:\d+/\S*(?=\s)", seen)):
        seen += os.read(terminal, 4096)
    return found[0].decode()


def read_all(terminal: int) -> str:
    """What comes until the other end is closed, which Linux tells by EIO."""
    seen = b""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 4096):
            seen += data
    return seen.decode()


def opened(address: str) -> str:
    with urlopen(address.partition("#")[0], timeout=10) as response:
        return str(response.read().decode()).lower()
