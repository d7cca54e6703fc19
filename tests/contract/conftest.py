"""One line a suite of conformance vectors at the end of the run."""

from __future__ import annotations

import pytest

LINES = pytest.StashKey[list[str]]()


@pytest.fixture
def conformance_lines(request: pytest.FixtureRequest) -> list[str]:
    """Lines to be shown after the run."""
    return request.config.stash.setdefault(LINES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in sorted(config.stash.get(LINES, [])):
        terminalreporter.write_line(line)
