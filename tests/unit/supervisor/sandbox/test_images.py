"""What a build of the worker's image says: its progress, and what to type when it fails."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import UserError
from protocol.messages import PROTOCOL_VERSION
from supervisor.config.version import VERSION
from supervisor.sandbox import context, images


def followed(*events: dict[str, Any]) -> list[str]:
    said: list[str] = []
    images.follow(events, "base:x", said.append)
    return said


def failure(*events: dict[str, Any]) -> UserError:
    with pytest.raises(UserError) as caught:
        followed(*events)
    return caught.value


def stream(*lines: str) -> Iterable[dict[str, Any]]:
    return [{"stream": f"{line}\n"} for line in lines]


def test_progress_has_the_steps_and_their_words_but_no_ids_and_no_colours() -> None:
    events = [
        *stream("Step 1/2 : FROM base:x", " ---> 0123", "Step 2/2 : RUN true", "Removing intermediate container 9"),
        {"status": "Downloading", "progressDetail": {"current": 1}},
        {"status": "Pulled"},
        *stream("\x1b[91mred\x1b[0m", "", "Successfully built 12"),
    ]
    assert followed(*events) == ["Step 1/2 : FROM base:x", "Step 2/2 : RUN true", "Pulled", "red"]


def test_a_base_image_that_is_nowhere_is_named_with_the_command_for_another() -> None:
    error = failure(*stream("Step 2/9 : FROM ${BASE} AS python"), {"error": "pull access denied for base"})
    assert error.message == "the base image base:x is not here and cannot be fetched: pull access denied for base"
    assert error.hint == "docker image ls; openclaw sandbox build --base IMAGE"


def test_a_step_that_fails_is_shown_with_its_last_lines() -> None:
    lines = [f"line {number}" for number in range(9)]
    error = failure(
        *stream("Step 3/9 : RUN sh /build/packages.sh", *lines),
        {"error": "The command '/bin/sh -c sh' returned a non-zero code: 2"},
    )
    assert error.message.splitlines() == [
        "the image could not be built",
        "  step: RUN sh /build/packages.sh",
        *(f"  {line}" for line in lines[-5:]),
        "  returned a non-zero code: 2",
    ]
    assert error.hint == "openclaw sandbox build --base debian:bookworm-slim"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("E: Failed to fetch: Temporary failure resolving 'deb.debian.org'", "docker run --rm base:x apt-get update"),
        ("ERROR: No matching distribution found for aiohttp==3.14.5", "openclaw sandbox build --wheels FOLDER"),
    ],
)
def test_a_step_without_network_says_so(line: str, hint: str) -> None:
    error = failure(*stream("Step 3/9 : RUN x", line), {"error": "returned a non-zero code: 100"})
    assert "cannot be reached from within the build" in error.message
    assert error.hint == hint


def test_a_full_disk_is_called_that() -> None:
    error = failure(*stream("Step 3/9 : RUN x"), {"error": "write /x: no space left on device"})
    assert (error.message, error.hint) == ("Docker has no disk space left", "docker system prune")


def test_without_a_daemon_the_error_says_where_it_was_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_WHERE", "/usr/sbin:/usr/bin" if Path("/usr/sbin/dockerd").exists() else "")
    with pytest.raises(UserError) as caught:
        images.build(host=f"unix://{tmp_path}/docker.sock")
    installed = Path("/usr/sbin/dockerd").exists()
    said = f"there is no Docker at unix://{tmp_path}/docker.sock" if installed else "Docker is not installed"
    assert caught.value.message == said


def test_where_docker_is_not_installed_the_hint_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_WHERE", str(tmp_path))
    with pytest.raises(UserError, match="Docker is not installed") as caught:
        images.build(host=f"unix://{tmp_path}/docker.sock")
    assert caught.value.hint == "apt-get install docker.io"


def test_an_image_says_what_it_was_built_from() -> None:
    assert images.labels() == {
        "openclaw.version": VERSION,
        "openclaw.protocol": str(PROTOCOL_VERSION),
        "openclaw.sources": context.digest(),
    }
