"""The whole gateway on real IRC servers: direct and in a channel, nick in use, SASL, and a server that goes away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.irc_client import irc_client
from tests.support.irc_servers import inspircd, ngircd, register_account
from tests.support.model_api import ModelApi

OPEN = {"dmPolicy": "open", "allowFrom": ["*"], "groupPolicy": "open", "floodBurst": 100, "floodInterval": 0.01}


def config(models: ModelApi, **account: Any) -> dict[str, Any]:
    return {
        "agents": {
            "defaults": {"model": "openai/fake-1"},
            "list": [{"id": "main", "identity": {"name": "Claw"}}, {"id": "chan"}],
        },
        "bindings": [{"agentId": "chan", "match": {"channel": "irc", "peer": {"kind": "channel", "id": "#team"}}}],
        "channels": {"irc": {**OPEN, **account}},
        "models": {"providers": {"openai": {"baseUrl": f"{models.url}/v1", "apiKey": "sk-test-0123456789abcdef"}}},
    }


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as made:
        yield made


async def wait_connected(gateway: Gateway) -> None:
    """Until `openclaw health` shows the account connected."""
    for _ in range(100):
        ran = await gateway.run("channels", "status")
        if "disconnected" not in ran.out and "connected" in ran.out:
            return
    raise AssertionError(gateway.output())


async def test_direct_messages_and_mentions_are_answered_and_a_server_restart_is_survived(
    gateway: Gateway, tmp_path: Path
) -> None:
    async with ModelApi() as models, ngircd(tmp_path) as server:
        account = {"host": server.host, "port": server.tls_port, "tlsCaFile": str(server.ca_file)}
        async with irc_client(server.host, server.port, "claw") as squatter:
            gateway.write(config(models, **account, nick="claw", channels=["#team"]))
            await gateway.start()
            await wait_connected(gateway)
            async with irc_client(server.host, server.port, "ann") as ann:
                await ann.join("#team")
                ann.say("claw_", "the nick was taken")
                assert (await ann.expect("PRIVMSG ann")).endswith(":echo: the nick was taken")
                ann.say("#team", "nobody is meant")
                ann.say("#team", "claw_: and you?")
                await ann.expect("claw_!.* PRIVMSG #team :.*and you")
                answers = [line for line in await ann.settle() if ":echo: " in line]
                assert len(answers) == 1, "what was not meant for it is history of the next turn, not a turn"
                assert "nobody is meant" in answers[0]
            await squatter.close()
        await server.restart()
        await wait_connected(gateway)
        async with irc_client(server.host, server.port, "bob") as bob:
            bob.write("WHOIS claw")
            bob.say("claw", "back again?")
            bob.say("claw_", "back again?")
            assert (await bob.expect("PRIVMSG bob")).endswith(":echo: back again?")
        ran = await gateway.run("agents", "list", "--bindings")
        assert "chan" in ran.out and "irc" in ran.out


async def test_a_login_by_sasl_and_a_wrong_password_that_stops_only_itself(gateway: Gateway, tmp_path: Path) -> None:
    async with ModelApi() as models, inspircd(tmp_path) as server:
        await register_account(server, "claw", "right-password-1")
        base = {"host": server.host, "port": server.tls_port, "tlsCaFile": str(server.ca_file)}
        good = {"username": "claw", "password": "right-password-1"}
        bad = {"username": "claw", "password": "wrong-password-9"}
        whole = config(models)
        whole["channels"]["irc"]["accounts"] = {
            "default": {**base, "nick": "claw", "sasl": good},
            "broken": {**base, "nick": "other", "sasl": bad},
        }
        gateway.write(whole)
        await gateway.start()
        async with irc_client(server.host, server.port, "ann") as ann:
            for _ in range(50):
                status = await gateway.run("channels", "status")
                if "broken" in status.out and "disconnected" in status.out and ", connected" in status.out:
                    break
            ann.say("claw", "hello")
            assert (await ann.expect("PRIVMSG ann")).endswith(":echo: hello")
        line = next(line for line in status.out.splitlines() if "broken" in line)
        assert "disconnected" in line and "sasl" in line.lower(), status.out
        assert "wrong-password-9" not in status.out + gateway.output()
