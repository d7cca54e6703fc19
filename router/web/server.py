"""The router's one HTTP listener: decides whether a request may pass, and who answers it.

In order: connection limits (`door`), Host and Origin (`origin`), the path, the token (`auth`), then the endpoint
(`api`) or a file of the page (`assets`). Platform webhooks are mounted beside them and bring their own secrets.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Collection

import msgspec
from aiohttp import web

from protocol.errors import Permanent, Temporary, UserError
from router.web import answers, assets
from router.web.answers import Refused
from router.web.api import HEARTBEAT, Api, Endpoint
from router.web.auth import Failures, Token, read_bearer
from router.web.desk import OperatorDesk
from router.web.door import IDLE_SECONDS, Door, Visit
from router.web.origin import is_our_host, is_our_page

log = logging.getLogger(__name__)

#: Seconds given to answers under way when the listener stops.
STOP_SECONDS = 2.0
#: Paths that a webhook may not take over.
OWN_PREFIXES = ("/api", "/v1", "/health", "/healthz", "/ready", "/readyz")

WebhookHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Route(msgspec.Struct, frozen=True):
    method: str
    pattern: str
    endpoint: Endpoint


class WebServer:
    """One listener on `host:port`; port 0 takes a free one.

    `token` opens the API. `names` are further host names by which browsers may reach us (lower case).
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        desk: OperatorDesk,
        *,
        names: Collection[str] = (),
        heartbeat: float = HEARTBEAT,
        idle: float = IDLE_SECONDS,
    ) -> None:
        if not token:
            hint = "openclaw config set gateway.auth.token YOUR-TOKEN"
            raise UserError("the HTTP port needs a token", where="$.gateway.auth.token", hint=hint)
        self._host = host
        self._port = port
        self._names = frozenset(names)
        self._idle = idle
        self._token = Token(token)
        self._failures = Failures()
        self._desk = desk
        self._api = Api(desk, heartbeat=heartbeat)
        self._routes = _api_routes(self._api)
        self._assets = assets.load_assets()
        self._mounted: dict[str, WebhookHandler] = {}
        self._started_at = 0.0
        self._door: Door | None = None
        self._runner: web.ServerRunner | None = None

    def __repr__(self) -> str:
        return f"<WebServer {self._host}:{self._port} {self._door!r} streams={len(self._api.streams)}>"

    async def start(self) -> tuple[str, int]:
        """Listen; returns the address taken. Raises UserError when it cannot be had."""
        self._started_at = time.monotonic()
        self._door = Door(self._answer, idle=self._idle)
        self._runner = web.ServerRunner(self._door, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise _explain(error, self._host, self._port) from None
        self._port = self._runner.addresses[0][1]
        return self._host, self._port

    async def stop(self) -> None:
        """Close the port, end the event streams, give other answers STOP_SECONDS."""
        self._api.close_streams()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def rotate(self, token: str) -> None:
        """From now on only this token opens the API; streams opened with the old one end (FIELD S09)."""
        self._token = Token(token)
        if self._door is not None:
            self._door.distrust()
        self._api.close_streams()

    def mount(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        """Hand requests for exactly `path` to a platform's webhook, which checks its own secret.

        Host and Origin are not checked there: platforms come by a public name. Returns a function that takes the
        path away again. Raises UserError when the path is taken.
        """
        taken = path in self._mounted or path in self._assets or path == "/"
        if taken or not path.startswith("/") or path.startswith(OWN_PREFIXES):
            raise UserError(f"the webhook path {path} is taken")
        self._mounted[path] = handler

        def unmount() -> None:
            self._mounted.pop(path, None)

        return unmount

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request comes here; no exception leaves but the connection's own."""
        try:
            return await self._pass(request)
        except Refused as refused:
            return answers.refuse(refused)
        except (UserError, Temporary, Permanent) as error:
            return answers.refuse(answers.translate(error))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("a web request failed; the client gets status 500 and may repeat it")
            return answers.refuse(Refused(500, "internal error", "internal", hint="openclaw logs --lines 50"))

    async def _pass(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path in self._mounted:
            return await self._mounted[request.path](request)
        self._check_host(request)
        for route in self._routes:
            agent = match(route.pattern, request.path)
            if agent is not None and request.method == route.method:
                return await self._pass_api(request, route, agent)
        return self._answer_openly(request)

    def _check_host(self, request: web.BaseRequest) -> None:
        headers = request.headers
        if not is_our_host(headers.getall("Host", []), self._host, self._names):
            raise Refused(403, "this host name is not ours", "forbidden", hint=f"open http://127.0.0.1:{self._port}/")
        if not is_our_page(headers.getall("Origin", []), headers["Host"], None):
            raise Refused(403, "this page may not ask us", "forbidden")

    async def _pass_api(self, request: web.BaseRequest, route: Route, agent: str) -> web.StreamResponse:
        # A link from elsewhere may open the page, but nothing elsewhere may call the API.
        if not is_our_page((), request.headers["Host"], request.headers.get("Sec-Fetch-Site")):
            raise Refused(403, "this page may not ask us", "forbidden")
        assert self._door is not None
        visit = self._door.visit(request)
        self._authenticate(request, visit)
        return await route.endpoint(request, visit, agent)

    def _authenticate(self, request: web.BaseRequest, visit: Visit) -> None:
        """Raises Refused. A connection that has shown the right token is not held up by a neighbour's guessing."""
        now = time.monotonic()
        wait = self._failures.locked_for(visit.address, now)
        if wait and not visit.proven:
            raise answers.too_many(wait)
        presented = request.headers.getall("Authorization", [])
        visit.proven = self._token.matches(read_bearer(presented))
        if visit.proven:
            return
        # Any credential counts, of whatever scheme (FIELD S04); a request without one has guessed nothing.
        if presented and self._failures.add(visit.address, now):
            log.warning("too many wrong tokens from %s; it is not heard for a minute", visit.address)
        raise answers.unauthorized()

    def _answer_openly(self, request: web.BaseRequest) -> web.StreamResponse:
        """What needs no token: health and the files of the page."""
        if request.method not in ("GET", "HEAD"):
            return answers.not_found()
        if request.path in ("/health", "/healthz"):
            return answers.answer({"ok": True, "status": "live"})
        if request.path in ("/ready", "/readyz"):
            return self._tell_ready()
        asset = assets.pick(self._assets, request.path)
        if asset is None:
            return answers.not_found()
        return assets.serve(asset, request.headers.get("If-None-Match", ""))

    def _tell_ready(self) -> web.Response:
        ready, failing = self._desk.ready()
        uptime = int((time.monotonic() - self._started_at) * 1000)
        return answers.answer({"ready": ready, "failing": failing, "uptimeMs": uptime}, 200 if ready else 503)


def _api_routes(api: Api) -> tuple[Route, ...]:
    return (
        Route("GET", "/api/agents", api.agents),
        Route("GET", "/api/channels", api.channels),
        Route("POST", "/api/agents/{agent}/messages", api.submit),
        Route("GET", "/api/agents/{agent}/history", api.history),
        Route("GET", "/api/agents/{agent}/events", api.events),
    )


def match(pattern: str, path: str) -> str | None:
    """What stands for `{agent}` in `path` (empty where the pattern has none), None when the path is another."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    found = ""
    for want, have in zip(wanted, given, strict=True):
        if want == "{agent}" and have:
            found = have
        elif want != have:
            return None
    return found


def _explain(error: OSError, host: str, port: int) -> UserError:
    where = "$.gateway.port"
    if error.errno == errno.EADDRINUSE:
        return UserError(f"port {port} is in use", where=where, hint=f"openclaw config set gateway.port {port + 1}")
    if error.errno == errno.EACCES:
        hint = "openclaw config set gateway.port 18789"
        return UserError(f"port {port} may only be opened by root", where=where, hint=hint)
    reason = error.strerror or str(error)
    hint = "openclaw config set gateway.bind loopback"
    return UserError(f"cannot listen on {host}: {reason}", where="$.gateway.bind", hint=hint)
