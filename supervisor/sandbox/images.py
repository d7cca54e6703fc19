"""`openclaw sandbox build`: the worker's image, made from the installed product.

    built = build(base=..., tag=..., wheels=..., say=print)     # -> Built, or UserError with what to type

`say` is called with one line of progress at a time, without a line end. Everything blocks: a command calls it directly,
a service in a thread. The Docker Engine is the one of the environment (DOCKER_HOST), as for everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from protocol.sandbox import DOCKER

#: The image that `sandbox.docker.image` means when it says nothing, and what it is made from.
TAG = str(DOCKER["image"])
BASE = "debian:bookworm-slim"

#: The first process of a container; an image of the operator's own must hold the same.
COMMAND = ("/opt/openclaw/bin/python3", "-P", "-m", "worker.container")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is there now."""

    tag: str
    image: str
    base: str
    version: str
    protocol: int
    seconds: float


def build(
    *,
    base: str = BASE,
    tag: str = TAG,
    wheels: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Built:
    """Build the worker's image from `base` and name it `tag`.

    `wheels` is a folder of wheels (with pip's own among them) to be used instead of PyPI. Raises UserError: no Docker,
    no such base image, a step that failed with its last lines.
    """
    raise NotImplementedError
