"""The HTTP listener on a real loopback port: shapes of SPEC 7.2, and the attacks of FIELD D.1 and S22."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from protocol.control import AccountStatus
from protocol.envelope import MAX_TEXT
from protocol.errors import Permanent, Temporary, UserError
from router.web.body import MAX_BODY
from router.web.server import WebServer
from tests.support.fake_desk import FakeDesk

TOKEN = "a-token-that-is-long-enough-for-anybody"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer wrong"}


class Client:
    """A client of one server; `get` and `post` give status, headers and body."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any, str]:
        async with self.session.get(self.url + path, headers=RIGHT if headers is None else headers) as response:
            return response.status, response.headers, await response.text()

    async def post(self, path: str, body: bytes | str, headers: dict[str, str] | None = None) -> tuple[int, Any, str]:
        sent = {"Content-Type": "application/json", **RIGHT, **(headers or {})}
        async with self.session.post(self.url + path, data=body, headers=sent) as response:
            return response.status, response.headers, await response.text()

    async def say(self, text: str, key: str = "key-00000001", agent: str = "main") -> tuple[int, Any, str]:
        return await self.post(f"/api/agents/{agent}/messages", json.dumps({"text": text, "key": key}))


@pytest.fixture
async def desk() -> AsyncIterator[FakeDesk]:
    desk = FakeDesk()
    yield desk
    await desk.close()


@pytest.fixture
async def server(desk: FakeDesk) -> AsyncIterator[WebServer]:
    server = WebServer("127.0.0.1", 0, TOKEN, desk, heartbeat=0.05, idle=0.5)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: WebServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"http://127.0.0.1:{server._port}")


def _error(body: str) -> dict[str, str]:
    error: dict[str, str] = json.loads(body)["error"]
    return error


# --- open answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/healthz"])
async def test_health_needs_no_token(client: Client, path: str) -> None:
    status, _, body = await client.get(path, {})
    assert (status, json.loads(body)) == (200, {"ok": True, "status": "live"})


@pytest.mark.parametrize("path", ["/ready", "/readyz"])
async def test_ready_names_what_fails(client: Client, desk: FakeDesk, path: str) -> None:
    status, _, body = await client.get(path, {})
    found = json.loads(body)
    assert status == 200
    assert found.pop("uptimeMs") >= 0
    assert found == {"ready": True, "failing": []}
    desk.failing = ["telegram"]
    status, _, body = await client.get(path, {})
    assert (status, json.loads(body)["failing"]) == (503, ["telegram"])


@pytest.mark.parametrize("path", ["/", "/chat/main"])
async def test_the_page_is_served_for_paths_that_name_no_file(client: Client, path: str) -> None:
    status, headers, body = await client.get(path, {})
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>OpenClaw" in body


@pytest.mark.parametrize("path", ["/api/nothing", "/api", "/v1/nothing", "/nothing.js", "/../server.py", "/.git"])
async def test_unknown_paths_are_not_found(client: Client, path: str) -> None:
    status, _, body = await client.get(path, {})
    assert (status, body) == (404, "Not Found")


async def test_posting_to_an_unknown_path_is_not_found(client: Client) -> None:
    status, _, body = await client.post("/nope", "{}")
    assert (status, body) == (404, "Not Found")


async def test_an_unchanged_file_is_not_sent_again(client: Client) -> None:
    _, headers, _ = await client.get("/app.js", {})
    status, _, body = await client.get("/app.js", {"If-None-Match": headers["ETag"]})
    assert (status, body) == (304, "")


@pytest.mark.parametrize("path", ["/", "/app.js", "/health", "/api/agents", "/nothing.js"])
async def test_every_answer_carries_the_safe_headers(client: Client, path: str) -> None:
    """No inline script, no frame, no sniffing, no referrer, no version of the server."""
    _, headers, _ = await client.get(path, {})
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "openclaw"
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Origin" not in headers


