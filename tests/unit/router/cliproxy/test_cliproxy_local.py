"""Model servers of this machine are found by what they answer, and looked for rarely."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from router.cliproxy import local
from router.cliproxy.local import LocalServers, first_model
from tests.support.model_api import ModelApi


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"data": [{"id": "nomic-embed-text"}, {"id": "qwen3:4b"}]}', "qwen3:4b"),
        (b'{"data": []}', ""),
        (b'{"data": [{"id": 3}, 4, {}]}', ""),
        (b'{"data": "x"}', ""),
        (b"[]", ""),
        (b"<html>", ""),
        (b"[" * 9999, ""),
    ],
)
def test_the_first_model_that_can_chat_is_taken(body: bytes, model: str) -> None:
    assert first_model(body) == model


async def test_only_a_server_that_lists_models_is_found() -> None:
    chatty, empty = ModelApi(models=("nomic-embed-text", "llama")), ModelApi(models=())
    async with chatty, empty, aiohttp.ClientSession() as session:
        ports = [int(one.url.rsplit(":", 1)[1]) for one in (empty, chatty)]
        servers = LocalServers(session, (*ports, 1))
        assert dict(await servers.find()) == {f"local-{ports[1]}": "llama"}
        assert servers.known == (f"local-{ports[1]}",)


async def test_what_was_found_is_remembered() -> None:
    async with aiohttp.ClientSession() as session:
        async with ModelApi() as api:
            servers = LocalServers(session, (int(api.url.rsplit(":", 1)[1]),))
            found = await servers.find()
        assert found and await servers.find() is found


async def test_a_server_that_never_answers_or_never_ends_costs_little() -> None:
    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await (silent if request.query else endless)(request)

    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    begin = asyncio.get_running_loop().time()
    async with aiohttp.ClientSession() as session:
        assert not await LocalServers(session, (runner.addresses[0][1],)).find()
    assert asyncio.get_running_loop().time() - begin < local.PROBE_TIMEOUT + 2
    await runner.cleanup()


async def test_no_ports_means_no_look() -> None:
    async with aiohttp.ClientSession() as session:
        assert not await LocalServers(session, ()).find()
