"""The cliproxy's socket: workers ask here where their model is, and send their questions through.

Who asks is known by the token alone; a body, a path or a header cannot change whose key is used. In this order: the
token, the route or the provider's name, the credential, the forward. Errors are told in the caller's format.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from protocol.model_route import PROXY_VERSION, PROXY_VERSION_HEADER, ROUTE_PATH, Route
from protocol.slices_proxy import AgentSlice, ProxySlice
from router.cliproxy import faults
from router.cliproxy.accounts import Asker, Missing, resolve
from router.cliproxy.faults import Fault
from router.cliproxy.forward import Limits, Upstream, check, forward
from router.cliproxy.ledger import Entry, Ledger
from router.cliproxy.local import LocalServers
from router.cliproxy.profiles import ProfileFiles
from router.cliproxy.providers import Provider, table
from router.cliproxy.routes import Directory, decide

log = logging.getLogger("cliproxy")

_PATH = re.compile(r"/p/([a-z0-9._-]{1,64})/(v1/messages|chat/completions)\Z")
_APIS = {"v1/messages": "anthropic-messages", "chat/completions": "openai-completions"}
#: Seconds a connection to a vendor is kept for the next question; vendors keep theirs for a minute and more.
KEEP_ALIVE = 30.0


class Status(msgspec.Struct, frozen=True):
    """What an operator may see: no keys, no tokens, no texts."""

    agents: tuple[str, ...]
    local_servers: tuple[str, ...]
    usage: tuple[Entry, ...]


class _View:
    """One configuration, immutable: requests that run keep theirs when it changes."""

    def __init__(self, settings: ProxySlice, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.providers: Mapping[str, Provider] = table(settings)
        self.agents: Mapping[str, AgentSlice] = {agent.token_sha256: agent for agent in settings.agents}
        self.local = LocalServers(session, settings.local_ports)


class Proxy:
    """The whole proxy in one loop: `start`, `update` any number of times, `stop`."""

    def __init__(self, settings: ProxySlice, *, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        self._ledger = Ledger()
        self._profiles = ProfileFiles()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    def __repr__(self) -> str:
        return f"Proxy({len(self._settings.agents)} agents, {self._ledger!r})"

    async def start(self) -> None:
        """Listen on the slice's socket, which only our uid may open. Raises OSError."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )
        self._view = _View(self._settings, self._session)
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0)
        await self._runner.setup()
        self._socket = await _listen(self._runner, Path(self._settings.socket))

    async def stop(self, grace: float = 0.0) -> None:
        """Take nothing new, let running requests go on for `grace` seconds, close."""
        runner = self._runner
        if runner is not None and runner.server is not None:
            for site in runner.sites:
                await site.stop()
            runner.server.pre_shutdown()
            await runner.server.shutdown(grace)
            await runner.cleanup()
            _remove(*self._socket)
        if self._session is not None:
            await self._session.close()

    def update(self, settings: ProxySlice) -> None:
        """Use another configuration from the next request on. The socket stays where it is."""
        if self._session is not None:
            self._settings = settings
            self._view = _View(settings, self._session)

    def status(self) -> Status:
        """The counts since the start."""
        agents = tuple(agent.agent for agent in self._settings.agents)
        return Status(agents, self._view.local.known, self._ledger.entries())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        api = "anthropic-messages" if request.path.endswith("/messages") else "openai-completions"
        try:
            return await self._dispatch(request)
        except Fault as fault:
            extra = {"Retry-After": fault.retry_after} if fault.retry_after else None
            said = faults.body(fault, api)
            response = web.Response(status=fault.status, body=said, content_type="application/json", headers=extra)
            if not request.content.at_eof():
                # What is left of the question must not be taken for the next one.
                response.force_close()
            return response

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        view = self._view
        agent = _identify(request, view)
        if request.headers.get(PROXY_VERSION_HEADER) != PROXY_VERSION:
            raise Fault(400, f"this proxy speaks version {PROXY_VERSION}: restart the worker")
        if request.method == "GET" and request.path == ROUTE_PATH:
            route = await self._route(view, agent, request.query.get("model", ""))
            return web.Response(body=msgspec.json.encode(route), content_type="application/json")
        found = _PATH.match(request.path) if request.method == "POST" else None
        if found is None:
            raise Fault(404, "no such path")
        return await self._ask(request, view, agent, found[1], _APIS[found[2]])

    async def _route(self, view: _View, agent: AgentSlice, model: str) -> Route:
        asker = Asker(agent, self._profiles.read(agent.agent_dir))
        directory = Directory(asker, view.settings, view.providers, time.time())
        route = decide(directory, model, None) or decide(directory, model, await view.local.find())
        assert route is not None  # decide answers when it knows the local servers
        return route

    async def _ask(
        self, request: web.BaseRequest, view: _View, agent: AgentSlice, name: str, api: str
    ) -> web.StreamResponse:
        provider = view.providers.get(name)
        if provider is None or provider.api != api:
            raise Fault(404, f'provider "{name}" is not served here in this format')
        check(request)
        if self._ledger.in_flight(agent.agent) >= self._limits.in_flight:
            raise Fault(429, f'agent "{agent.agent}" has too many questions open', retry_after="1")
        upstream = self._upstream(view, agent, provider)
        call = self._ledger.begin(agent.agent, name)
        try:
            return await forward(request, upstream, self._connections, call, self._limits)
        except Fault as fault:
            if fault.status != 401:
                call.fail(fault.message)
                log.warning("agent %s: %s", agent.agent, fault.message)
            raise
        finally:
            call.end()

    def _upstream(self, view: _View, agent: AgentSlice, provider: Provider) -> Upstream:
        asker = Asker(agent, self._profiles.read(agent.agent_dir))
        found = resolve(asker, provider, view.settings, time.time())
        if isinstance(found, Missing):
            raise Fault(401, found.reason)
        return Upstream(agent.agent, provider, found)

    @property
    def _connections(self) -> aiohttp.ClientSession:
        assert self._session is not None  # requests only come after start
        return self._session


def _identify(request: web.BaseRequest, view: _View) -> AgentSlice:
    """The agent whose token this is. Only its hash is looked up, so nothing in the header can mean anything else."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    agent = view.agents.get(digest) if kind.lower() == "bearer" else None
    if agent is None:
        raise Fault(401, "unknown proxy token")
    return agent


async def _listen(runner: web.ServerRunner, path: Path) -> tuple[Path, int]:
    """The socket's path and inode. Agents have users of their own and come in by their tokens; everybody else is kept
    out by the folder above (0700), which is covered for agents but for this one."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.chmod(path.parent, 0o711)
    await web.UnixSite(runner, path).start()
    os.chmod(path, 0o666)
    return path, os.stat(path).st_ino


def _remove(path: Path, inode: int) -> None:
    """Take our socket away, unless a later proxy has already put its own there."""
    with suppress(FileNotFoundError):
        if os.stat(path).st_ino == inode:
            path.unlink()