async def test_no_file_of_the_page_holds_the_token(client: Client) -> None:
    """FIELD S11: nothing served without the token gives it away."""
    for path in ("/", "/app.js", "/style.css", "/icon.svg", "/health", "/ready"):
        assert TOKEN not in (await client.get(path, {}))[2]


# --- who may ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        WRONG,
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Cookie": f"token={TOKEN}"},
        {"X-OpenClaw-Token": TOKEN},
    ],
)
async def test_only_the_token_in_its_header_opens_the_api(client: Client, headers: dict[str, str]) -> None:
    """FIELD S03, S05: no cookie, no other header, no wrong token."""
    status, found, body = await client.get("/api/agents", headers)
    assert status == 401
    assert json.loads(body) == {"error": {"message": "Unauthorized", "type": "unauthorized"}}
    assert found["WWW-Authenticate"] == "Bearer"


async def test_a_token_in_the_address_is_not_looked_at(client: Client) -> None:
    """FIELD S11: addresses end up in logs and histories."""
    status, _, _ = await client.get(f"/api/agents?token={TOKEN}&access_token={TOKEN}", {})
    assert status == 401


async def test_guessing_is_locked_on_loopback_too(client: Client, server: WebServer) -> None:
    """FIELD S02: after ten wrong tokens not even the right one is heard from a new connection."""
    for _ in range(10):
        assert (await client.get("/api/agents", {**WRONG, "Connection": "close"}))[0] == 401
    status, headers, body = await client.get("/api/agents", {**RIGHT, "Connection": "close"})
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert _error(body)["type"] == "rate_limited"


async def test_another_scheme_does_not_switch_the_limit_off(client: Client) -> None:
    """FIELD S04: the limit is on credentials of any kind."""
    for _ in range(10):
        await client.get("/api/agents", {"Authorization": "Basic eDp5"})
    assert (await client.get("/api/agents", {**WRONG, "Connection": "close"}))[0] == 429


async def test_asking_without_any_token_locks_nobody(client: Client) -> None:
    for _ in range(15):
        assert (await client.get("/api/agents", {}))[0] == 401
    assert (await client.get("/api/agents"))[0] == 200


async def test_a_proven_connection_is_not_held_up_by_guessers(client: Client, server: WebServer) -> None:
    """Somebody on the same machine cannot shut the operator out of an open page."""
    assert (await client.get("/api/agents"))[0] == 200
    async with aiohttp.ClientSession() as other:
        guesser = Client(other, client.url)
        for _ in range(11):
            status, _, _ = await guesser.get("/api/agents", WRONG)
        assert status == 429
    assert (await client.get("/api/agents"))[0] == 200


async def test_the_lock_is_told_in_the_log_without_the_guess(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            await client.get("/api/agents", {"Authorization": "Bearer my-guess"})
    assert "too many wrong tokens from loopback" in caplog.text
    assert "my-guess" not in caplog.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:18789", "localhost.evil.example"])
@pytest.mark.parametrize("path", ["/", "/api/agents", "/health"])
async def test_a_foreign_host_name_is_refused(client: Client, host: str, path: str) -> None:
    """DNS rebinding: the attacker's name points at us."""
    status, _, body = await client.get(path, {**RIGHT, "Host": host})
    assert (status, _error(body)["type"]) == (403, "forbidden")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "http://localhost:3000"])
async def test_a_foreign_page_is_refused_even_with_the_token(client: Client, desk: FakeDesk, origin: str) -> None:
    """FIELD S03: and it is refused before the token is looked at, so that it cannot lock anybody out either."""
    for _ in range(12):
        status, _, body = await client.post("/api/agents/main/messages", "{}", {"Origin": origin, **WRONG})
        assert (status, _error(body)["type"]) == (403, "forbidden")
    assert (await client.get("/api/agents"))[0] == 200
    assert desk.submitted == {}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_foreign_fetch_is_refused_but_a_link_opens_the_page(client: Client, site: str) -> None:
    assert (await client.get("/api/agents", {**RIGHT, "Sec-Fetch-Site": site}))[0] == 403
    assert (await client.get("/", {"Sec-Fetch-Site": site}))[0] == 200


