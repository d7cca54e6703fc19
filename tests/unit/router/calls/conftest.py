from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.router.calls.stage import Stage


@pytest.fixture
async def make() -> AsyncIterator[Any]:
    """Makes stages, and checks at the end that nothing crashed on them."""
    made: list[Stage] = []

    async def start(*agents: Any, **fields: Any) -> Stage:
        made.append(Stage())
        return await made[-1].start(*agents, **fields)

    yield start
    for stage in made:
        await stage.close()
