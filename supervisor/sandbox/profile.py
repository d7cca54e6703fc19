"""What a container may do: its specification turned into the arguments of Docker's "create". Pure.

Everything is said here and nothing is left to the daemon's defaults. What the operator may loosen is what the
configuration has a key for; what is dangerous is refused there (supervisor/config), and once more here, since this is
the last place before the daemon.

Where nothing is set a container has 256 processes, 1 GB of memory and no swap, 1024 open files, 64 MB in each tmpfs, no
network, and a quarter of a normal process's weight when the processor is wanted by others (`cpu-shares`), so that a
busy agent starves neither the router nor its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from protocol.errors import Permanent
from protocol.sandbox import DOCKER, slug
from supervisor.sandbox.spec import BOOT, ContainerSpec, Mount, digest

#: The first process, in a Python environment that the agent's apt-get or pip cannot break (see image/Dockerfile). An
#: image of the operator's own must hold the same, or have an entry point that runs `worker.container`. `-P`: nothing is
#: imported from the folder it is in, which is the agent's.
COMMAND = ("/opt/openclaw/bin/python3", "-P", "-m", "worker.container")

PIDS = 256
MEMORY = "1g"
CPU_SHARES = 256
NOFILE = 1024
TMPFS_OPTIONS = "rw,nosuid,nodev,noexec,size=64m"
SHM = 64 * 1024 * 1024
#: A container dies before the gateway when the whole machine runs out of memory (proc_pid_oom_score_adj(5)).
OOM_SCORE = 500
#: Only the first process writes there; workers have pipes of their own.
LOG = {"Type": "json-file", "Config": {"max-size": "64k", "max-file": "1"}}
#: What a root launcher needs to make workers under other users, and to end them.
LAUNCHER_CAPS = ("SETUID", "SETGID", "KILL")

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}

# Labels (SPEC 5.8), and ours.
SANDBOX = "openclaw.sandbox"
SESSION_KEY = "openclaw.sessionKey"
CREATED = "openclaw.createdAtMs"
CONFIG_HASH = "openclaw.configHash"
FORMAT = "openclaw.mountFormatVersion"
OWNER = "openclaw.owner"
PLACE = "openclaw.place"
AGENTS = "openclaw.agents"
PROFILE_HASH = "openclaw.profileHash"


def arguments(
    spec: ContainerSpec, image: str, seccomp: str, command: Sequence[str] = COMMAND, now_ms: int = 0
) -> dict[str, Any]:
    """The body of `POST /containers/create`. `seccomp` is a profile's JSON text. Raises Permanent."""
    docker = {**DOCKER, **spec.docker}
    body: dict[str, Any] = {
        "Image": image,
        "Entrypoint": [],
        "Cmd": list(command),
        "User": f"{spec.uid}:{spec.gid}",
        "WorkingDir": docker["workdir"],
        "Env": [f"{name}={value}" for name, value in sorted(docker["env"].items())],
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "OpenStdin": False,
        "Tty": False,
        "HostConfig": _host(spec, docker, seccomp),
    }
    return {**body, "Labels": _labels(spec, now_ms, fingerprint(body))}


def fingerprint(body: Mapping[str, Any]) -> str:
    """Of everything a container is made with but its labels: another build of ours may make it otherwise."""
    bare = {key: value for key, value in body.items() if key != "Labels"}
    return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()


def size(value: str | float) -> int:
    """Bytes of `512m`, `1.5g` or a number. Raises Permanent."""
    text = str(value).strip().lower().removesuffix("b") or "0"
    unit = text[-1] if text[-1] in _UNITS else ""
    try:
        return int(float(text.removesuffix(unit)) * _UNITS[unit])
    except ValueError:
        raise Permanent(f'"{value}" is no size, such as "512m"') from None


def place_of(spec: ContainerSpec) -> str:
    """The name of the sandbox, as the router knows it (protocol.sandbox.Placement)."""
    return "shared" if spec.scope_key == "shared" else slug(spec.scope_key)


