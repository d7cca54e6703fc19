"""Real IRC servers on loopback, each with its own folder and ephemeral ports: ngircd, InspIRCd with Atheme services.

A missing binary skips the test on a laptop and fails it in CI, where the absence of a judge must not look like a pass.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.irc_client import irc_client

HOST = "127.0.0.1"
_START = 10.0
_SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def binary(name: str) -> str:
    """Where the server is installed."""
    return shutil.which(name, path=_SBIN) or _missing(name)


def _missing(name: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI has to run this test")
    pytest.skip(f"{name} is not installed")


def free_ports(count: int) -> list[int]:
    """Ports free a moment ago, all different."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def run_tool(*words: str) -> None:
    """Run a command to its end; its words are shown if it fails."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{words}: {output.decode(errors='replace')}"


async def make_certificate(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key, made now."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    await run_tool(
        *(binary("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    return certificate, key


async def _make_dh_parameters(folder: Path) -> Path:
    """A named group: without it ngircd computes one at every start, which can take seconds."""
    file = folder / "dh.pem"
    await run_tool(
        binary("openssl"), "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", str(file)
    )
    return file


class Daemon:
    """A server process in the foreground, started and stopped by us, that listens on `port` when it is ready."""

    def __init__(self, folder: Path, command: list[str], port: int | None) -> None:
        self._folder = folder
        self._command = command
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self._folder / "output.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )
        if self._port is not None:
            await self._wait_for_port(self._process, self._port)

    async def _wait_for_port(self, process: asyncio.subprocess.Process, port: int) -> None:
        async with asyncio.timeout(_START):
            while not await _listens(port):
                assert process.returncode is None, (self._folder / "output.log").read_text(errors="replace")
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End the process; its clients see the link break."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(3):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End it without a word to its clients."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def restart(self) -> None:
        """Stop, and start again on the same ports."""
        await self.stop()
        await self.start()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


class IrcServer:
    """What a test needs to know of a running server."""

    def __init__(self, daemon: Daemon, port: int, tls_port: int, ca_file: Path) -> None:
        self.host = HOST
        self.port = port
        self.tls_port = tls_port
        self.ca_file = str(ca_file)
        self.stop = daemon.stop
        self.start = daemon.start
        self.kill = daemon.kill
        self.restart = daemon.restart


_NGIRCD = """
[Global]
Name = irc.test.local
Info = test server
AdminInfo1 = test
Listen = 127.0.0.1
Ports = {port}
Password = {password}
MotdPhrase = "welcome"
[Limits]
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 20
MaxPenaltyTime = 0
[Options]
Ident = no
DNS = no
PAM = no
[SSL]
CertFile = {certificate}
KeyFile = {key}
DHFile = {dh}
Ports = {tls_port}
"""


@asynccontextmanager
async def ngircd(folder: Path, *, password: str = "") -> AsyncIterator[IrcServer]:
    """ngIRCd, plain and TLS: no capabilities to speak of, no services."""
    program = binary("ngircd")
    port, tls_port = free_ports(2)
    certificate, key = await make_certificate(folder)
    config = folder / "ngircd.conf"
    values = {"port": port, "tls_port": tls_port, "certificate": certificate, "key": key, "password": password}
    config.write_text(_NGIRCD.format(**values, dh=await _make_dh_parameters(folder)))
    daemon = Daemon(folder, [program, "-n", "-f", str(config)], port)
    try:
        await daemon.start()
        yield IrcServer(daemon, port, tls_port, certificate)
    finally:
        await daemon.stop()


_INSPIRCD_MODULES = (
    *("ssl_gnutls", "sslinfo", "cap", "ircv3", "ircv3_accounttag", "ircv3_batch", "ircv3_capnotify", "ircv3_ctctags"),
    *("ircv3_echomessage", "ircv3_labeledresponse", "ircv3_msgid", "ircv3_servertime", "services_account", "sasl"),
    *("spanningtree", "deaf", "servprotect", "botmode", "hidechans", "callerid"),
)

_INSPIRCD = """
<server name="irc.test.local" description="test server" network="TestNet" id="0AA">
<admin name="test" nick="test" email="test@localhost">
<bind address="127.0.0.1" port="{port}" type="clients">
<bind address="127.0.0.1" port="{tls_port}" type="clients" sslprofile="tls">
<bind address="127.0.0.1" port="{link_port}" type="servers">
<sslprofile name="tls" provider="gnutls" certfile="{certificate}" keyfile="{key}" requestclientcert="yes" hash="sha256">
<sasl target="services.test.local" requiressl="no">
<uline server="services.test.local" silent="yes">
<link name="services.test.local" ipaddr="127.0.0.1" port="{link_port}" allowmask="127.0.0.1"
      sendpass="linkword" recvpass="linkword">
