"""An agent's auth-profiles.json (SPEC 5.9.3): which of its profiles hold a key that may be used.

Reading is at the bottom; everything above is pure. A broken file is a reason, never an exception: that agent alone
goes without a model, and its answer says why.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec

#: Largest file read, in bytes: a profile is about 300.
MAX_FILE = 1024 * 1024

FILE_NAME = "auth-profiles.json"


class Profile(msgspec.Struct, frozen=True):
    """One login. Other fields of other programs are left alone."""

    type: str
    provider: str
    key: str = ""
    token: str = ""
    keyRef: Any = None  # the file's own spelling
    tokenRef: Any = None
    expires: float | None = None

    def __repr__(self) -> str:
        return f"Profile({self.type!r}, {self.provider!r})"

    @property
    def secret(self) -> str:
        return (self.token if self.type == "token" else self.key).strip()

    @property
    def reference(self) -> Any:
        return self.tokenRef if self.type == "token" else self.keyRef


class Profiles(msgspec.Struct, frozen=True):
    """The whole file. `problem` is set instead when it could not be read."""

    profiles: dict[str, Profile] = {}
    order: dict[str, tuple[str, ...]] = {}
    problem: str = ""


NO_PROFILES = Profiles()
#: Types in the order in which they are tried when nobody says otherwise (SPEC 5.9.4).
_TYPES = {"oauth": 0, "token": 1, "api_key": 2}


def parse(data: bytes) -> Profiles:
    """The content of a file; what is wrong with it becomes `problem`, without quoting any of it."""
    try:
        return msgspec.json.decode(data, type=Profiles)
    except msgspec.ValidationError as error:
        return Profiles(problem=f"is not as expected: {error}")
    except (msgspec.DecodeError, RecursionError):
        return Profiles(problem="is not valid JSON")


def candidates(found: Profiles, provider: str, order: tuple[str, ...]) -> list[tuple[str, Profile]]:
    """This provider's profiles in the order they are tried: the file's own order, else `order`, else by type."""
    mine = {name: one for name, one in found.profiles.items() if one.provider.lower() == provider}
    wanted = found.order.get(provider) or order
    if wanted:
        return [(name, mine[name]) for name in wanted if name in mine]
    return sorted(mine.items(), key=lambda item: (_TYPES.get(item[1].type, 9), item[0]))


class ProfileFiles:
    """Reads each agent's file again when it changed on disk."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], Profiles]] = {}

    def read(self, agent_dir: str) -> Profiles:
        """The profiles as they are on disk now; none when there is no file."""
        path = Path(agent_dir) / FILE_NAME
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return NO_PROFILES
        except OSError as error:
            return Profiles(problem=f"cannot be read: {error.strerror}")
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._known.get(agent_dir)
        if known is None or known[0] != mark:
            known = self._known[agent_dir] = (mark, _load(path, found))
        return known[1]


def _load(path: Path, found: os.stat_result) -> Profiles:
    if not stat.S_ISREG(found.st_mode):
        return Profiles(problem="is not a file")
    if found.st_size > MAX_FILE:
        return Profiles(problem=f"is larger than {MAX_FILE} bytes")
    try:
        return parse(path.read_bytes())
    except OSError as error:
        return Profiles(problem=f"cannot be read: {error.strerror}")
