"""`openclaw gateway run` where it cannot run: a clear error, the right exit code, nothing changed."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway, Ran


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as made:
        yield made


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def is_clear(ran: Ran) -> None:
    assert "Traceback" not in ran.out + ran.err, ran
    assert ran.err.startswith("error: ") or "Config invalid" in ran.err or "Invalid config" in ran.err, ran
    assert ran.out == "", ran


async def test_a_port_in_use_is_named_and_nothing_stays_running(gateway: Gateway) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", gateway.port))
        taken.listen()
        ran = await gateway.run("gateway", "run")
    is_clear(ran)
    assert ran.code == 1
    assert str(gateway.port) in ran.err and "in use" in ran.err and "hint:" in ran.err


async def test_a_second_gateway_on_the_same_state_folder_names_the_first(gateway: Gateway) -> None:
    await gateway.start()
    assert gateway.process is not None
    before = {gateway.pid(name) for name in ("supervisor", "router", "cliproxy", "zygote")}
    ran = await gateway.run("gateway", "run", "--port", "0")
    is_clear(ran)
    assert ran.code == 1
    assert str(gateway.pid("supervisor")) in ran.err
    assert {gateway.pid(name) for name in ("supervisor", "router", "cliproxy", "zygote")} == before


async def test_a_state_folder_that_cannot_be_written_is_named(gateway: Gateway) -> None:
    """Even root cannot make a folder in /proc."""
    gateway.environ |= {
        "OPENCLAW_STATE_DIR": "/proc/openclaw",
        "OPENCLAW_CONFIG_PATH": str(gateway.state / "openclaw.json"),
    }
    before = tree(gateway.home)
    ran = await gateway.run("gateway", "run")
    is_clear(ran)
    assert ran.code == 1
    assert "/proc/openclaw" in ran.err and "hint:" in ran.err
    assert tree(gateway.home) == before


async def test_a_state_folder_with_a_path_too_long_for_a_socket_is_named(gateway: Gateway) -> None:
    gateway.environ |= {"OPENCLAW_STATE_DIR": str(gateway.home / ("x" * 100)), "OPENCLAW_GATEWAY_TOKEN": "t" * 20}
    ran = await gateway.run("gateway", "run", "--allow-unconfigured")
    assert ran.code == 1, ran
    assert "107" in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{ agents: { list: [ { id: 'main' } ] \n  bindings: [] }", ["JSON5 parse failed", "2:"]),
        ("{ agentz: {} }", ['Unrecognized key: "agentz"', "agents"]),
        ("{ agents: { list: [ { id: 'a', wrkspace: '/x' } ] } }", ["agents.list.0", "wrkspace", "workspace"]),
        ("{ gateway: { port: 'many' } }", ["gateway.port", "expected"]),
        (
            "{ bindings: [ { agentId: 'ghost', match: { channel: 'irc' } } ], agents: { list: [{ id: 'a' }] } }",
            ["ghost"],
        ),
    ],
    ids=["broken JSON5", "unknown section", "unknown key", "bad type", "unknown agent"],
)
async def test_a_config_that_is_wrong_starts_nothing_and_is_left_as_it_is(
    gateway: Gateway, text: str, words: list[str]
) -> None:
    config = gateway.state / "openclaw.json"
    config.write_text(text)
    ran = await gateway.run("gateway", "run")
    assert ran.code == 1, ran
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran
    assert config.read_text() == text
    assert not gateway.processes()