async def test_our_own_page_may_ask(client: Client) -> None:
    headers = {**RIGHT, "Origin": client.url, "Sec-Fetch-Site": "same-origin"}
    assert (await client.get("/api/agents", headers))[0] == 200


async def test_an_old_token_is_dead_the_moment_it_is_replaced(client: Client, server: WebServer) -> None:
    """FIELD S09: requests fail and open streams end."""
    async with client.session.get(f"{client.url}/api/agents/main/events", headers=RIGHT) as stream:
        server.rotate("another-token")
        async with asyncio.timeout(1):
            await stream.content.read()
    assert (await client.get("/api/agents"))[0] == 401
    assert (await client.get("/api/agents", {"Authorization": "Bearer another-token"}))[0] == 200


def test_a_server_without_a_token_does_not_exist() -> None:
    """FIELD S14."""
    with pytest.raises(UserError, match="needs a token") as caught:
        WebServer("127.0.0.1", 0, "", FakeDesk())
    assert caught.value.where == "$.gateway.auth.token"


async def test_a_port_in_use_is_told_with_a_hint(server: WebServer, desk: FakeDesk) -> None:
    port = server._port
    with pytest.raises(UserError) as caught:
        await WebServer("127.0.0.1", port, TOKEN, desk).start()
    assert caught.value.message == f"port {port} is in use"
    assert caught.value.hint == f"openclaw config set gateway.port {port + 1}"


async def test_an_address_of_another_machine_is_told(desk: FakeDesk) -> None:
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1"):
        await WebServer("192.0.2.1", 0, TOKEN, desk).start()


# --- the API -----------------------------------------------------------------------------------------------------


async def test_agents_are_listed(client: Client) -> None:
    found = json.loads((await client.get("/api/agents"))[2])["agents"]
    assert found[0] == {"id": "main", "name": "Main", "emoji": "🦞", "is_default": True, "state": "ready", "detail": ""}


async def test_channel_accounts_are_listed(client: Client, desk: FakeDesk) -> None:
    down = AccountStatus(channel="irc", account="a", enabled=True, configured=True, running=True, connected=False)
    desk.account_list = [msgspec.structs.replace(down, error="x")]
    found = json.loads((await client.get("/api/channels"))[2])["accounts"]
    assert (found[0]["channel"], found[0]["connected"], found[0]["error"]) == ("irc", False, "x")


async def test_a_message_is_taken_over_and_answered(client: Client) -> None:
    status, _, body = await client.say("hello")
    assert (status, json.loads(body)) == (202, {"id": "web-1"})
    async with asyncio.timeout(5):
        while True:
            found = json.loads((await client.get("/api/agents/main/history"))[2])
            if not found["pending"]:
                break
    assert [(line["role"], line["text"]) for line in found["entries"]] == [
        ("user", "hello"),
        ("assistant", "You said: hello"),
    ]


async def test_the_same_key_again_is_the_same_message(client: Client, desk: FakeDesk) -> None:
    first, second = await client.say("hello"), await client.say("hello")
    assert first[2] == second[2]
    assert len(desk.submitted) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{}", 400),
        ("", 400),
        ("nonsense", 400),
        ("[" * 100_000, 400),
        ('{"text": "", "key": "key-00000001"}', 400),
        ('{"text": " \\n ", "key": "key-00000001"}', 400),
        ('{"text": 5, "key": "key-00000001"}', 400),
        ('{"text": "x", "key": "k"}', 400),
        ('{"text": "x", "key": "../../etc/passwd"}', 400),
        ('{"text": "x", "key": "key-00000001", "agent": "family"}', 400),
        (json.dumps({"text": "x" * (MAX_TEXT + 1), "key": "key-00000001"}), 400),
        (b'{"text": "\xff", "key": "key-00000001"}', 400),
        ("x" * (MAX_BODY + 1), 413),
    ],
)
async def test_a_malformed_message_is_refused(client: Client, desk: FakeDesk, body: bytes | str, status: int) -> None:
    found, _, text = await client.post("/api/agents/main/messages", body)
    assert found == status
    assert _error(text)["message"]
    assert desk.submitted == {}


