"""The cliproxy on a real socket, with fake vendors behind it: whose key is used, how it streams, how it fails."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from protocol import messages as m
from protocol.model_route import PROXY_VERSION, PROXY_VERSION_HEADER
from protocol.pipe import Pipe, make_pair
from protocol.slices_proxy import ProviderSlice, ProxySlice
from router.cliproxy.forward import MAX_BODY, Limits
from tests.support.model_api import ModelApi, Reply
from tests.support.proxy_rig import ECHO_TOOL, Rig, agent, ask, question, rig
from worker.llm.base import ContextOverflow, ModelBusy, ModelRefused, TextDelta
from worker.llm.client import ProxyClient, RoutedModel

ANTHROPIC, OPENAI = "anthropic/claude-x", "openai/gpt-5.5"
BOTH = pytest.mark.parametrize("model", [ANTHROPIC, OPENAI])
BODY = {"model": "c", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


@asynccontextmanager
async def raw(found: Rig, token: str = "token-main") -> AsyncIterator[aiohttp.ClientSession]:
    """A client that says what it likes."""
    headers = {"authorization": f"Bearer {token}", PROXY_VERSION_HEADER: PROXY_VERSION}
    connector = aiohttp.UnixConnector(found.settings.socket)
    async with aiohttp.ClientSession("http://cliproxy", headers=headers, connector=connector) as session:
        yield session


def store(folder: Path, name: str, key: str, provider: str = "anthropic", kind: str = "api_key") -> None:
    profile = {"type": kind, "provider": provider, "key": key}
    path = folder / "agents" / name / "auth-profiles.json"
    path.write_text(json.dumps({"version": 1, "profiles": {f"{provider}:default": profile}}))


# --- whose key ---------------------------------------------------------------------------------------------------


async def test_two_agents_ask_at_the_same_time_and_each_pays_with_its_own_key(tmp_path: Path) -> None:
    agents = (agent(tmp_path, "a", "sk-client-a"), agent(tmp_path, "b"), agent(tmp_path, "c"))
    store(tmp_path, "b", "sk-client-b")
    async with rig(tmp_path, *agents, environ={"ANTHROPIC_API_KEY": "sk-env"}) as found:
        models = {name: found.model(name) for name in "abc"}
        await asyncio.gather(*(ask(models[name], question(f"from {name}")) for name in "abc" * 10))
        paid = {(seen.key, seen.body["messages"][-1]["content"][0]["text"]) for seen in found.api.seen}
    assert paid == {("sk-client-a", "from a"), ("sk-client-b", "from b"), ("sk-env", "from c")}


async def test_a_profile_file_that_appears_or_changes_is_used_at_the_next_question(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        assert (await found.client().route(ANTHROPIC)).source == "none needed"
        for key in ("sk-first", "sk-second-longer"):
            store(tmp_path, "main", key)
            await ask(found.model(), question("hi"))
        assert [seen.key for seen in found.api.seen] == ["sk-first", "sk-second-longer"]


async def test_an_agent_without_a_key_never_gets_anothers(tmp_path: Path) -> None:
    async with rig(tmp_path, agent(tmp_path, "rich", "sk-rich"), agent(tmp_path, "poor"), providers=()) as found:
        route = await found.client("poor").route("")
        assert route.api == "offline" and "No model is configured" in route.reason
        path = "/p/anthropic/v1/messages"
        async with raw(found, "token-poor") as session, session.post(path, json=BODY) as response:
            assert response.status == 401 and "No API key found" in await response.text()


async def test_a_copied_profile_file_shares_the_key_on_purpose(tmp_path: Path) -> None:
    agents = (agent(tmp_path, "a"), agent(tmp_path, "b"))
    store(tmp_path, "a", "sk-shared")
    (tmp_path / "agents/b/auth-profiles.json").write_bytes((tmp_path / "agents/a/auth-profiles.json").read_bytes())
    async with rig(tmp_path, *agents) as found:
        await ask(found.model("b"), question("hi"))
        assert found.api.seen[0].key == "sk-shared"


async def test_an_unknown_token_is_turned_away_before_anything_else(tmp_path: Path) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        with pytest.raises(ModelRefused, match="unknown proxy token"):
            await found.client(token="' OR 1=1 --").route("")
        for header in ("", "Bearer", "Basic dG9rZW4tbWFpbg==", "Bearer token-main extra", "Bearer \xff\xfe"):
            given = {"authorization": header}
            async with raw(found) as session, session.get("/v1/route", headers=given) as response:
                assert response.status == 401
        assert not found.api.seen


async def test_a_worker_of_another_version_is_told_to_restart(tmp_path: Path) -> None:
    given = {PROXY_VERSION_HEADER: "99"}
    async with rig(tmp_path) as found, raw(found) as session, session.get("/v1/route", headers=given) as response:
        assert response.status == 400 and "restart the worker" in await response.text()


async def test_nothing_in_a_request_moves_it_to_another_address_or_key(tmp_path: Path) -> None:
    evil = ModelApi()
    async with evil, rig(tmp_path, agent(tmp_path, key="sk-own")) as found, raw(found) as session:
        headers = {"x-api-key": "sk-mine", "Host": evil.url[7:], "X-Forwarded-Host": evil.url[7:]}
        for path in ("/p/anthropic/v1/messages?base_url=" + evil.url, "/p/anthropic/v1/messages"):
            async with session.post(path, json=BODY, headers=headers) as response:
                assert response.status == 200
        assert {seen.key for seen in found.api.seen} == {"sk-own"} and not evil.seen
        for path in ("/p/..%2fx/v1/messages", "/p/nosuch/v1/messages", "/p/openai/v1/messages", "/p/anthropic/v1/x"):
            async with session.post(path, json=BODY) as response:
                assert response.status == 404


# --- asking ------------------------------------------------------------------------------------------------------


@BOTH
async def test_text_streams_through_before_the_answer_is_complete(tmp_path: Path, model: str) -> None:
    gate = asyncio.Event()
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        found.api.script("sk-own", Reply("one two three four", gate=gate, after=4))
        stream = found.model().stream(question("hi", model))
        assert isinstance(await anext(stream), TextDelta)
        gate.set()
        rest = [event async for event in stream]
        assert rest[-1].turn.text == "one two three four"  # type: ignore[union-attr]


@BOTH
async def test_a_reader_that_leaves_cancels_the_question_at_the_vendor(tmp_path: Path, model: str) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        found.api.script("sk-own", Reply("one two three four", gate=asyncio.Event(), after=4))
        stream = found.model().stream(question("hi", model))
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            await found.api.seen[0].gone.wait()
        assert (await ask(found.model(), question("still there?", model)))[1].turn.text == "echo: still there?"


@BOTH
async def test_a_server_that_does_not_stream_is_understood(tmp_path: Path, model: str) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        found.api.script("sk-own", Reply("all at once", calls=(("exec", {"command": "ls"}),), whole=True))
        _, last = await ask(found.model(), question("hi", model, ECHO_TOOL))
        assert last.turn.text == "all at once" and last.turn.calls[0].arguments == {"command": "ls"}


@BOTH
async def test_a_large_question_passes_whole(tmp_path: Path, model: str) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        await ask(found.model(), question("x" * 3_000_000, model))
        assert len(json.dumps(found.api.seen[0].body)) > 3_000_000


async def test_a_local_server_is_found_and_used_without_any_key(tmp_path: Path) -> None:
    async with ModelApi(models=("nomic-embed", "qwen3:4b")) as api:
        port = int(api.url.rsplit(":", 1)[1])
        async with rig(tmp_path, providers=(), local_ports=(port,)) as found:
            route = await found.client().route("")
            assert (route.api, route.provider, route.model) == ("openai-completions", f"local-{port}", "qwen3:4b")
            assert (await ask(found.model(), question("hi", "")))[1].turn.text == "echo: hi"
            assert api.seen[0].key == "no-key-needed"


async def test_without_anything_the_offline_model_answers_with_hints(tmp_path: Path) -> None:
    async with rig(tmp_path, providers=()) as found:
        _, last = await ask(found.model(), question("hello?", ANTHROPIC))
        for part in (
            "hello?",
            'No API key found for provider "anthropic"',
            "openclaw config set env.ANTHROPIC_API_KEY ",
            "auth-profiles",
        ):
            assert part in last.turn.text


async def test_an_update_counts_from_the_next_question_on(tmp_path: Path) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-old"), agent(tmp_path, "gone")) as found:
        await ask(found.model(), question("1"))
        found.proxy.update(msgspec.structs.replace(found.settings, agents=(agent(tmp_path, key="sk-new"),)))
        await ask(found.model(), question("2"))
        assert [seen.key for seen in found.api.seen] == ["sk-old", "sk-new"]
        with pytest.raises(ModelRefused, match="unknown proxy token"):
            await found.client("gone").route("")


async def test_the_status_counts_requests_tokens_and_errors(tmp_path: Path) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        await ask(found.model(), question("hi"))
        with pytest.raises(ModelBusy):
            await ask(found.model(), question("fault 529"))
        (entry,) = found.proxy.status().usage
        assert (entry.agent, entry.provider, entry.requests, entry.errors) == ("main", "anthropic", 2, 1)
        assert (entry.input_tokens, entry.output_tokens, entry.in_flight) == (10, len("echo: hi"), 0)
        assert entry.last_error == "HTTP 529 from anthropic"


# --- failing -----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("reply", "expected", "pause"),
    [
        (Reply(status=429, retry_after="7"), ModelBusy, 7.0),
        (Reply(status=529), ModelBusy, None),
        (Reply(status=500), ModelBusy, None),
        (Reply(status=400, message="prompt is too long: 9 > 8"), ContextOverflow, None),
        (Reply(status=404, message="no such model"), ModelRefused, None),
        (Reply(status=302, headers=(("Location", "http://127.0.0.1:1/"),)), ModelBusy, None),
        (Reply("half of it", cut=True), ModelBusy, None),
        (Reply("half of it", garbage=True), ModelBusy, None),
        (Reply("half of it", error_event="overloaded_error"), ModelBusy, None),
        (Reply(raw=b"data: {}"), ModelBusy, None),
    ],
)
async def test_each_failure_is_busy_or_refused_as_it_should(
    tmp_path: Path, model: str, reply: Reply, expected: type[ModelBusy | ModelRefused], pause: float | None
) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        found.api.script("sk-own", reply)
        with pytest.raises(expected) as caught:
            await ask(found.model(), question("hi", model))
        assert type(caught.value) is expected
        if pause is not None:
            assert getattr(caught.value, "retry_after", None) == pause
        assert (await ask(found.model(), question("better?", model)))[1].turn.text == "echo: better?"


async def test_a_vendor_that_is_away_or_silent_is_busy(tmp_path: Path) -> None:
    away = ProviderSlice(id="openai", base_url="http://127.0.0.1:1")
    async with ModelApi() as silent:
        given = (away, ProviderSlice(id="anthropic", base_url=silent.url))
        limits = Limits(idle=0.2)
        async with rig(tmp_path, agent(tmp_path, key="sk-own"), providers=given, limits=limits) as found:
            with pytest.raises(ModelBusy, match=r"openai cannot be reached at 127.0.0.1:1"):
                await ask(found.model(), question("hi", OPENAI))
            silent.script("sk-own", Reply("one two three", gate=asyncio.Event()))
            with pytest.raises(ModelBusy, match="anthropic does not answer in time"):
                await ask(found.model(), question("hi"))


async def test_a_proxy_that_is_away_is_busy(tmp_path: Path) -> None:
    client = ProxyClient(str(tmp_path / "nobody"), "t")
    with pytest.raises(ModelBusy, match="proxy is not running"):
        await ask(RoutedModel(client), question("hi"))
    await client.close()


async def test_too_much_is_refused(tmp_path: Path) -> None:
    path = "/p/anthropic/v1/messages"
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found:
        async with raw(found) as session, session.post(path, data=b"x", headers={"Content-Encoding": "gzip"}) as said:
            assert said.status in (400, 415)
        async with raw(found) as session, session.post(path, data=io.BytesIO(b"x" * (MAX_BODY + 1))) as said:
            assert said.status == 413
        async with raw(found) as session:
            # No length is told, so the limit is met on the way; the connection may then be gone before the answer.
            with suppress(aiohttp.ClientConnectionError):
                async with session.post(path, data=_endless()) as said:
                    assert said.status == 413
        assert (await ask(found.model(), question("still there?")))[1].turn.text == "echo: still there?"


async def test_an_agent_may_not_have_endless_questions_open(tmp_path: Path) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own"), limits=Limits(in_flight=1)) as found:
        gate = asyncio.Event()
        found.api.script("sk-own", Reply("one two three four", gate=gate))
        stream = found.model().stream(question("hi"))
        await anext(stream)
        with pytest.raises(ModelBusy, match="too many questions open"):
            await ask(found.model(), question("hi"))
        gate.set()
        assert [event async for event in stream]


async def test_a_question_that_never_arrives_whole_is_given_up(tmp_path: Path) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    path, limits = "/p/anthropic/v1/messages", Limits(upload=0.1)
    async with (
        rig(tmp_path, agent(tmp_path, key="sk-own"), limits=limits) as found,
        raw(found) as session,
        session.post(path, data=stalling()) as said,
    ):
        assert said.status == 408 and "did not arrive" in await said.text()


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(MAX_BODY // 1_000_000 + 2):
        yield b"x" * 1_000_000


async def test_errors_are_told_in_the_callers_format(tmp_path: Path) -> None:
    async with rig(tmp_path, agent(tmp_path, key="sk-own")) as found, raw(found) as session:
        async with session.post("/p/nosuch/v1/messages", json=BODY) as response:
            assert (await response.json())["type"] == "error"
        async with session.post("/p/nosuch/chat/completions", json=BODY) as response:
            assert (await response.json())["error"]["code"] is None


# --- secrets -----------------------------------------------------------------------------------------------------


@BOTH
async def test_no_key_is_ever_seen_outside(tmp_path: Path, model: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every way of failing, at a vendor that quotes the key whenever it can: the worker and the log never see it."""
    caplog.set_level(logging.DEBUG)
    key = "sk-canary-0123456789"
    path = "/p/anthropic/v1/messages" if model == ANTHROPIC else "/p/openai/chat/completions"
    replies = [
        Reply(status=status, message=f"bad key {key} for {key}", retry_after=key, headers=(("x-key", key),))
        for status in (400, 401, 403, 404, 429, 500, 529)
    ]
    replies += [Reply("x", cut=True, headers=(("set-cookie", key), ("x-api-key", key))), Reply("fine")]
    heard = ""
    async with rig(tmp_path, agent(tmp_path, key=key)) as found, raw(found) as session:
        found.api.script(key, *replies)
        for _ in replies:
            async with session.post(path, json={**BODY, "model": "c", "stream": True}) as response:
                heard += str(response.headers) + (await response.read()).decode()
        heard += repr(await found.client().route(model)) + repr(found.proxy.status()) + repr(found.proxy)
        heard += str(await _reasons(found, model, key))
    assert len(found.api.seen) == len(replies) + 1 and key not in heard
    assert caplog.text and key not in caplog.text


