"""The IRC channel against real servers: ngIRCd (plain and TLS), and InspIRCd with Atheme services (SASL, tags)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.channels.base import AccountRejected, AccountTrouble, SendDelayed, SendUncertain
from router.channels.irc import IrcChannel
from router.channels.irc.session import Timing
from tests.support.irc_client import irc_client
from tests.support.irc_host import Host, account, answer, outbound, running
from tests.support.irc_servers import IrcServer, inspircd, make_certificate, ngircd, register_account

#: Flood control for people's networks would only make these tests slow.
FAST = {"floodBurst": 100, "floodInterval": 0.01}


@pytest.fixture
async def plain_server(tmp_path: Path) -> AsyncIterator[IrcServer]:
    async with ngircd(tmp_path) as server:
        yield server


@pytest.fixture
async def services_server(tmp_path: Path) -> AsyncIterator[IrcServer]:
    async with inspircd(tmp_path) as server:
        yield server


def over_tls(server: IrcServer, **more: Any) -> dict[str, Any]:
    tls = {"host": server.host, "port": server.tls_port, "tlsCaFile": server.ca_file}
    return {**tls, "nick": "claw", **FAST, **more}


def unencrypted(server: IrcServer, **more: Any) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "tls": False, "nick": "claw", **FAST, **more}


async def test_a_direct_message_over_tls_is_answered(plain_server: IrcServer) -> None:
    """Ensure the whole way: certificate checked, message in, answer out, receipt only after the server took it."""
    channel = account(over_tls(plain_server))
    async with running(channel) as host, irc_client(plain_server.host, plain_server.port, "ann") as ann:
        assert await host.login() == f"claw@{plain_server.host}"
        ann.say("claw", "\x02hello\x02 there")
        message = await host.message()
        assert (message.text, message.peer.kind, message.peer.id, message.mentioned) == (
            *("hello there", "direct", "ann"),
            None,
        )
        assert message.sender.id == "ann!~ann@127.0.0.1"
        await answer(channel, message, f"you said **{message.text}**")
        assert (await ann.expect("PRIVMSG ann")).endswith(":you said \x02hello there\x02")


async def test_a_mention_in_a_channel_is_answered_there(plain_server: IrcServer) -> None:
    """Ensure that a channel is joined (with its key), mentions are told from other talk, and the answer goes there."""
    channel = account(unencrypted(plain_server, channels=["#Team secret"]))
    async with irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await ann.join("#Team")
        ann.write("MODE #Team +k secret")
        await ann.expect("MODE #Team")
        async with running(channel) as host:
            await ann.expect("claw!.* JOIN")
            ann.say("#Team", "clawing around")
            ann.say("#Team", "Claw: are you there?")
            aside, question = await host.message(), await host.message()
            assert (aside.mentioned, question.mentioned) == (False, True)
            assert (question.peer.kind, question.peer.id) == ("group", "#team")
            await answer(channel, question, "yes")
            assert (await ann.expect("PRIVMSG #Team")).endswith(":yes")


async def test_a_taken_nick_gives_way_and_is_regained(plain_server: IrcServer) -> None:
    """Ensure that a nick in use does not stop the login, and that the own nick comes back once it is free."""
    channel = account(unencrypted(plain_server), Timing(regain=0.1))
    async with irc_client(plain_server.host, plain_server.port, "claw"), running(channel) as host:
        assert await host.login() == f"claw_@{plain_server.host}"
    async with irc_client(plain_server.host, plain_server.port, "ann") as ann, running(channel) as host:
        assert await host.login() == f"claw@{plain_server.host}"
        ann.say("claw", "back again?")
        assert (await host.message()).text == "back again?"


async def test_the_nick_comes_back_without_a_reconnect(plain_server: IrcServer) -> None:
    """Ensure that the periodic attempt gets the nick when its holder leaves."""
    channel = account(unencrypted(plain_server), Timing(regain=0.1))
    async with irc_client(plain_server.host, plain_server.port, "ann") as ann:
        async with irc_client(plain_server.host, plain_server.port, "claw"):
            host = Host()
            task = asyncio.create_task(channel.run(host))
            assert await host.login() == f"claw_@{plain_server.host}"
        ann.write("MONITOR + claw")
        async with asyncio.timeout(5):
            while "as claw," not in repr(channel):
                await ann.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert host.reasons == ["stopped"]


async def test_a_server_restart_is_survived(plain_server: IrcServer) -> None:
    """Ensure that after the server went away in the middle the account is back in its channel and works."""
    channel = account(over_tls(plain_server, channels=["#team"]))
    async with running(channel) as host:
        await host.login()
        await plain_server.kill()
        assert "closed the link" in await host.reason() or "broke" in host.reasons[0]
        with pytest.raises(SendDelayed):
            await channel.send(outbound("ann", "nobody hears this"))
        await plain_server.start()
        await host.login()
        async with irc_client(plain_server.host, plain_server.port, "ann") as ann:
            await ann.join("#team")
            ann.say("#team", "claw, still there?")
            message = await host.message()
            await answer(channel, message, "still here")
            await ann.expect("PRIVMSG #team :still here")
        assert len({message.message_id for message in host.received}) == len(host.received)


async def test_a_long_message_arrives_whole_in_several_lines(plain_server: IrcServer) -> None:
    """Ensure that no line is cut by the server: words, accents and order are kept."""
    words = " ".join(f"größe{number}" for number in range(150))
    channel = account(unencrypted(plain_server))
    async with running(channel) as host, irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await host.login()
        await channel.send(outbound("ann", words))
        lines = [line for line in await ann.settle() if " PRIVMSG ann :" in line]
        assert len(lines) > 2
        assert all(len(line.encode()) <= 510 for line in lines)
        assert " ".join(line.partition(" PRIVMSG ann :")[2] for line in lines) == words


async def test_what_the_server_refuses_is_refused(plain_server: IrcServer) -> None:
    """Ensure that an error for this message (and only this) makes the send fail for good."""
    channel = account(unencrypted(plain_server))
    async with running(channel) as host, irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await host.login()
        results = await asyncio.gather(
            channel.send(outbound("nobody", "hello")),
            channel.send(outbound("ann", "hello")),
            channel.send(outbound("#nowhere", "hello")),
            channel.send(outbound("ann\r\nQUIT", "hello")),
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results] == ["SendRefused", "Receipt", "SendRefused", "SendRefused"]
        assert "(401)" in str(results[0])
        await ann.expect("PRIVMSG ann :hello")


async def test_text_cannot_inject_a_command(plain_server: IrcServer) -> None:
    """Ensure that line breaks in a text become lines of text, and control characters vanish."""
    channel = account(unencrypted(plain_server))
    async with running(channel) as host, irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await host.login()
        await channel.send(outbound("ann", "one\r\nQUIT :two\x00\x01DCC"))
        lines = [line.partition(" PRIVMSG ann :")[2] for line in await ann.settle() if "PRIVMSG" in line]
        assert lines == ["one", "QUIT :twoDCC"]


async def test_a_kick_is_followed_by_coming_back(plain_server: IrcServer, caplog: pytest.LogCaptureFixture) -> None:
    """Ensure that after a kick sends wait, say why, and the operator is told when the channel is joined again."""
    channel = account(unencrypted(plain_server, channels=["#team"]))
    async with irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await ann.join("#team")
        async with running(channel) as host:
            await ann.expect("claw!.* JOIN")
            ann.write("KICK #team claw :too loud")
            await ann.expect("KICK #team claw")
            ann.say("claw", "go on")
            await host.message()
            with pytest.raises(SendDelayed, match="kicked by ann: too loud") as delayed:
                await channel.send(outbound("#team", "hello"))
            assert 0 < (delayed.value.retry_after or 0) <= 10
            assert "#team: kicked by ann" in (await channel.probe()).error
    assert "joining again in 10 s" in caplog.text


async def test_a_ban_is_reported(plain_server: IrcServer) -> None:
    """Ensure that a channel which bans us leaves the account working and shows in the probe."""
    channel = account(unencrypted(plain_server, channels=["#team"]))
    async with irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await ann.join("#team")
        ann.write("MODE #team +b claw!*@*")
        await ann.expect("MODE #team")
        async with running(channel) as host:
            await host.login()
            ann.say("claw", "hello")
            await host.message()
            probe = await channel.probe()
            assert probe.ok and probe.error == "#team: banned from channel (474)"


async def test_ctcp_is_answered_and_action_is_text(plain_server: IrcServer) -> None:
    """Ensure that /me is a message, VERSION is answered a few times only, and notices are left alone."""
    channel = account(unencrypted(plain_server))
    async with running(channel) as host, irc_client(plain_server.host, plain_server.port, "ann") as ann:
        await host.login()
        ann.write("NOTICE claw :I am a bot")
        for _ in range(5):
            ann.say("claw", "\x01VERSION\x01")
        ann.say("claw", "\x01ACTION waves\x01")
        assert (await host.message()).text == "* ann waves"
        await channel.send(outbound("ann", "end"))
        answers = [line for line in await ann.settle() if "NOTICE ann :\x01VERSION OpenClaw" in line]
        assert len(answers) == 3
        assert len(host.received) == 1


async def test_a_certificate_that_is_not_trusted_stops_the_login(plain_server: IrcServer) -> None:
    """Ensure that TLS is verified by default, the message names the key, and tlsInsecure is the way around."""
    settings = over_tls(plain_server)
    del settings["tlsCaFile"]
    with pytest.raises(AccountTrouble, match=r"\$\.channels\.irc\.accounts\.work\.tls: .*not trusted.*tlsCaFile"):
        await account(settings).run(Host())
    assert (await account({**settings, "tlsInsecure": True}).probe()).ok


async def test_a_silent_server_is_noticed_and_a_send_is_uncertain(plain_server: IrcServer) -> None:
    """Ensure that a server that takes bytes but answers nothing does not hang a send or the account."""
    proxy = _Proxy(plain_server)
    await proxy.start()
    channel = account({**unencrypted(plain_server), "port": proxy.port}, Timing(silence=0.3, patience=0.3))
    async with running(channel) as host:
        await host.login()
        proxy.mute = True
        with pytest.raises(SendUncertain):
            await channel.send(outbound("ann", "hello?"))
        assert await host.reason()
        proxy.mute = False
        await host.login()
        proxy.mute = True
        assert "no sign of life" in await host.reason()
    await proxy.close()


async def test_a_wrong_server_password_is_refused(tmp_path: Path) -> None:
    """Ensure that the operator learns which key is wrong, and the secret is not shown."""
    async with ngircd(tmp_path, password="sesame") as server:
        assert (await account(unencrypted(server, password="sesame")).probe()).ok
        probe = await account(unencrypted(server, password="guess-me-not")).probe()
        assert not probe.ok and "guess-me-not" not in probe.error
        assert probe.error.startswith("$.channels.irc.accounts.work.password:")


async def test_sasl_logs_in_and_tags_are_used(services_server: IrcServer) -> None:
    """Ensure SASL PLAIN over TLS, message ids by the server, accounts as sender ids, receipts from the echo."""
    server = services_server
    await register_account(server, "claw", "pw12345")
    channel = account(over_tls(server, sasl={"username": "claw", "password": "pw12345"}, channels=["#team"]))
    async with irc_client(server.host, server.port, "ann") as ann:
        ann.say("NickServ", "REGISTER pw54321 ann@localhost.test")
        await ann.expect("NOTICE ann :.*now registered")
        await ann.join("#team")
        async with running(channel) as host:
            await ann.expect("claw!.* JOIN")
            assert "logged in" in repr(channel)
            ann.say("#team", "claw: hi")
            message = await host.message()
            assert message.sender.id == "ann" and message.sender.username == "ann!ann@127.0.0.1"
            assert message.message_id.startswith("0AA")
            receipt = await answer(channel, message, "hello ann")
            assert receipt.message_id.startswith("0AA")
            await ann.expect("PRIVMSG #team :hello ann")
            await channel.typing(message.reply)
            await channel.send(outbound("claw", "a note to myself"))
        assert host.received == [message]


async def test_a_wrong_sasl_password_names_its_key(services_server: IrcServer) -> None:
    """Ensure AccountRejected (no retry), the config path, and not the secret."""
    await register_account(services_server, "claw", "pw12345")
    channel = account(over_tls(services_server, sasl={"username": "claw", "password": "guess-me-not"}))
    with pytest.raises(AccountRejected) as rejected:
        await channel.run(Host())
    assert "$.channels.irc.accounts.work.sasl.password" in rejected.value.reason
    assert "guess-me-not" not in str(rejected.value)


async def test_sasl_external_uses_the_client_certificate(services_server: IrcServer, tmp_path: Path) -> None:
    """Ensure that a certificate known to services logs in without any password."""
    server = services_server
    certificate, key = await make_certificate(tmp_path, "client")
    await register_account(server, "claw", "pw12345")
    with_key = over_tls(server, tlsCertFile=str(certificate), tlsKeyFile=str(key))
    adding = account({**with_key, "nickserv": {"password": "pw12345"}})
    async with running(adding) as host, irc_client(server.host, server.port, "ann"):
        await host.login()
        await _logged_in(adding)
        await adding.send(outbound("NickServ", "CERT ADD"))
    probe = await account({**with_key, "sasl": {"mechanism": "external", "username": "claw"}}).probe()
    assert probe.ok, probe.error


async def test_nickserv_identifies_and_takes_the_nick_back(services_server: IrcServer) -> None:
    """Ensure that without SASL the nick service logs us in, and a ghost of ours is removed at once."""
    server = services_server
    await register_account(server, "claw", "pw12345")
    channel = account(over_tls(server, nickserv={"password": "pw12345"}, channels=["#team"]))
    async with irc_client(server.host, server.port, "claw"), irc_client(server.host, server.port, "ann") as ann:
        await ann.join("#team")
        async with running(channel) as host:
            assert await host.login() == f"claw_@{server.host}"
            await ann.expect("(claw!.* JOIN|claw_!.* NICK :claw)")
            await _logged_in(channel)
            async with asyncio.timeout(5):
                while "as claw," not in repr(channel):
                    await ann.settle()


async def test_a_wrong_nickserv_password_names_its_key(services_server: IrcServer) -> None:
    """Ensure that a wrong password is not tried again and again until services lock the account."""
    await register_account(services_server, "claw", "pw12345")
    channel = account(over_tls(services_server, nickserv={"password": "guess-me-not"}))
    with pytest.raises(AccountRejected, match=r"\$\.channels\.irc\.accounts\.work\.nickserv\.password"):
        async with asyncio.timeout(10):
            await channel.run(Host())


async def test_missing_sasl_is_temporary(plain_server: IrcServer) -> None:
    """Ensure that a server without SASL is not joined unidentified when SASL was asked for."""
    channel = account(over_tls(plain_server, sasl={"username": "claw", "password": "pw12345"}))
    with pytest.raises(AccountTrouble, match="offers no SASL"):
        await channel.run(Host())


async def _logged_in(channel: IrcChannel) -> None:
    async with asyncio.timeout(10):
        while "logged in" not in repr(channel):
            await asyncio.sleep(0.02)


class _Proxy:
    """Passes bytes between the account and the server, and stops passing the server's on demand."""

    def __init__(self, server: IrcServer) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.mute = False
        self.port = 0

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, there_writer, False))
                group.create_task(self._pass(there_reader, writer, True))
        finally:
            for each in (writer, there_writer):
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_server: bool) -> None:
        try:
            while data := await reader.read(4096):
                if not (from_server and self.mute):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        writer.close()

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()
        await self._listener.wait_closed()
