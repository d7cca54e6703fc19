"""A gateway's sandboxes on a real Docker: containers under a prefix that nobody else gives, and their end."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from supervisor.sandbox.setup import SETUP
from supervisor.sandbox.spec import owner_of
from tests.support.docker_daemon import Daemon
from tests.support.docker_engine import DockerEngine

#: What a command says of where it runs: one `name value` each line.
TELL = (
    'echo "host $(hostname)"; echo "uid $(id -u)"; echo "first $(cat /proc/1/comm)"; '
    'echo "mnt $(readlink /proc/self/ns/mnt)"; echo "pid $(readlink /proc/self/ns/pid)"; '
    'echo "net $(readlink /proc/self/ns/net)"; echo "links $(ls -m /sys/class/net)"; echo "pwd $(pwd)"'
)


class Sandboxes:
    """The containers of the gateways that are given `docker()` and `environ`."""

    def __init__(self, engine: DockerEngine) -> None:
        self.engine = engine
        self.prefix = f"oc{secrets.token_hex(4)}-"
        self.environ = {"DOCKER_HOST": engine.host}
        #: State folders of gateways with a setupCommand.
        self.states: list[Path] = []
        self._connection: Any = None

    @property
    def _client(self) -> Any:
        """Made when it is needed: a test's daemon may come late."""
        self._connection = self._connection or self.engine.client()
        return self._connection

    def docker(self, **more: Any) -> dict[str, Any]:
        """`sandbox.docker` of the defaults. The variable makes the setupCommand's image this run's own."""
        return {
            "image": self.engine.image,
            "containerPrefix": self.prefix,
            "env": {"LANG": "C.UTF-8", "RUN": self.prefix},
            **more,
        }

    def lab(self, **more: Any) -> dict[str, Any]:
        """A configuration with nothing but that, to be laid beside another one."""
        return {"agents": {"defaults": {"sandbox": {"docker": self.docker(**more)}}}}

    def all(self) -> dict[str, dict[str, Any]]:
        """`docker inspect` of each, by name without the prefix."""
        found = self._client.containers(all=True, filters={"name": f"^/{self.prefix}"})
        told = [self._client.inspect_container(one["Id"]) for one in found]
        return {one["Name"].removeprefix(f"/{self.prefix}"): one for one in told}

    def only(self) -> dict[str, Any]:
        """That of the one there is."""
        [found] = self.all().values()
        return found

    def setups(self, state: Path) -> list[str]:
        """The images that setupCommands of the gateway of this state folder have left."""
        labels = [f"openclaw.owner={owner_of(state)}", SETUP]
        return [one["RepoTags"][0] for one in self._client.images(filters={"label": labels}) if one["RepoTags"]]

    def close(self) -> None:
        """Remove the containers, and the images of gateways in `states`. Their gateways must have ended."""
        for one in self._client.containers(all=True, filters={"name": f"^/{self.prefix}"}):
            self._client.remove_container(one["Id"], force=True, v=True)
        for name in [name for state in self.states for name in self.setups(state)]:
            self._client.remove_image(name, force=True)
        self._client.close()


@contextmanager
def private_engine(engine: DockerEngine, size: str) -> Iterator[tuple[Daemon, DockerEngine]]:
    """A daemon of its own with the sandbox image of `engine` and a disk of `size`, to be stopped, killed and filled."""
    folder = Path(tempfile.mkdtemp(prefix="ocd"))
    # All of it, not the daemon's data alone: what is mounted below is unmounted with each stop.
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    daemon = None
    try:
        daemon = Daemon.private(folder)
        there = DockerEngine(daemon.host, engine.base, engine.image)
        with closing(engine.client()) as ours, closing(there.client()) as theirs:
            theirs.load_image(ours.get_image(engine.image))
        yield daemon, there
    finally:
        if daemon:
            daemon.stop()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sandboxes_on(engine: DockerEngine) -> Iterator[Sandboxes]:
    """They are removed at the end."""
    sandboxes = Sandboxes(engine)
    try:
        yield sandboxes
    finally:
        sandboxes.close()


def told(text: str) -> dict[str, str]:
    """What `TELL` and its like said, out of an answer that quotes a tool's result."""
    lines = text.replace("tool said: ", "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines) if name}