async def test_the_longest_text_passes_in_any_script(client: Client, desk: FakeDesk) -> None:
    """The byte limit must not cut short what the character limit allows."""
    body = json.dumps({"text": "한" * MAX_TEXT, "key": "key-00000001"}, ensure_ascii=False)
    assert (await client.post("/api/agents/main/messages", body))[0] == 202


async def test_a_form_of_a_foreign_page_is_not_json(client: Client) -> None:
    """The content types a foreign page may send without asking are refused."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        status, _, _ = await client.post("/api/agents/main/messages", "{}", {"Content-Type": kind})
        assert status == 415


@pytest.mark.parametrize("path", ["/api/agents/nobody/history", "/api/agents/nobody/events"])
async def test_an_unknown_agent_is_told_with_a_hint(client: Client, path: str) -> None:
    status, _, body = await client.get(path)
    assert (status, _error(body)["hint"]) == (404, "openclaw agents list")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UserError("no such thing", hint="openclaw agents list"), 400, "invalid_request"),
        (Temporary("the disk is full", retry_after=3.2), 503, "temporary"),
        (Permanent("never"), 502, "permanent"),
        (RuntimeError("inner detail"), 500, "internal"),
    ],
)
async def test_what_the_desk_raises_becomes_an_answer(
    client: Client, desk: FakeDesk, error: Exception, status: int, kind: str
) -> None:
    """A fault of ours tells no inner detail."""
    desk.refuse = error
    found, headers, body = await client.say("hello")
    assert (found, _error(body)["type"]) == (status, kind)
    assert "inner detail" not in body
    assert headers.get("Retry-After") == ("4" if status == 503 else None)


async def test_history_without_the_worker_still_tells_what_waits(client: Client, desk: FakeDesk) -> None:
    desk.open_gate.clear()
    desk.silent = True
    await client.say("hello")
    status, _, body = await client.get("/api/agents/main/history")
    found = json.loads(body)
    assert (status, found["entries"], found["problem"]) == (200, [], "the worker did not answer in time")
    assert [line["text"] for line in found["pending"]] == ["hello"]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1e9", "999999"])
async def test_a_senseless_history_limit_is_refused(client: Client, limit: str) -> None:
    assert (await client.get(f"/api/agents/main/history?limit={limit}"))[0] == 400


# --- the event stream --------------------------------------------------------------------------------------------


async def test_events_are_streamed_as_they_happen(client: Client) -> None:
    async with client.session.get(f"{client.url}/api/agents/main/events", headers=RIGHT) as stream:
        assert stream.content_type == "application/x-ndjson"
        await client.say("hi there")
        kinds = []
        async with asyncio.timeout(5):
            async for line in stream.content:
                if line.strip():
                    kinds.append(json.loads(line)["type"])
                if kinds and kinds[-1] == "Ended":
                    break
    assert kinds == ["UserSaid", "Doing", "Growing", "Growing", "Growing", "Growing", "Said", "Ended"]


async def test_a_silent_stream_has_a_heartbeat(client: Client) -> None:
    async with client.session.get(f"{client.url}/api/agents/main/events", headers=RIGHT) as stream:
        async with asyncio.timeout(5):
            assert [await stream.content.readline() for _ in range(2)] == [b"\n", b"\n"]


async def test_a_reader_that_left_is_forgotten_at_once(client: Client, desk: FakeDesk, server: WebServer) -> None:
    """Without waiting for the next event or heartbeat."""
    response = await client.session.get(f"{client.url}/api/agents/main/events", headers=RIGHT)
    assert desk.feed.watched("main")
    response.close()
    async with asyncio.timeout(5):
        while desk.feed.watched("main"):
            await asyncio.sleep(0.01)
    assert "streams=0" in repr(server)


async def test_stopping_ends_the_streams_quickly(client: Client, server: WebServer) -> None:
    async with client.session.get(f"{client.url}/api/agents/main/events", headers=RIGHT) as stream:
        async with asyncio.timeout(1.5):
            await server.stop()
            await stream.content.read()


async def test_a_stream_needs_the_token_before_it_opens(client: Client, desk: FakeDesk) -> None:
    """FIELD S15."""
    assert (await client.get("/api/agents/main/events", {}))[0] == 401
    assert not desk.feed.watched("main")


async def test_too_many_streams_are_refused(client: Client, desk: FakeDesk) -> None:
    """FIELD S15."""
    desk.feed._limit = 0
    status, headers, _ = await client.get("/api/agents/main/events")
    assert (status, headers["Retry-After"]) == (503, "30")


# --- slow, many, broken ------------------------------------------------------------------------------------------


async def _connect(server: WebServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server._port)


async def _ends(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes, which it must do soon."""
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_a_connection_that_says_nothing_is_closed(server: WebServer) -> None:
    reader, writer = await _connect(server)
    assert await _ends(reader) == b""
    writer.close()