<connect name="main" allow="*" timeout="20" pingfreq="2m" recvq="10K" softsendq="10K" hardsendq="1M" threshold="1000"
         commandrate="100000" fakelag="no" localmax="100" globalmax="100" resolvehostnames="no" useident="no">
<options casemapping="rfc1459">
<limits maxnick="30">
<pid file="{folder}/inspircd.pid">
<log method="file" type="*" level="default" target="{folder}/inspircd.log">
"""

_ATHEME_MODULES = (
    *("protocol/inspircd", "backend/opensex", "crypto/pbkdf2v2", "nickserv/main", "nickserv/ghost"),
    *("nickserv/identify", "nickserv/register", "nickserv/cert", "nickserv/set_core", "saslserv/main"),
    *("saslserv/plain", "saslserv/external"),
)

_ATHEME = """
crypto {{ pbkdf2v2_digest = "SHA256"; pbkdf2v2_rounds = 10000; }};
serverinfo {{
  name = "services.test.local"; desc = "services"; numeric = "00A"; recontime = 1; netname = "TestNet";
  adminname = "test"; adminemail = "test@localhost"; registeremail = "test@localhost"; mta = "/bin/true";
  maxlogins = 10; maxusers = 100; auth = none; casemapping = rfc1459;
}};
uplink "irc.test.local" {{
  host = "127.0.0.1"; send_password = "linkword"; receive_password = "linkword"; port = {link_port};
}};
nickserv {{ nick = "NickServ"; user = "NickServ"; host = "services.test.local"; real = "nicks"; }};
saslserv {{ nick = "SaslServ"; user = "SaslServ"; host = "services.test.local"; real = "logins"; }};
general {{ permissive_mode; commit_interval = 60; }};
logfile "{folder}/atheme.log" {{ error; info; }};
"""


@asynccontextmanager
async def inspircd(folder: Path) -> AsyncIterator[IrcServer]:
    """InspIRCd linked with Atheme: SASL PLAIN and EXTERNAL, NickServ, the IRCv3 tags. Ready when SASL is offered."""
    programs = binary("inspircd"), binary("atheme-services")
    port, tls_port, link_port = free_ports(3)
    certificate, key = await make_certificate(folder)
    values = {"port": port, "tls_port": tls_port, "link_port": link_port, "certificate": certificate, "key": key}
    server = Daemon(folder, _inspircd_command(programs[0], folder, values), port)
    services = Daemon(folder, _atheme_command(programs[1], folder, link_port), None)
    try:
        await server.start()
        await services.start()
        await _wait_for_sasl(port)
        yield IrcServer(server, port, tls_port, certificate)
    finally:
        await services.stop()
        await server.stop()


def _inspircd_command(program: str, folder: Path, values: dict[str, object]) -> list[str]:
    modules = "".join(f'<module name="{name}">\n' for name in _INSPIRCD_MODULES)
    config = folder / "inspircd.conf"
    config.write_text(modules + _INSPIRCD.format(folder=folder, **values))
    as_root = ["--runasroot"] if os.geteuid() == 0 else []
    return [program, *as_root, "--nofork", f"--config={config}"]


def _atheme_command(program: str, folder: Path, link_port: int) -> list[str]:
    modules = "".join(f'loadmodule "modules/{name}";\n' for name in _ATHEME_MODULES)
    config = folder / "atheme.conf"
    config.write_text(modules + _ATHEME.format(folder=folder, link_port=link_port))
    data = folder / "atheme"
    data.mkdir()
    return [program, "-n", "-c", str(config), "-D", str(data), "-p", str(data / "pid"), "-l", str(data / "log")]


async def _wait_for_sasl(port: int) -> None:
    """The server tells of SASL (at once, or by CAP NEW) when services have linked."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"CAP LS 302\r\n")
    try:
        async with asyncio.timeout(_START):
            while b"sasl" not in await reader.readline():
                assert not reader.at_eof(), "the server closed the link"
    finally:
        writer.close()
        await writer.wait_closed()


async def register_account(server: IrcServer, nick: str, password: str) -> None:
    """Make an account with NickServ, as a person would; its owner then leaves."""
    async with irc_client(server.host, server.port, nick) as client:
        client.say("NickServ", f"REGISTER {password} {nick}@localhost.test")
        await client.expect(rf"NOTICE {nick} :.*now registered")
