"""The page of the running gateway in real Chromium: an empty home, no key, and an answer from `worker main`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from tests.support.chromium import open_browser
from tests.support.gateway import Gateway
from tests.support.model_api import ModelApi

expect.set_options(timeout=15_000)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as made:
        yield made


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")


async def test_from_an_empty_home_to_an_answer_in_the_browser(gateway: Gateway) -> None:
    """The newcomer's path: nothing is configured; the address that is printed opens, and `worker main` answers."""
    (gateway.state / "openclaw.json").unlink()
    await gateway.start("--allow-unconfigured", "--port", str(gateway.port), terminal=True)
    address = await gateway.printed(r"http://127\.0\.0\.1:\d+/#token=\S+")
    async with open_browser() as browser:
        page = await browser.new_page()
        await page.goto(address)
        await ask(page, "hello there")
        await expect(page.get_by_text("offline").last).to_be_visible()
        worker = gateway.pid("worker main")
        assert worker
        await ask(page, "/run echo my parent is $PPID")
        await expect(page.get_by_text(f"my parent is {worker}").last).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("hello there").last).to_be_visible()
    assert address.split("=")[1] not in (gateway.state / "logs" / "openclaw.log").read_text()


async def test_an_answer_streams_and_every_worker_can_die_meanwhile(gateway: Gateway) -> None:
    async with ModelApi() as models, open_browser() as browser:
        gateway.write(
            {
                "agents": {"defaults": {"model": "anthropic/claude-sonnet-4-5"}, "list": [{"id": "main"}]},
                "models": {"providers": {"anthropic": {"baseUrl": models.url, "apiKey": "sk-ant-page-0123456789"}}},
            }
        )
        await gateway.start()
        page = await browser.new_page()
        await page.goto(gateway.page)
        await ask(page, "first")
        await expect(page.get_by_text("echo: first").last).to_be_visible()
        gateway.kill("worker main")
        await ask(page, "second")
        await expect(page.get_by_text("echo: second").last).to_be_visible()
        gateway.kill("router")
        await ask(page, "third")
        await expect(page.get_by_text("echo: third").last).to_be_visible()
        assert await page.get_by_text("echo: third").count() == 1
