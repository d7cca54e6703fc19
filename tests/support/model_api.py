"""Fake model vendors: Anthropic Messages and OpenAI Chat Completions on one port.

In tests: `async with ModelApi() as api:` then `api.url`, `api.script("sk-key", Reply(...))`, `api.seen`. For chaos and
bench: `python -m tests.support.model_api --port 9000` (or `--unix PATH`) answers at once.

Without a script the answer follows the last user text: `use tool exec {"command": "echo hi"}` asks for that tool and
later quotes its result; `fault 529`, `fault cut`, `fault garbage`, `fault error` go wrong; anything else is echoed. It
refuses what the vendors refuse (`model_rules`), so that it judges our requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support import model_wire as wire
from tests.support.model_rules import judge_anthropic, judge_openai

_USE_TOOL = re.compile(r"use tool (\S+) (\{.*\})\s*\Z", re.DOTALL)
_FAULT = re.compile(r"fault (\d+|cut|garbage|error)\b")
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}


@dataclass(frozen=True)
class Reply:
    """One answer and how it goes wrong. `after` counts stream events sent before the fault happens.

    `gate` is awaited after `after` events; `pause` is seconds between events; `raw` replaces the whole stream.
    """

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    status: int = 200
    message: str = ""
    kind: str = ""
    retry_after: str | None = None
    after: int = 4
    cut: bool = False
    garbage: bool = False
    error_event: str = ""
    gate: asyncio.Event | None = None
    pause: float = 0.0
    whole: bool = False
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Seen:
    """One request as it arrived. `gone` is set when the client went away before the answer was complete."""

    path: str
    key: str
    headers: dict[str, str]
    body: Any
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class ModelApi:
    """Both vendors on one port of 127.0.0.1, or on a unix socket."""

    def __init__(self, *, keys: set[str] | None = None, models: tuple[str, ...] = ("fake-1",)) -> None:
        self.keys = keys
        self.models = models
        self.seen: deque[Seen] = deque(maxlen=2000)
        self.counts: Counter[str] = Counter()
        self.busy_every = 0
        self.cut_every = 0
        self.url = ""
        self._scripts: dict[str, deque[Reply]] = {}
        self._runner: web.ServerRunner | None = None
        self._arrived = asyncio.Event()

    def script(self, key: str, *replies: Reply) -> None:
        """Answer the next requests with this key so; then the default again."""
        self._scripts.setdefault(key, deque()).extend(replies)

    async def start(self, *, port: int = 0, unix: str = "") -> None:
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        if unix:
            await web.UnixSite(self._runner, unix).start()
            return
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> ModelApi:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def arrived(self, count: int) -> None:
        """Wait until `count` requests have come in."""
        while len(self.seen) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = re.sub(r"^/v1(/v1)?", "", request.path)
        if request.method == "GET" and path == "/models":
            listed = [{"id": model, "object": "model", "owned_by": "fake"} for model in self.models]
            return web.json_response({"object": "list", "data": listed})
        if request.method == "GET" and path == "/counts":
            return web.json_response(self.counts)
        if request.method == "POST" and path in ("/messages", "/chat/completions"):
            vendor = _Anthropic() if path == "/messages" else _OpenAI()
            return await self._ask(request, vendor)
        return web.json_response({"error": {"message": f"no such path {request.path}"}}, status=404)

    async def _ask(self, request: web.BaseRequest, vendor: _Anthropic | _OpenAI) -> web.StreamResponse:
        body = _decoded(b"".join([chunk async for chunk in request.content.iter_any()]))
        seen = Seen(request.path, vendor.key(request), {k.lower(): v for k, v in request.headers.items()}, body)
        self.seen.append(seen)
        self.counts[seen.key] += 1
        self.counts["total"] += 1
        self._arrived.set()
        reply = vendor.refuse(request, seen, self.keys) or self._reply(seen.key, body, vendor)
        try:
            return await _answer(request, reply, body, vendor)
        except (asyncio.CancelledError, ConnectionError):
            seen.gone.set()
            raise

    def _reply(self, key: str, body: Any, vendor: _Anthropic | _OpenAI) -> Reply:
        total = self.counts["total"]
        if self.busy_every and total % self.busy_every == 0:
            return Reply(status=429, retry_after="0")
        if self.cut_every and total % self.cut_every == 0:
            return Reply("cut off", cut=True)
        script = self._scripts.get(key)
        return script.popleft() if script else default_reply(*vendor.last(body))


def default_reply(text: str, result: str | None) -> Reply:
    """What an unscripted request is answered with: `result` is the last tool result, if that came last."""
    if result is not None:
        return Reply(f"tool said: {result}")
    if found := _USE_TOOL.search(text):
        with contextlib.suppress(json.JSONDecodeError):
            return Reply(calls=((found[1], json.loads(found[2])),))
    if found := _FAULT.search(text):
        if found[1].isdigit():
            return Reply(status=int(found[1]), retry_after="1")
        return Reply("half of it", cut=found[1] == "cut", garbage=found[1] == "garbage", error_event=_error(found[1]))
    return Reply(f"echo: {text}")


def _error(kind: str) -> str:
    return "overloaded_error" if kind == "error" else ""


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


#: Both versions the vendor serves (platform.claude.com, "Versions"); the newer one knows no sampling parameters.
_VERSIONS = ("2023-06-01", "2026-10-21")
_SAMPLING = {"temperature", "top_p", "top_k"}


class _Anthropic:
    def key(self, request: web.BaseRequest) -> str:
        """The vendor takes either header; its own SDK went from the first to the second with version 2."""
        return request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")

    def refuse(self, request: web.BaseRequest, seen: Seen, keys: set[str] | None) -> Reply | None:
        if not seen.key:
            return Reply(status=401, message="x-api-key header is required")
        if keys is not None and seen.key not in keys:
            return Reply(status=401, message="invalid x-api-key")
        version = request.headers.get("anthropic-version", "")
        if version not in _VERSIONS:
            return Reply(status=400, message="anthropic-version: header is required")
        complaint = judge_anthropic(seen.body)
        if not complaint and version == _VERSIONS[1] and (found := _SAMPLING.intersection(seen.body)):
            complaint = f"{found.pop()}: Extra inputs are not permitted"
        return Reply(status=400, message=complaint) if complaint else None

    def error(self, kind: str, message: str) -> bytes:
        return wire.anthropic_error(kind, message)

    def error_event(self, kind: str) -> bytes:
        return b"event: error\ndata: " + wire.anthropic_error(kind, "Overloaded") + b"\n\n"

    def events(self, body: Any, reply: Reply, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> list[bytes]:
        return wire.anthropic_events(body["model"], reply.text, calls, usage)

    def whole(self, body: Any, reply: Reply, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> bytes:
        return wire.anthropic_whole(body["model"], reply.text, calls, usage)

    def last(self, body: Any) -> tuple[str, str | None]:
        content = body["messages"][-1]["content"]
        if isinstance(content, str):
            return content, None
        results = [_flat(block.get("content")) for block in content if block["type"] == "tool_result"]
        texts = [block["text"] for block in content if block["type"] == "text"]
        return (texts[-1], None) if texts else ("", "\n".join(results))


class _OpenAI:
    def key(self, request: web.BaseRequest) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def refuse(self, request: web.BaseRequest, seen: Seen, keys: set[str] | None) -> Reply | None:
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return Reply(status=401, message="You didn't provide an API key.")
        if keys is not None and seen.key not in keys:
            # A careless copy quotes the whole key; the proxy must not pass that on.
            return Reply(status=401, message=f"Incorrect API key provided: {seen.key}.")
        complaint = judge_openai(seen.body)
        return Reply(status=400, message=complaint) if complaint else None

    def error(self, kind: str, message: str) -> bytes:
        return wire.openai_error(kind, message)

    def error_event(self, kind: str) -> bytes:
        return b"data: " + wire.openai_error("server_error", "The server had an error") + b"\n\n"

    def events(self, body: Any, reply: Reply, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> list[bytes]:
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        return wire.openai_events(body["model"], reply.text, calls, usage, asked)

    def whole(self, body: Any, reply: Reply, calls: list[tuple[str, str, Any]], usage: tuple[int, int]) -> bytes:
        return wire.openai_whole(body["model"], reply.text, calls, usage)

    def last(self, body: Any) -> tuple[str, str | None]:
        message = body["messages"][-1]
        return ("", _flat(message["content"])) if message["role"] == "tool" else (_flat(message["content"]), None)


def _flat(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content or ())


async def _answer(
    request: web.BaseRequest, reply: Reply, body: Any, vendor: _Anthropic | _OpenAI
) -> web.StreamResponse:
    headers = {"request-id": "req_fake", **dict(reply.headers)}
    if reply.status != 200:
        if reply.retry_after is not None:
            headers["Retry-After"] = reply.retry_after
        kind = reply.kind or _KINDS.get(reply.status, "api_error")
        said = vendor.error(kind, reply.message or f"fake failure {reply.status}")
        return web.Response(status=reply.status, body=said, content_type=wire.JSON, headers=headers)
    calls = [(f"toolu_{len(body['messages'])}_{at}", *call) for at, call in enumerate(reply.calls)]
    usage = (len(body["messages"]) * 10, len(reply.text))
    if reply.whole or not body.get("stream"):
        said = vendor.whole(body, reply, calls, usage)
        return web.Response(body=said, content_type=wire.JSON, headers=headers)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **headers})
    await response.prepare(request)
    events = [reply.raw] if reply.raw is not None else vendor.events(body, reply, calls, usage)
    await _send(request, response, reply, events, vendor)
    return response


async def _send(
    request: web.BaseRequest,
    response: web.StreamResponse,
    reply: Reply,
    events: list[bytes],
    vendor: _Anthropic | _OpenAI,
) -> None:
    if not (reply.cut or reply.garbage or reply.error_event or reply.gate or reply.pause):
        await response.write(b"".join(events))
        return
    for at, event in enumerate(events):
        if at == reply.after and not await _go_wrong(request, response, reply, vendor):
            return
        await response.write(event)
        if reply.pause:
            await asyncio.sleep(reply.pause)


async def _go_wrong(
    request: web.BaseRequest, response: web.StreamResponse, reply: Reply, vendor: _Anthropic | _OpenAI
) -> bool:
    """True when the stream goes on."""
    if reply.gate is not None:
        await reply.gate.wait()
    if reply.garbage:
        await response.write(b"data: {not json\xff\n\n")
    if reply.error_event:
        await response.write(vendor.error_event(reply.error_event))
        return False
    if reply.cut and request.transport is not None:
        request.transport.abort()
        return False
    return True


async def _serve(options: argparse.Namespace) -> None:
    api = ModelApi(models=tuple(options.model or ["fake-1"]))
    api.busy_every, api.cut_every = options.busy_every, options.cut_every
    await api.start(port=options.port, unix=options.unix)
    print(api.url or options.unix, flush=True)
    await asyncio.Event().wait()


def main() -> int:
    """Serve until interrupted; prints the address first."""
    parser = argparse.ArgumentParser(prog="model_api", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix", default="")
    parser.add_argument("--model", action="append", help="listed by GET /v1/models; repeatable")
    parser.add_argument("--busy-every", type=int, default=0, help="every n-th request is answered 429")
    parser.add_argument("--cut-every", type=int, default=0, help="every n-th answer is cut in mid stream")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
