"""What `sandbox.docker` may say: an allowlist of keys, each with its form, and the ones that open a container. Pure.

A key that is not in `Docker` does not reach Docker at all. Texts and rules: SPEC 2.2, ARCHITECTURE 6. Where a bind may
come from is `bind_rules`' part, since that asks the disk.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from protocol.config import Natural, Positive, Section
from protocol.sandbox import MAX_NAME
from supervisor.config.bind_rules import parse_bind, target_problem
from supervisor.config.problems import Problem, dotted
from supervisor.config.walk import Path, walk

#: Bytes that a container's worker takes at least.
MIN_MEMORY = 32 * 1024**2
MAX_CPUS = 4096
#: Characters of a setup script.
MAX_SETUP = 64 * 1024
#: The longest slug of a scope key: a longer prefix would cut off the hash that keeps two containers apart.
_SLUG = 41
MAX_PREFIX = MAX_NAME - _SLUG
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Ulimit(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One limit with two values."""

    soft: int
    hard: int


class Docker(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sandbox.docker`: every key there is."""

    image: str | None = None
    container_prefix: str | None = None
    workdir: str | None = None
    read_only_root: bool | None = None
    tmpfs: tuple[str, ...] | None = None
    network: str | None = None
    user: str | None = None
    cap_drop: tuple[str, ...] | None = None
    env: dict[str, str] | None = None
    setup_command: str | tuple[str, ...] | None = None
    pids_limit: Positive | None = None
    memory: str | int | None = None
    memory_swap: str | int | None = None
    cpus: float | None = None
    gpus: str | None = None
    ulimits: dict[str, str | int | Ulimit] | None = None
    seccomp_profile: str | None = None
    apparmor_profile: str | None = None
    dns: tuple[str, ...] | None = None
    extra_hosts: tuple[str, ...] | None = None
    binds: tuple[str, ...] | None = None
    runtime: str | None = None
    dangerously_allow_container_namespace_join: bool | None = None
    dangerously_allow_reserved_container_targets: bool | None = None
    dangerously_allow_external_bind_sources: bool | None = None
    dangerously_allow_root_user: bool | None = None


class Prune(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sandbox.prune`."""

    idle_hours: Natural | None = None
    max_age_days: Natural | None = None


#: Words of Docker that take a wall away: refused with the reason, not as a slip of the pen.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("privileged", "userns", "usernsMode"), "a container keeps all its walls"),
    **dict.fromkeys(("capAdd", "capabilities"), "capabilities are never added"),
    **dict.fromkeys(("devices", "deviceRequests", "deviceCgroupRules"), "devices of the host are never given"),
    **dict.fromkeys(("pid", "pidMode", "ipc", "ipcMode", "uts", "utsMode"), "namespaces of others are never joined"),
    **dict.fromkeys(("cgroupns", "cgroupParent", "sysctls"), "the kernel's settings are not the container's"),
    "securityOpt": "use seccompProfile and apparmorProfile",
    **dict.fromkeys(("volumes", "mounts", "volumesFrom", "mount"), "use binds"),
    **dict.fromkeys(("ports", "publish", "expose"), "a sandbox publishes no ports"),
    **dict.fromkeys(("command", "entrypoint", "init"), "a sandbox runs its worker; use setupCommand"),
}


def problems(docker: Mapping[str, Any], at: Path) -> Iterator[Problem]:
    """Everything wrong with one `docker` object; `at` is its path."""
    for key in docker:
        if key in REFUSED:
            yield Problem(dotted(at), f'Sandbox security: "{key}" is blocked: {REFUSED[key]}', key=key)
    known = {key: value for key, value in docker.items() if key not in REFUSED}
    yield from walk(known, Docker, at)
    for key, check in _CHECKS.items():
        # What has the wrong type was told by the walk.
        if key in known and not any(walk({key: known[key]}, Docker)):
            yield from (Problem(dotted((*at, key, *more)), text) for more, text in check(known[key], docker))


def sandbox_problems(sandbox: Mapping[str, Any], at: Path) -> Iterator[Problem]:
    """What is wrong with a `sandbox` object beside `docker`."""
    backend = sandbox.get("backend")
    if isinstance(backend, str) and backend.strip() != "docker":
        text = f'sandbox backend "{backend}" is not supported here; the only one is "docker"'
        yield Problem(dotted((*at, "backend")), text, f"openclaw config set {dotted((*at, 'backend'))} docker")
    if isinstance(sandbox.get("prune"), dict):
        yield from walk(sandbox["prune"], Prune, (*at, "prune"))


def size(value: str | float) -> int | None:
    """Bytes of `512m`, `1.5g` or a number; None for what is no size."""
    if isinstance(value, int | float):
        return int(value) if math.isfinite(value) else None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([bkmg]?)b?", value.strip().lower())
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


# --- one check a key: what is wrong, and at which entry ------------------------------------------------------------

_Found = Iterator[tuple[Path, str]]
_Check = Callable[[Any, Mapping[str, Any]], _Found]

_IMAGE = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?/)?[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?|sha256:[0-9a-f]{64}",
    re.ASCII,
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"(?:\d{1,10}|[a-z_][a-z0-9_-]{0,31})(?::(?:\d{1,10}|[a-z_][a-z0-9_-]{0,31}))?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_GPUS = re.compile(r"""["']?[A-Za-z0-9=,:_-]+["']?""")
_TMPFS_OPTION = re.compile(
    r"(?:rw|ro|(?:no)?(?:exec|suid|dev|atime)|(?:size|nr_inodes)=\d+[kmg]?%?|mode=[0-7]{3,4}|[ug]id=\d+)"
)
_ULIMITS = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
        *("rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
#: Names of the only profile that is none.
_NONE = ("unconfined", "disabled")


def _image(value: str, _: Mapping[str, Any]) -> _Found:
    if not _IMAGE.fullmatch(value.strip()):
        yield (), f'not the name of an image: "{value}"'


def _prefix(value: str, _: Mapping[str, Any]) -> _Found:
    if not _NAME.fullmatch(value):
        yield (), f'not fit for names of containers: "{value}" (letters, digits, ".", "_", "-")'
    elif len(value) > MAX_PREFIX:
        yield (), f"Too big: a name of a container has room for {MAX_PREFIX} characters of prefix"


def _workdir(value: str, _: Mapping[str, Any]) -> _Found:
    if not value.startswith("/") or ".." in value.split("/"):
        yield (), f'must be an absolute path in the container: "{value}"'


def _tmpfs(value: list[str], _: Mapping[str, Any]) -> _Found:
    for index, entry in enumerate(value):
        path, _sep, options = entry.partition(":")
        wrong = [one for one in options.split(",") if one and not _TMPFS_OPTION.fullmatch(one)]
        if text := target_problem(path, reserved=True):
            yield (index,), f'Sandbox security: tmpfs "{entry}" {text}'
        elif wrong:
            yield (index,), f'unknown option of a tmpfs: "{wrong[0]}"'


def _network(value: str, docker: Mapping[str, Any]) -> _Found:
    mode = value.strip().lower()
    joins = mode.startswith("container:") and docker.get("dangerouslyAllowContainerNamespaceJoin") is not True
    if mode == "host" or mode.startswith("ns:") or joins:
        yield (), f'Sandbox security: network mode "{value}" is blocked. Use "bridge" or "none" instead.'
    elif not mode.startswith("container:") and not _NAME.fullmatch(value.strip()):
        yield (), f'not the name of a network: "{value}"'


def _user(value: str, docker: Mapping[str, Any]) -> _Found:
    parts = value.split(":")
    if not _USER.fullmatch(value):
        yield (), f'not a user: "{value}" (uid, uid:gid or a name of the image)'
    elif any(part.lstrip("0") in ("", "root") for part in parts) and not docker.get("dangerouslyAllowRootUser"):
        yield (), "Sandbox security: user root is blocked. Use a uid above 0, e.g. 1000:1000."


def _cap_drop(value: list[str], _: Mapping[str, Any]) -> _Found:
    for index, name in enumerate(value):
        if not re.fullmatch(r"[A-Za-z_]{2,40}", name):
            yield (index,), f'not a capability: "{name}"'


def _env(value: dict[str, str], _: Mapping[str, Any]) -> _Found:
    for name in value:
        if not _VARIABLE.fullmatch(name):
            yield (), f'not a name of a variable: "{name}"'


def _setup(value: str | list[str], _: Mapping[str, Any]) -> _Found:
    if len(value if isinstance(value, str) else "\n".join(value)) > MAX_SETUP:
        yield (), f"Too big: a setup script has at most {MAX_SETUP} characters; put the rest into an image"


def _memory(value: str | float, _: Mapping[str, Any]) -> _Found:
    found = size(value)
    if found is None or found < 0:
        yield (), f'not a size: "{value}" (512m, 2g or bytes)'
    elif found < MIN_MEMORY:
        yield (), f"Too small: a worker needs {MIN_MEMORY // 1024**2}m at least"


def _memory_swap(value: str | float, docker: Mapping[str, Any]) -> _Found:
    found, memory = size(value), size(docker["memory"]) if isinstance(docker.get("memory"), str | int) else None
    if found is None or found < -1:
        yield (), f'not a size: "{value}" (1g, bytes, or -1 for no limit)'
    elif memory is not None and 0 <= found < memory:
        yield (), "Too small: memory and swap together cannot be less than memory"


def _cpus(value: float, _: Mapping[str, Any]) -> _Found:
    if not 0 < value <= MAX_CPUS:
        yield (), f"Invalid input: expected a number above 0 and up to {MAX_CPUS}"


def _gpus(value: str, _: Mapping[str, Any]) -> _Found:
    if value.strip() and not _GPUS.fullmatch(value.strip()):
        yield (), f'not a choice of gpus: "{value}" (all, a number, or device=0)'


def _ulimits(value: dict[str, Any], _: Mapping[str, Any]) -> _Found:
    for name, limit in value.items():
        soft, hard = _limit(limit)
        if name not in _ULIMITS:
            yield (), f'unknown limit "{name}" (known: {", ".join(sorted(_ULIMITS))})'
        elif soft is None or hard is None:
            yield (name,), f'not a limit: "{limit}" (a number, or soft:hard)'
        elif soft > hard >= 0:
            yield (name,), "the soft limit is above the hard one"


def _limit(value: Any) -> tuple[int | None, int | None]:
    if isinstance(value, dict):
        return value.get("soft"), value.get("hard")
    parts = str(value).split(":")
    numbers = [int(part) if re.fullmatch(r"-1|\d{1,18}", part.strip()) else None for part in parts]
    return (numbers[0], numbers[-1]) if len(numbers) <= 2 else (None, None)


def _seccomp(value: str, _: Mapping[str, Any]) -> _Found:
    if value.strip().lower() in _NONE:
        yield (), f'Sandbox security: seccomp profile "{value}" is blocked. Name a profile file or leave it out.'
    elif not value.startswith(("/", "~/")):
        yield (), f'must be the absolute path of a profile: "{value}"'


def _apparmor(value: str, _: Mapping[str, Any]) -> _Found:
    if value.strip().lower() in _NONE:
        yield (), f'Sandbox security: apparmor profile "{value}" is blocked. Name a profile or leave it out.'
    elif not _NAME.fullmatch(value.strip()):
        yield (), f'not the name of a profile: "{value}"'


def _dns(value: list[str], _: Mapping[str, Any]) -> _Found:
    for index, address in enumerate(value):
        if not _is_address(address):
            yield (index,), f'not an IP address: "{address}"'


def _extra_hosts(value: list[str], _: Mapping[str, Any]) -> _Found:
    for index, entry in enumerate(value):
        host, _sep, address = entry.partition(":")
        if not _HOST.fullmatch(host) or not (address == "host-gateway" or _is_address(address)):
            yield (index,), f'must be host:address: "{entry}"'


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _binds(value: list[str], docker: Mapping[str, Any]) -> _Found:
    reserved = docker.get("dangerouslyAllowReservedContainerTargets") is not True
    for index, text in enumerate(value):
        bind = parse_bind(text)
        if isinstance(bind, str):
            yield (index,), f'bind mount "{text}": {bind}'
        elif wrong := target_problem(bind.target, reserved=reserved):
            yield (index,), f'Sandbox security: bind mount "{text}" {wrong}'


def _runtime(value: str, _: Mapping[str, Any]) -> _Found:
    if not _NAME.fullmatch(value.strip()):
        yield (), f'not the name of a runtime: "{value}"'


_CHECKS: Mapping[str, _Check] = {
    "image": _image,
    "containerPrefix": _prefix,
    "workdir": _workdir,
    "tmpfs": _tmpfs,
    "network": _network,
    "user": _user,
    "capDrop": _cap_drop,
    "env": _env,
    "setupCommand": _setup,
    "memory": _memory,
    "memorySwap": _memory_swap,
    "cpus": _cpus,
    "gpus": _gpus,
    "ulimits": _ulimits,
    "seccompProfile": _seccomp,
    "apparmorProfile": _apparmor,
    "dns": _dns,
    "extraHosts": _extra_hosts,
    "binds": _binds,
    "runtime": _runtime,
}


# --- warnings ------------------------------------------------------------------------------------------------------


class Sandboxed(msgspec.Struct, frozen=True, kw_only=True):
    """What the warnings look at of one agent. `at` is the path of its entry, `own` its sandbox object as written."""

    at: str
    agent: str
    tenant: str
    own: Mapping[str, Any]
    mode: str
    scope: str
    access: str
    docker: Mapping[str, Any]
    tools: tuple[str, ...] = ()


def warnings(agents: tuple[Sandboxed, ...]) -> Iterator[str]:
    """What is allowed and yet probably not meant."""
    for one in agents:
        if one.mode != "off":
            yield from _ignored(one)
            yield from _weak(one)
    shared = [one for one in agents if one.mode != "off" and one.scope == "shared"]
    tenants = sorted({one.tenant or "(none)" for one in shared})
    if len(tenants) > 1:
        listed = ", ".join(tenants)
        yield f"sandbox: scope shared spans {len(tenants)} tenants ({listed}); each has a container of its own"


def _ignored(one: Sandboxed) -> Iterator[str]:
    """Several agents live in a shared container: none of them may shape it alone."""
    for section in ("docker", "prune", "browser", "ssh"):
        keys = one.own.get(section)
        if one.scope == "shared" and isinstance(keys, dict) and keys:
            named = ", ".join(sorted(keys))
            yield f"{one.at}.sandbox.{section}: ignored because the scope is shared: {named} (agent {one.agent})"


def _weak(one: Sandboxed) -> Iterator[str]:
    if "ALL" not in {str(name).upper() for name in one.docker.get("capDrop") or ()}:
        yield f"{one.at}.sandbox.docker.capDrop: without ALL; all capabilities are dropped all the same"
    if one.access == "ro" and (named := [tool for tool in one.tools if tool in ("write", "edit", "apply_patch")]):
        yield f"{one.at}.sandbox.workspaceAccess: ro, so {' and '.join(named)} cannot change the agent's own workspace"