async def test_a_header_sent_drop_by_drop_is_not_waited_for(server: WebServer) -> None:
    """FIELD S22: bytes that keep coming do not prolong the time for a header."""
    reader, writer = await _connect(server)
    ended = asyncio.create_task(_ends(reader))
    writer.write(b"GET / HTTP/1.1\r\n")
    for _ in range(100):
        if ended.done() or writer.is_closing():
            break
        writer.write(b"x")
        await asyncio.sleep(0.05)
    assert await ended == b""
    writer.close()


async def test_a_huge_header_is_refused(server: WebServer) -> None:
    reader, writer = await _connect(server)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
    assert b" 400 " in (await _ends(reader)).split(b"\r\n")[0]
    writer.close()


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: WebServer, desk: FakeDesk) -> None:
    """FIELD S22: by its announced length."""
    reader, writer = await _connect(server)
    writer.write(_head(f"Content-Length: {10**12}"))
    assert b" 413 " in (await _ends(reader)).split(b"\r\n")[0]
    writer.close()


async def test_an_endless_chunked_body_is_cut(server: WebServer) -> None:
    """FIELD S22: without an announced length."""
    reader, writer = await _connect(server)
    writer.write(_head("Transfer-Encoding: chunked"))
    writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    assert b" 413 " in (await _ends(reader)).split(b"\r\n")[0]
    writer.close()


def _head(length: str) -> bytes:
    lines = (
        "POST /api/agents/main/messages HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: application/json",
        length,
    )
    return "\r\n".join((*lines, "", "")).encode()


async def test_two_host_headers_are_refused(server: WebServer) -> None:
    reader, writer = await _connect(server)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert (await _ends(reader)).split(b"\r\n")[0].split()[1] in (b"400", b"403")
    writer.close()


# --- webhooks ----------------------------------------------------------------------------------------------------


async def _hook(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"heard {request.method}")


async def test_a_mounted_webhook_answers_under_its_public_name(client: Client, server: WebServer) -> None:
    """It brings its own secret, so neither token nor Host is asked for; nothing else opens with it."""
    unmount = server.mount("/telegram-webhook", _hook)
    assert (await client.post("/telegram-webhook", "", {"Host": "bots.example"}))[2] == "heard POST"
    assert (await client.get("/api/agents", {"Host": "bots.example"}))[0] == 403
    unmount()
    assert (await client.post("/telegram-webhook", ""))[0] == 404


@pytest.mark.parametrize("path", ["/", "/api/agents", "/app.js", "/healthz", "relative", "/hook"])
async def test_a_webhook_cannot_take_a_path_that_is_taken(server: WebServer, path: str) -> None:
    server.mount("/hook", _hook)
    with pytest.raises(UserError, match="is taken"):
        server.mount(path, _hook)
