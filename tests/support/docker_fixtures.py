"""Fixtures of tests that need a real Docker Engine: without one they skip on a laptop and fail where CI is set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.docker_daemon import Unable
from tests.support.docker_engine import DockerEngine, up


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """A daemon with a base image and the sandbox image of this checkout."""
    try:
        engine, daemon = up()
    except Unable as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI has to run this test: {error}")
        pytest.skip(str(error))
    yield engine
    if daemon:
        daemon.stop()


@pytest.fixture
def default_image(docker_engine: DockerEngine) -> Iterator[str]:
    """The sandbox image under the name that a configuration means when it names none."""
    with docker_engine.default_image() as tag:
        yield tag