async def _reasons(found: Rig, model: str, key: str) -> list[Any]:
    found.api.script(key, Reply(status=401, message=key))
    with pytest.raises(ModelRefused) as caught:
        await ask(found.model(), question("hi", model))
    return [caught.value, caught.value.__cause__, caught.value.__context__]


async def test_users_of_agents_may_connect_and_nobody_may_list_the_folder(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        socket = Path(found.settings.socket)
        assert stat.S_IMODE(os.stat(socket).st_mode) == 0o666
        assert stat.S_IMODE(os.stat(socket.parent).st_mode) == 0o711


# --- the process -------------------------------------------------------------------------------------------------


class Process:
    """`python -m router.cliproxy` and the supervisor's end of its pipe."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: Pipe[m.ProxyToSupervisor]) -> None:
        self.process = process
        self.pipe = pipe

    async def hear(self) -> m.ProxyToSupervisor:
        async with asyncio.timeout(20):
            return (await self.pipe.receive())[0]

    async def exit_code(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def started(first: Any) -> AsyncIterator[Process]:
    ours, theirs = make_pair()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router.cliproxy", "--pipe", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
    )
    theirs.close()
    pipe = Pipe(ours, m.proxy_to_supervisor)
    pipe.send(first)
    try:
        yield Process(process, pipe)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        pipe.close()


def boot(folder: Path, url: str, key: str = "sk-own") -> m.ProxyBoot:
    settings = ProxySlice(
        socket=str(folder / "p" / "proxy"),
        agents=(agent(folder, key=key),),
        providers=(ProviderSlice(id="anthropic", base_url=url),),
        local_ports=(),
    )
    return m.ProxyBoot(version=m.PROTOCOL_VERSION, slice=settings)


async def test_the_process_is_told_everything_over_its_pipe_and_stops_when_told(tmp_path: Path) -> None:
    async with ModelApi() as api, started(boot(tmp_path, api.url)) as child:
        assert isinstance(await child.hear(), m.ProxyReady)
        client = ProxyClient(str(tmp_path / "p" / "proxy"), "token-main")
        assert (await ask(RoutedModel(client), question("hi")))[1].turn.text == "echo: hi"
        child.pipe.send(m.ProxyUpdate(slice=boot(tmp_path, api.url, "sk-new").slice))
        child.pipe.send(m.ProxyStatusQuery(request=5))
        status = await child.hear()
        assert isinstance(status, m.ProxyStatus) and status.request == 5
        assert json.loads(status.text)["usage"][0]["requests"] == 1
        await ask(RoutedModel(client), question("hi"))
        assert [seen.key for seen in api.seen] == ["sk-own", "sk-new"]
        environment = Path(f"/proc/{child.process.pid}/environ").read_bytes()
        arguments = Path(f"/proc/{child.process.pid}/cmdline").read_bytes()
        assert b"sk-" not in environment + arguments and arguments.startswith(b"openclaw: cliproxy")
        await client.close()
        child.pipe.send(m.ProxyStop(grace=1))
        assert await child.exit_code() == 0
    assert not (tmp_path / "p" / "proxy").exists()


async def test_a_running_answer_is_finished_within_the_grace(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ModelApi() as api, started(boot(tmp_path, api.url)) as child:
        await child.hear()
        api.script("sk-own", Reply("one two three four", gate=gate))
        client = ProxyClient(str(tmp_path / "p" / "proxy"), "token-main")
        stream = RoutedModel(client).stream(question("hi"))
        await anext(stream)
        child.pipe.send(m.ProxyStop(grace=10))
        gate.set()
        rest = [event async for event in stream]
        assert rest[-1].turn.text == "one two three four"  # type: ignore[union-attr]
        await client.close()
        assert await child.exit_code() == 0


async def test_sigterm_and_a_lost_supervisor_both_end_it_cleanly(tmp_path: Path) -> None:
    async with ModelApi() as api:
        async with started(boot(tmp_path, api.url)) as child:
            await child.hear()
            child.process.send_signal(signal.SIGTERM)
            assert await child.exit_code() == 0
        async with started(boot(tmp_path, api.url)) as child:
            await child.hear()
            child.pipe.close()
            assert await child.exit_code() == 0


async def test_a_killed_proxy_leaves_a_socket_that_the_next_one_takes_over(tmp_path: Path) -> None:
    async with ModelApi() as api:
        client = ProxyClient(str(tmp_path / "p" / "proxy"), "token-main")
        model = RoutedModel(client)
        for _ in range(2):
            async with started(boot(tmp_path, api.url)) as child:
                await child.hear()
                assert (await ask(model, question("hi")))[1].turn.text == "echo: hi"
                child.process.send_signal(signal.SIGKILL)
                await child.exit_code()
            with pytest.raises(ModelBusy):
                await ask(model, question("hi"))
        await client.close()


async def test_a_wrong_first_word_is_a_bad_boot(tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(boot(tmp_path, "http://127.0.0.1:1"), version=999)
    for first in (wrong, m.ProxyStop(grace=0)):
        async with started(first) as child:
            assert await child.exit_code() == 78
