"""A real Docker Engine with our images, for tests: the daemon that runs, else one of our own.

No registry is asked. The base image is made from Debian packages (mmdebstrap) and kept as a tar file in the user's
cache folder; the sandbox image is made from it by the product's own Dockerfile, from wheels, without any network. Both
are named by a digest of what they are made from, so that a stale one is never used.

`python -m tests.support.docker_engine up` does the same before a run, and `down` after it: `.ci/run` lets it work
during the checks. `cache` only fetches and makes what takes long, so that no test waits for a download.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from supervisor.sandbox import context, images
from tests.support.docker_daemon import SOCKET, Daemon, Unable

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openclaw-supervisor-tests"
REQUIREMENTS = Path(images.__file__).parent / "image" / "requirements.txt"
SUITE = "bookworm"
#: What the tests use inside. A change here makes a new base image.
PACKAGES = ("python3", "ca-certificates", "git")
#: The suite's Python, for which wheels are fetched.
PYTHON = "3.11"
_BASE, _SANDBOX = "openclaw-test-base", "openclaw-test-sandbox"


@dataclass(frozen=True)
class DockerEngine:
    """Where the daemon is, and the images on it."""

    host: str
    base: str
    image: str

    def client(self) -> Any:
        """The Engine's API; the caller closes it."""
        return docker.APIClient(self.host, version="auto")

    @contextmanager
    def default_image(self) -> Iterator[str]:
        """Our image under the name that a configuration means when it names none; what had the name gets it back."""
        with _closing(self.host) as client:
            before = _image_id(client, images.TAG)
            client.tag(self.image, *images.TAG.split(":"))
            try:
                yield images.TAG
            finally:
                if before:
                    client.tag(before, *images.TAG.split(":"))
                else:
                    client.remove_image(images.TAG, noprune=True)


def address() -> str:
    """The daemon that commands would ask."""
    return os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"


def up(daemon: Daemon | None = None) -> tuple[DockerEngine, Daemon | None]:
    """An engine, and its daemon if it was started here. Raises Unable with the reason."""
    host = daemon.host if daemon else address()
    with _alone():
        started = None
        if daemon is None and not answers(host):
            started = Daemon.start()
            host = started.host
        try:
            return prepare(host), started
        except BaseException:
            if started:
                started.stop()
            raise


def prepare(host: str) -> DockerEngine:
    """Our images on a daemon; only what is missing is made."""
    with _closing(host) as client:
        base = f"{_BASE}:{_key(SUITE, *PACKAGES)}"
        if not _image_id(client, base):
            with _base_tar(base.partition(":")[2]).open("rb") as tar:
                client.import_image(tar, *base.split(":"))
        image = f"{_SANDBOX}:{_key(context.digest(), base)}"
        if not _image_id(client, image):
            images.build(base=base, tag=image, wheels=wheels(), tools=(), network="none", host=host)
    return DockerEngine(host=host, base=base, image=image)


def fill_cache() -> None:
    """What images are made from, where there can be an engine. Raises Unable."""
    if os.geteuid() == 0 or answers(address()):
        with _alone():
            _base_tar(_key(SUITE, *PACKAGES))
            wheels()


def answers(host: str) -> bool:
    """Whether a daemon is there that we may use."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as attempt:
            return attempt.connect_ex(host.removeprefix("unix://")) == 0
    try:
        with _closing(host) as client:
            return bool(client.ping())
    except (DockerException, OSError):
        return False


# --- what images are made from -----------------------------------------------------------------------------------


def _base_tar(key: str) -> Path:
    """The base's files, from the cache or from Debian's packages."""
    made = CACHE / f"base-{key}.tar"
    if made.exists():
        return made
    if not (mmdebstrap := shutil.which("mmdebstrap")):
        raise Unable("mmdebstrap is not installed; hint: apt-get install mmdebstrap")
    unread = ("doc", "man", "locale")
    with _fresh(made) as part:
        _run(
            *(mmdebstrap, "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", "--format=tar"),
            *("--aptopt=APT::Install-Recommends false", "--dpkgopt=force-unsafe-io"),
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in unread),
            *(SUITE, str(part)),
        )
    return made


def wheels() -> Path:
    """Wheels of what a worker imports, for the base's Python."""
    machine = platform.machine()
    made = CACHE / f"wheels-{_key(REQUIREMENTS.read_text(), PYTHON, machine)}"
    if made.exists():
        return made
    linux = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (28, 17)]
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    with _fresh(made) as part:
        _run(*pip, f"--python-version={PYTHON}", *linux, f"--dest={part}", "pip", "-r", str(REQUIREMENTS))
    return made


@contextmanager
def _fresh(made: Path) -> Iterator[Path]:
    """A path to write to; it gets its name when all is there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        part = Path(folder) / made.name
        yield part
        part.rename(made)


def _run(*words: str) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unable(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}")


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


# --- the daemon --------------------------------------------------------------------------------------------------


@contextmanager
def _closing(host: str) -> Iterator[Any]:
    client = docker.APIClient(host, version="auto", timeout=120)
    try:
        yield client
    finally:
        client.close()


def _image_id(client: Any, name: str) -> str:
    try:
        return str(client.inspect_image(name)["Id"])
    except ImageNotFound:
        return ""


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once make the images once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(verb: str) -> int:
    """`up` says what it did; a daemon that it started runs until `down`."""
    try:
        if verb == "up":
            engine, daemon = up()
            print(f"Docker for the tests at {engine.host}{', started' if daemon else ''}: {engine.image}")
        elif verb == "cache":
            fill_cache()
        elif verb == "down":
            Daemon.stop_started()
    except Unable as error:
        print(f"no Docker for the tests: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
