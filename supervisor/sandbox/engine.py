"""The Docker daemon, asked in threads: the only file that imports `docker`.

A daemon may be missing, stop in the middle or hang. Every call has a time limit, every failure becomes an EngineError
whose text an operator can act on, and nothing is kept that would have to be mended when the daemon is back: the
connection is made at the first call and again after a failure. The library, half of all that a supervisor would load,
is loaded at the first call too: most gateways never make one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from protocol.sandbox import DOCKER
from supervisor.spawners.base import SpawnError

T = TypeVar("T")

#: Seconds for one ordinary call, and how many may be under way at once.
CALL_WITHIN = 60.0
_AT_ONCE = 8
_FRAME = struct.Struct(">B3xL")
_DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineError(SpawnError):
    """Docker did not do it. The text says what to do about it."""


class Gone(EngineError):
    """There is no such container or image."""


class ImageMissing(EngineError):
    """The image is not here; nothing is pulled by itself."""


class Engine:
    """One daemon. `host` such as `unix:///run/docker.sock`; empty for DOCKER_HOST, else the usual socket."""

    def __init__(self, host: str = "") -> None:
        self.host = host or os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
        self._client: Any = None
        self._threads: ThreadPoolExecutor | None = None

    async def call(self, work: Callable[[Any], T], *, within: float = CALL_WITHIN, image: str = "") -> T:
        """Run `work(client)` in a thread, with a docker.APIClient. `image` is the one that an error is about.

        Raises EngineError, Gone for what is not there. A call that takes longer than `within` seconds is given up; its
        thread ends with the socket's own time limit.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE, "docker")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                return await loop.run_in_executor(self._threads, self._work, work, image)
        except TimeoutError:
            raise EngineError(f"Docker did not answer within {within:g} s; hint: docker info") from None

    def now(self, work: Callable[[Any], T], *, image: str = "") -> T:
        """The same in the caller's own thread, for commands: Ctrl-C ends it, only `work` itself limits its time."""
        try:
            return self._work(work, image)
        except TimeoutError as error:
            raise translate(error, self.host, image) from None

    def close(self) -> None:
        """Nothing is asked any more; calls under way end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def _work(self, work: Callable[[Any], T], image: str) -> T:
        docker = _library()
        try:
            _knock(self.host)
            if self._client is None:
                self._client = docker.APIClient(self.host, version="auto", timeout=CALL_WITHIN)
            return work(self._client)
        except TimeoutError:
            raise
        except (docker.errors.DockerException, OSError) as error:  # those of `requests` are OSErrors
            raise translate(error, self.host, image) from None


def _library() -> Any:
    import docker

    return docker


def _knock(host: str) -> None:
    """Whether somebody listens at a unix socket: the library leaves a socket open for each attempt that fails."""
    if not host.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as attempt:
        attempt.settimeout(CALL_WITHIN)
        try:
            attempt.connect("/" + host.removeprefix("unix://").lstrip("/"))
        except OSError as error:
            raise _library().errors.DockerException(f"{type(error).__name__}: {error}") from None


def output(client: Any, execution: str) -> Generator[bytes, None, None]:
    """Start what `exec_create` made and give what it writes; close it to leave the connection.

    Read through the buffer that has read the answer's headers: it may hold the first words already, which the library's
    own way, past that buffer, loses.
    """
    with contextlib.closing(client.exec_start(execution, socket=True)) as sock:
        client._disable_socket_timeout(sock)
        try:
            yield from _frames(sock._response.raw._fp.fp)
        finally:
            sock._response.close()


def _frames(stream: IO[bytes]) -> Generator[bytes, None, None]:
    """Docker's multiplexed stream: one byte says which, three are nothing, four are the length."""
    while len(head := stream.read(_FRAME.size)) == _FRAME.size:
        yield stream.read(_FRAME.unpack(head)[1])


# --- what went wrong, in words -----------------------------------------------------------------------------------

#: Pattern in Docker's text, what to say instead of it (`{0}` is the pattern's group), what to type.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (r"FileNotFoundError|No such file or directory.*connect", "there is no Docker at {host}", "systemctl start docker"),
    (r"ConnectionRefused|Connection refused", "the Docker daemon is not running at {host}", "systemctl start docker"),
    (r"PermissionError|Permission denied", "no permission to use Docker at {host}", "usermod -aG docker $(id -un)"),
    (r"no space left on device", "Docker has no disk space left", "docker system df"),
    (r"[Uu]nknown runtime specified (\S+)", 'Docker knows no runtime "{0}"', "docker info --format '{{.Runtimes}}'"),
    (r"network (\S+) not found", 'Docker has no network "{0}"', "docker network ls"),
    (r"bind source path does not exist: (.+)", "the folder {0} does not exist", "mkdir -p {0}"),
    (r'exec: \\*"?([^"\\]+)\\*"?: .*not found', "the image {image} has no {0}", "{build}"),
    (r"seccomp", "Docker refused the seccomp profile: {text}", "docker info --format '{{.SecurityOptions}}'"),
    (r"Connection aborted|RemoteDisconnected|reset by peer|BrokenPipe|EOF", "the Docker daemon went away", "docker ps"),
    (r"[Rr]ead timed out", "the Docker daemon does not answer", "docker info"),
)  # fmt: skip


def translate(error: Exception, host: str, image: str = "") -> EngineError:
    """Docker's error in our words; what is not known is passed on as Docker says it."""
    text, errors = _text(error), _library().errors
    if isinstance(error, errors.ImageNotFound):
        return ImageMissing(f"there is no image {image or _quoted(text)}; hint: {how_to_get(image or _quoted(text))}")
    for pattern, words, hint in _KNOWN:
        if found := re.search(pattern, text):
            return EngineError(_fill(f"{words}; hint: {hint}", found, host, image, text))
    return (Gone if isinstance(error, errors.NotFound) else EngineError)(f"Docker: {text}")


def how_to_get(image: str) -> str:
    """What to type when an image is missing or is not fit."""
    if image in {DOCKER["image"], "", "the configured image"}:
        return "openclaw sandbox build"
    return f"docker build -t {image} . (from a Dockerfile that begins FROM {DOCKER['image']})"


def _fill(words: str, found: re.Match[str], host: str, image: str, text: str) -> str:
    filled = words.replace("{0}", found.group(1).strip() if found.re.groups else "")
    values = {"{host}": host, "{image}": image, "{build}": how_to_get(image), "{text}": text}
    for name, value in values.items():
        filled = filled.replace(name, value)
    return filled


def _text(error: Exception) -> str:
    """One line, not too long; a path or two of the daemon's, no answer bodies."""
    said = getattr(error, "explanation", None) or error
    return " ".join(str(said).split())[:500]


def _quoted(text: str) -> str:
    found = re.search(r"[Nn]o such image: (\S+)", text)
    return found.group(1) if found else "the configured image"
