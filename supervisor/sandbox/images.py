"""`openclaw sandbox build`: the worker's image, made from the installed product.

    built = build(base=..., tag=..., wheels=..., say=print)     # -> Built, or UserError with what to type

`say` is called with one line of progress at a time, without a line end. Everything blocks: a command calls it directly,
a service in a thread. The Docker Engine is the one of the environment (DOCKER_HOST), as for everything else.
"""

from __future__ import annotations

import io
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from protocol.errors import UserError
from protocol.messages import PROTOCOL_VERSION
from protocol.sandbox import DOCKER
from supervisor.config.version import VERSION
from supervisor.sandbox import context
from supervisor.sandbox.engine import Engine, EngineError

#: The image that `sandbox.docker.image` means when it says nothing, and what it is made from.
TAG = str(DOCKER["image"])
BASE = "debian:bookworm-slim"

# Labels of an image.
VERSION_LABEL = "openclaw.version"
PROTOCOL_LABEL = "openclaw.protocol"
SOURCES_LABEL = "openclaw.sources"

#: Seconds between two lines of a build: packages come over slow lines.
_QUIET = 900
#: How many of the last lines of a failed step are shown.
_LAST = 5

Say = Callable[[str], None]


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
    tools: Sequence[str] | None = None,
    network: str | None = None,
    host: str = "",
    say: Say = lambda line: None,
) -> Built:
    """Build the worker's image from `base` and name it `tag`.

    `wheels` is a folder of wheels (with pip's own among them) to be used instead of PyPI. `tools` are the Debian
    packages that agents find inside; None for the usual ones. `network` is Docker's, for the steps of the build. `host`
    is the daemon's address. Raises UserError: no Docker, no such base image, a step that failed with its last lines.
    """
    began = time.monotonic()
    order = _order(base, tag, context.archive(wheels), tools, network)
    engine = Engine(host)
    try:
        image = engine.now(lambda client: _run(client, order, base, say))
    except EngineError as error:
        raise _unreachable(error) from None
    finally:
        engine.close()
    seconds = round(time.monotonic() - began, 1)
    return Built(tag=tag, image=image, base=base, version=VERSION, protocol=PROTOCOL_VERSION, seconds=seconds)


def labels() -> dict[str, str]:
    """Of an image built from the product as it is installed now."""
    return {VERSION_LABEL: VERSION, PROTOCOL_LABEL: str(PROTOCOL_VERSION), SOURCES_LABEL: context.digest()}


# --- the build ---------------------------------------------------------------------------------------------------


def _order(base: str, tag: str, archive: bytes, tools: Sequence[str] | None, network: str | None) -> dict[str, Any]:
    arguments = {"BASE": base} | ({} if tools is None else {"TOOLS": " ".join(tools)})
    return {
        "fileobj": io.BytesIO(archive),
        "custom_context": True,
        "dockerfile": context.DOCKERFILE,
        "target": "worker",
        "tag": tag,
        "buildargs": arguments,
        "labels": labels(),
        "network_mode": network,
        "rm": True,
        "forcerm": True,
        "decode": True,
        "timeout": _QUIET,
    }


def _run(client: Any, order: Mapping[str, Any], base: str, say: Say) -> str:
    follow(client.build(**order), base, say)
    return str(client.inspect_image(order["tag"])["Id"])


def follow(events: Iterable[Mapping[str, Any]], base: str, say: Say) -> None:
    """Pass on what the daemon tells of a build, to its end. Raises UserError when it failed."""
    step, error, last = "", "", deque[str](maxlen=_LAST)
    for event in events:
        error = error or str(event.get("error") or "")
        for line in _lines(event):
            if line.startswith("Step "):
                step = line.partition(" : ")[2]
                last.clear()
            else:
                last.append(line)
            say(line)
    if error:
        raise _failed(error, step, last, base)


def _lines(event: Mapping[str, Any]) -> list[str]:
    """Lines for people: without the ids of what lies in between, and without bars that move."""
    text = str(event.get("stream") or ("" if event.get("progressDetail") else event.get("status") or ""))
    text = _COLOUR.sub("", text)
    return [line for line in (part.rstrip() for part in text.splitlines()) if line and not _NOISE.match(line)]


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(r"\s*---> |Removing intermediate container|Successfully (built|tagged)")


# --- what went wrong ---------------------------------------------------------------------------------------------

_INSTALL = "apt-get install docker.io"
_WHERE = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
_CHECK = "docker run --rm {base} apt-get update"
_WHEELS = "openclaw sandbox build --wheels FOLDER"
_ANOTHER = "docker image ls; openclaw sandbox build --base IMAGE"
#: The base image could not be fetched; or a step of ours had no network.
_NO_BASE = re.compile(
    r"pull access denied|manifest (for .* not found|unknown)|no such host|repository does not exist|registry|"
    r"dial tcp|net/http|i/o timeout|TLS handshake|invalid reference format",
    re.IGNORECASE,
)
#: What a step says that cannot reach Debian's mirror, or PyPI.
_NO_MIRROR = re.compile(r"Failed to fetch|Could not resolve|Temporary failure resolving")
_NO_PYPI = re.compile(r"No matching distribution|NewConnectionError|SSLError|ReadTimeoutError|ConnectTimeoutError")


def _unreachable(error: EngineError) -> UserError:
    message, _, hint = error.reason.partition("; hint: ")
    if "there is no Docker" in message and not shutil.which("dockerd", path=_WHERE):
        return UserError("Docker is not installed", hint=_INSTALL)
    return UserError(message, hint=hint or None)


def _failed(error: str, step: str, last: Sequence[str], base: str) -> UserError:
    said = " ".join(error.split())
    if step.startswith("FROM") or (not step and _NO_BASE.search(said)):
        return UserError(f"the base image {base} is not here and cannot be fetched: {said}", hint=_ANOTHER)
    if "no space left on device" in said:
        return UserError("Docker has no disk space left", hint="docker system prune")
    if code := re.search(r"returned a non-zero code: \d+$", said):
        said = code.group()
    told = "\n".join(["the image could not be built", f"  step: {step[:160]}", *(f"  {line[:200]}" for line in last)])
    if any(_NO_MIRROR.search(line) for line in last):
        return UserError(f"{told}\n  Debian cannot be reached from within the build", hint=_CHECK.format(base=base))
    if any(_NO_PYPI.search(line) for line in last):
        return UserError(f"{told}\n  PyPI cannot be reached from within the build", hint=_WHEELS)
    return UserError(f"{told}\n  {said}", hint=f"openclaw sandbox build --base {BASE}")
