"""Every path under the state root, from one root.

Defaults and overrides: SPEC 1.1. Nothing here touches the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol.errors import UserError
from protocol.ids import DEFAULT_AGENT_ID
from protocol.sandbox import HOST

#: `sun_path` holds 108 bytes with its terminating zero (unix(7)).
MAX_SOCKET_PATH = 107


def _expand(text: str, home: Path) -> Path:
    if text == "~":
        return home
    return home / text[2:] if text.startswith("~/") else Path(text)


def _short(name: str) -> str:
    """Socket paths have little room."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


class Paths(msgspec.Struct, frozen=True):
    """The places of one gateway. `home` is the user's home, `state` the state root, `config` the config file."""

    home: Path
    state: Path
    config: Path
    profile: str = ""
    main_agent_dir: Path | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Paths:
        """Resolve OPENCLAW_HOME, OPENCLAW_STATE_DIR, OPENCLAW_CONFIG_PATH, OPENCLAW_PROFILE, OPENCLAW_AGENT_DIR."""
        user_home = Path(environ.get("HOME") or environ.get("USERPROFILE") or "/")
        home = _expand(environ["OPENCLAW_HOME"], user_home) if environ.get("OPENCLAW_HOME") else user_home
        state = _expand(environ.get("OPENCLAW_STATE_DIR") or "~/.openclaw", home).absolute()
        config = _expand(environ.get("OPENCLAW_CONFIG_PATH") or str(state / "openclaw.json"), home).absolute()
        profile = environ.get("OPENCLAW_PROFILE", "").strip()
        own = environ.get("OPENCLAW_AGENT_DIR", "").strip()
        main = _expand(own, home).absolute() if own else None
        return cls(home, state, config, "" if profile == "default" else profile, main)

    def expand(self, text: str) -> Path:
        """A path-valued config key: `~` is the home, relative paths belong to the current directory."""
        return _expand(text, self.home).absolute()

    def shorten(self, path: Path | str) -> str:
        """For people: the home becomes `~`."""
        path = Path(path)
        return f"~/{path.relative_to(self.home)}" if path.is_relative_to(self.home) and path != self.home else str(path)

    @property
    def default_workspace(self) -> Path:
        """The default agent's workspace; a profile has its own."""
        return self.state / (f"workspace-{self.profile}" if self.profile else "workspace")

    def agent_workspace(self, agent_id: str) -> Path:
        """The workspace of an agent that is not the default one and names none."""
        return self.state / f"workspace-{agent_id}"

    def agent_dir(self, agent_id: str) -> Path:
        """auth-profiles.json and the like; never visible to a worker. That of `main` may be elsewhere."""
        if self.main_agent_dir is not None and agent_id == DEFAULT_AGENT_ID:
            return self.main_agent_dir
        return self.state / "agents" / agent_id / "agent"

    def sessions(self, agent_id: str) -> Path:
        """sessions.json and the transcripts of one agent."""
        return self.state / "agents" / agent_id / "sessions"

    @property
    def credentials(self) -> Path:
        """Pairing files and channel logins; the router's."""
        return self.state / "credentials"

    @property
    def sandboxes(self) -> Path:
        """Workspaces of sandboxes that may not see their agent's own."""
        return self.state / "sandboxes"

    @property
    def databases(self) -> Path:
        """The spool and other SQLite files."""
        return self.state / "state"

    @property
    def spool(self) -> Path:
        """The router's durable inbox and outbox."""
        return self.databases / "spool.sqlite"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def log_file(self) -> Path:
        """One JSON object a line, written by the supervisor only."""
        return self.logs / "openclaw.log"

    @property
    def run(self) -> Path:
        """Sockets, the lock and the supervisor's records; worthless after a reboot."""
        return self.state / "run"

    @property
    def lock(self) -> Path:
        return self.run / "gateway.lock"

    @property
    def records(self) -> Path:
        """Crash reports and child records of the supervisor."""
        return self.run / "records"

    @property
    def control_socket(self) -> Path:
        return self.socket(self.run / "control.sock")

    def link_folder(self, agent_id: str, place: str = HOST) -> Path:
        """Holds only this worker's link socket, so that a container can be given just this."""
        return self.run / "w" / (agent_id if place == HOST else f"{agent_id}.{_short(place)}")

    def link_socket(self, agent_id: str, place: str = HOST) -> Path:
        return self.socket(self.link_folder(agent_id, place) / "link")

    def boot_folder(self, container: str) -> Path:
        """Where the first process of this container reports to the supervisor."""
        return self.run / "c" / _short(container)

    @property
    def proxy_folder(self) -> Path:
        return self.run / "p"

    @property
    def proxy_socket(self) -> Path:
        return self.socket(self.proxy_folder / "proxy")

    @staticmethod
    def socket(path: Path) -> Path:
        """The path itself, or a UserError when the kernel would cut it."""
        length = len(str(path).encode())
        if length > MAX_SOCKET_PATH:
            raise UserError(
                f"socket path is {length} bytes long, the system allows {MAX_SOCKET_PATH}: {path}",
                hint="export OPENCLAW_STATE_DIR=/var/lib/openclaw",
            )
        return path
