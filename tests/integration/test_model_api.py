"""The fake vendors refuse what the real ones refuse; a fake that takes everything would judge nothing."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import pytest

from tests.support.model_api import ModelApi, Reply

USER = {"role": "user", "content": "hi"}
ANTHROPIC = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
OPENAI = {"authorization": "Bearer k"}
TOOL = {"name": "exec", "input_schema": {"type": "object"}}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "exec", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}
CALL = {"id": "a", "type": "function", "function": {"name": "exec", "arguments": "{}"}}


async def complaint(path: str, headers: dict[str, str], body: Any) -> tuple[int, str]:
    async with ModelApi() as api, aiohttp.ClientSession(api.url, headers=headers) as session:
        response = await session.post(path, json=body)
        return response.status, (await response.json()).get("error", {}).get("message", "")


def anthropic(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "c", "max_tokens": 5, "messages": list(messages), **more}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "c", "messages": [USER]}, "max_tokens: Field required"),
        (anthropic(), "at least one message"),
        (anthropic({"role": "system", "content": "x"}), "'user' or 'assistant'"),
        (anthropic({"role": "user", "content": ""}), "non-empty content"),
        (anthropic({"role": "user", "content": [{"type": "text", "text": " "}]}), "must be non-empty"),
        (anthropic({"role": "assistant", "content": "x"}), 'use the "user" role'),
        (anthropic(USER, {"role": "assistant", "content": "x "}), "trailing whitespace"),
        (anthropic(USER, USE, tools=[TOOL]), "without `tool_result`"),
        (anthropic(USER, USE, USER, tools=[TOOL]), "without `tool_result`"),
        (anthropic(RESULT, tools=[TOOL]), "unexpected `tool_use_id`"),
        (anthropic(USER, USE, RESULT, USE, RESULT, tools=[TOOL]), "must be unique"),
        (anthropic(USER, USE, RESULT), "must define tools"),
        (anthropic(USER, tools=[{"name": "a b", "input_schema": {"type": "object"}}]), "tools.0.custom.name"),
        (anthropic(USER, tools=[{"name": "a"}]), "input_schema.type"),
        (anthropic(USER, stream_options={}), "Extra inputs"),
        (anthropic(USER, system=[{"type": "text", "text": ""}]), "must be non-empty"),
    ],
)
async def test_a_wrong_anthropic_request_is_refused(body: dict[str, Any], said: str) -> None:
    status, message = await complaint("/v1/messages", ANTHROPIC, body)
    assert status == 400 and said in message


def openai(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **more}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": [USER]}, "model parameter"),
        (openai(), "too short"),
        (openai({"role": "robot", "content": "x"}), "Invalid value: 'robot'"),
        (openai({"role": "user", "content": None}), "got null"),
        (openai(USER, {"role": "tool", "tool_call_id": "a", "content": "x"}), "must be a response"),
        (openai(USER, {"role": "assistant", "tool_calls": [CALL]}), "must be followed by tool messages"),
        (openai(USER, {"role": "assistant", "tool_calls": [CALL]}, USER), "must be followed by tool messages"),
        (openai(USER, {"role": "assistant", "tool_calls": []}), "too short"),
        (openai(USER, tools=[]), "too short"),
        (openai(USER, stream_options={"include_usage": True}), "only allowed when 'stream'"),
        ({"model": "gpt-5.5", "messages": [USER], "max_tokens": 5}, "max_completion_tokens"),
    ],
)
async def test_a_wrong_openai_request_is_refused(body: dict[str, Any], said: str) -> None:
    status, message = await complaint("/v1/chat/completions", OPENAI, body)
    assert status == 400 and said in message


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/messages", {}, 401),
        ("/v1/messages", {"x-api-key": "k"}, 400),
        ("/v1/messages", ANTHROPIC, 200),
        ("/v1/messages", {"authorization": "Bearer k", "anthropic-version": "2026-10-21"}, 200),
        ("/v1/v1/messages", ANTHROPIC, 200),
        ("/v1/chat/completions", {}, 401),
        ("/v1/chat/completions", OPENAI, 200),
        ("/nowhere", OPENAI, 404),
    ],
)
async def test_headers_are_required_as_the_vendors_require_them(
    path: str, headers: dict[str, str], status: int
) -> None:
    assert (await complaint(path, headers, anthropic(USER)))[0] == status


async def test_a_script_answers_its_key_alone_and_is_used_up() -> None:
    async with ModelApi(keys={"k", "j"}) as api, aiohttp.ClientSession() as session:
        api.script("k", Reply("scripted"))

        async def say(key: str) -> str:
            headers = {"authorization": f"Bearer {key}"}
            async with session.post(api.url + "/v1/chat/completions", json=openai(USER), headers=headers) as response:
                body = await response.json()
                return str(body["choices"][0]["message"]["content"] if response.status == 200 else response.status)

        assert [await say(key) for key in ("j", "k", "k", "x")] == ["echo: hi", "scripted", "echo: hi", "401"]
        assert [seen.key for seen in api.seen] == ["j", "k", "k", "x"]


async def test_it_runs_as_a_program_that_prints_its_address() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.model_api", "--model", "m1", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as session, session.get(url + "/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["m1"]
    finally:
        process.kill()
        await process.wait()
