"""Which folders of the host a container may be given (SPEC 2.2), decided on paths that are resolved already. Pure.

The deepest known folder that holds the source decides, and nothing that is not the agents' own may lie inside of it.
`binds` resolves and asks; the same rule holds when the configuration is read and again when a container is made.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec

from protocol.paths import Paths

#: Of the host: what runs it, what it boots from, where its daemons listen.
SYSTEM = ("/etc", "/proc", "/sys", "/dev", "/boot", "/run", "/var/run", "/var/lib/docker", "/var/lib/containerd")
#: Below a home: where people keep their keys.
CREDENTIALS = (".ssh", ".aws", ".gnupg", ".docker", ".config", ".npm", ".cargo", ".netrc", ".kube", ".azure", ".gcloud")
#: Sockets through which the host is commanded, wherever they lie.
ENGINE_SOCKETS = frozenset({"docker.sock", "containerd.sock", "podman.sock", "crio.sock", "control.sock"})
#: Inside: what is the kernel's or ours in every container, and what the sandbox itself mounts.
_NEVER, _RESERVED = ("/proc", "/sys", "/dev", "/openclaw"), ("/workspace", "/agent")
_MODES = frozenset({"ro", "rw", "z", "Z", "rprivate", "private", "rslave", "slave"})


class Bind(msgspec.Struct, frozen=True):
    """`source:target[:mode]`."""

    source: str
    target: str
    read_only: bool


class Guarded(msgspec.Struct, frozen=True):
    """Folders and files by whom they belong to: `owners[path]` are the agents whose own it is, empty for nobody's."""

    owners: Mapping[str, frozenset[str]]
    ordered: tuple[str, ...]

    @classmethod
    def of(cls, owned: Iterable[tuple[str, str]]) -> Guarded:
        """Pairs of path and agent (empty for nobody)."""
        owners: dict[str, frozenset[str]] = {}
        for path, agent in owned:
            mine = frozenset({agent} if agent else ())
            owners[normal(path)] = owners.get(normal(path), frozenset()) | mine
        return cls(owners, tuple(sorted(owners)))


def parse_bind(text: str) -> Bind | str:
    """The parts of a bind, or what is wrong with its form."""
    parts = text.strip().split(":")
    if not 2 <= len(parts) <= 3:
        return "must be host:container or host:container:mode"
    source, target, modes = parts[0].strip(), parts[1].strip(), parts[2].split(",") if parts[2:] else []
    if not source.startswith("/") and source != "~" and not source.startswith("~/"):
        return f'the source "{source}" is not an absolute path'
    if wrong := [one for one in modes if one not in _MODES]:
        return f'unknown mode "{wrong[0]}" (ro or rw)'
    return Bind(source, target, "ro" in modes)


def target_problem(path: str, *, reserved: bool) -> str:
    """Why nothing may be mounted there inside a container; empty when it may."""
    if not path.startswith("/") or ".." in path.split("/"):
        return "has a target that is not an absolute path"
    target = normal(path)
    blocked = (*_NEVER, *(_RESERVED if reserved else ()))
    if found := next((one for one in blocked if inside(target, one) or inside(one, target)), ""):
        return f'targets reserved container path "{found}".'
    return ""


def refusal(source: str, guarded: Guarded, agents: frozenset[str]) -> str:
    """Why a container of these agents may not be given this resolved path; empty when it may."""
    source = normal(source)
    if posixpath.basename(source) in ENGINE_SOCKETS:
        return f'targets blocked path "{source}"'
    holder = next((path for path in upwards(source) if path in guarded.owners), None)
    if holder is not None and not _own(guarded, holder, agents):
        return f'targets blocked path "{holder}"'
    covered = next((path for path in _below(guarded, source) if not _own(guarded, path, agents)), None)
    return f'covers blocked path "{covered}"' if covered is not None else ""


def system_paths(paths: Paths) -> tuple[str, ...]:
    """What no container is given whoever asks: the host's, people's keys, the state root and the configuration."""
    homes = {str(paths.home), "/root"}
    keys = (posixpath.join(home, name) for home in homes for name in CREDENTIALS)
    return (*SYSTEM, *keys, str(paths.state), str(paths.config))


def normal(path: str) -> str:
    """Without `..`, doubled and trailing slashes; `//x` is no other place here."""
    return posixpath.normpath("/" + path.lstrip("/")) if path.startswith("/") else posixpath.normpath(path)


def inside(path: str, folder: str) -> bool:
    """Whether the path is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _own(guarded: Guarded, path: str, agents: frozenset[str]) -> bool:
    owners = guarded.owners[path]
    return bool(agents) and agents <= owners


def upwards(path: str) -> Iterable[str]:
    """The path and every folder above it."""
    while True:
        yield path
        if path in ("/", "."):
            return
        path = posixpath.dirname(path)


def _below(guarded: Guarded, folder: str) -> tuple[str, ...]:
    start = folder.rstrip("/") + "/"
    first, last = bisect_left(guarded.ordered, start), bisect_left(guarded.ordered, start + "\U0010ffff")
    return guarded.ordered[first:last]
