"""A real Chromium for tests of the page: Debian's, without its own network habits."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

PATH = Path("/usr/bin/chromium")
#: Chromium's own sandbox needs rights that a container seldom has; the pages here are our own.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A started browser. Without Chromium the test is skipped on a laptop and fails where CI is set."""
    if not PATH.exists():
        reason = f"{PATH} is not installed; hint: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(PATH), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
