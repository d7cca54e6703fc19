"""Text that must be written in a certain way is refused like any other value, with examples."""

from __future__ import annotations

import pytest

from protocol.config import AgentLimits
from supervisor.config.walk import walk


@pytest.mark.parametrize("value", ["lots", "12x", "", "-1g", "1 g", "512M"])
def test_a_size_that_is_none_is_a_problem_with_examples(value: str) -> None:
    [problem] = walk({"memory": value}, AgentLimits)
    assert problem.path == "memory" and value[:60] in problem.message
    assert problem.hint == "write it like 512m or 2g"


@pytest.mark.parametrize("value", ["512m", "1.5g", "0", 0, 1024])
def test_a_size_is_taken(value: object) -> None:
    assert list(walk({"memory": value, "disk": value}, AgentLimits)) == []