def _host(spec: ContainerSpec, docker: Mapping[str, Any], seccomp: str) -> dict[str, Any]:
    memory = size(docker.get("memory") or MEMORY)
    host: dict[str, Any] = {
        "NetworkMode": _network(docker),
        "ReadonlyRootfs": bool(docker["readOnlyRoot"]),
        "Privileged": False,
        "Init": True,
        "CapDrop": ["ALL"],
        "CapAdd": list(LAUNCHER_CAPS) if spec.launches else [],
        "SecurityOpt": _security(docker, seccomp),
        "IpcMode": "private",
        "PidsLimit": int(docker.get("pidsLimit") or PIDS),
        "Memory": memory,
        # Without it Docker allows as much swap as memory.
        "MemorySwap": _swap(docker.get("memorySwap"), memory),
        "NanoCpus": int(float(docker.get("cpus") or 0) * 1e9),
        "CpuShares": CPU_SHARES,
        "OomScoreAdj": OOM_SCORE,
        "Ulimits": _ulimits(docker.get("ulimits") or {}),
        "ShmSize": SHM,
        "Tmpfs": dict(_tmpfs(entry) for entry in docker["tmpfs"]),
        "Mounts": [_mount(mount) for mount in _mounts(spec, docker)],
        "Dns": list(docker.get("dns") or ()),
        "ExtraHosts": list(docker.get("extraHosts") or ()),
        "DeviceRequests": _gpus(docker.get("gpus")),
        "RestartPolicy": {"Name": "no"},
        "LogConfig": LOG,
    }
    return host | ({"Runtime": docker["runtime"]} if docker.get("runtime") else {})


def _labels(spec: ContainerSpec, now_ms: int, profile: str) -> dict[str, str]:
    return {
        SANDBOX: "1",
        SESSION_KEY: spec.scope_key,
        CREATED: str(now_ms),
        CONFIG_HASH: digest(spec),
        FORMAT: "2",
        OWNER: spec.owner,
        PLACE: place_of(spec),
        AGENTS: ",".join(spec.agents),
        PROFILE_HASH: profile,
    }


def _network(docker: Mapping[str, Any]) -> str:
    network = str(docker["network"]).strip() or "none"
    joins = network.startswith("container:") and not docker.get("dangerouslyAllowContainerNamespaceJoin")
    if network == "host" or joins:
        raise Permanent(f'Sandbox security: network mode "{network}" is blocked. Use "bridge" or "none" instead.')
    return network


def _security(docker: Mapping[str, Any], seccomp: str) -> list[str]:
    if not seccomp.strip().startswith("{"):
        raise Permanent("the seccomp profile is no JSON object")
    options = ["no-new-privileges", f"seccomp={seccomp}"]
    if apparmor := docker.get("apparmorProfile"):
        if apparmor == "unconfined":
            raise Permanent('Sandbox security: apparmorProfile "unconfined" is blocked.')
        options.append(f"apparmor={apparmor}")
    return options


def _swap(value: str | float | None, memory: int) -> int:
    """Docker's `memory-swap` is the sum of both. Unset is no swap; -1, "as much as you like", is none either."""
    return memory if value is None else max(size(value), memory)


def _ulimits(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    merged = {"nofile": NOFILE, "core": 0, **given}
    return [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in sorted(_pairs(merged).items())]


def _pairs(limits: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """A limit is `{soft, hard}`, a number for both, or `soft:hard`."""
    found = {}
    for name, value in limits.items():
        if isinstance(value, Mapping):
            soft, hard = value.get("soft", value.get("hard")), value.get("hard", value.get("soft"))
        else:
            soft, _, hard = str(value).partition(":")
        found[name] = (int(soft), int(hard or soft))
    return found


def _tmpfs(entry: str) -> tuple[str, str]:
    """`/tmp`, or `/tmp:size=1g,exec`: whoever writes options has chosen them."""
    path, _, options = entry.partition(":")
    return path, options or TMPFS_OPTIONS


def _mounts(spec: ContainerSpec, docker: Mapping[str, Any]) -> list[Mount]:
    boot = Mount(source=spec.boot_folder, target=BOOT)
    own = [mount for mount in spec.mounts if mount.target != BOOT]
    return [*own, boot, *(_bind(text) for text in docker.get("binds") or ())]


def _bind(text: str) -> Mount:
    """`host:container[:mode]`, writable unless the mode says `ro`, as in Docker."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source.startswith("/") or not target.startswith("/"):
        raise Permanent(f'bind "{text}" is not /host/path:/container/path[:ro]')
    return Mount(source=source, target=target, read_only="ro" in mode.split(","))


def _mount(mount: Mount) -> dict[str, Any]:
    """A bind mount fails when its source is missing, where `binds` would make an empty folder owned by root."""
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _gpus(value: str | int | None) -> list[dict[str, Any]]:
    """`all`, a number, or `device=0,1` (docker run --gpus)."""
    text = str(value or "").strip()
    if not text:
        return []
    request: dict[str, Any] = {"Capabilities": [["gpu"]]}
    if text.startswith("device="):
        return [request | {"DeviceIDs": text.removeprefix("device=").strip("\"'").split(",")}]
    try:
        return [request | {"Count": -1 if text == "all" else int(text)}]
    except ValueError:
        raise Permanent(f'gpus "{text}" is neither "all", a number nor "device=…"') from None
