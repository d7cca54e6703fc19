"""The system calls a container may make: `seccomp.json`, which is part of the package (deploy/ points to it).

An allowlist: what is not named there fails with EPERM, on every processor it does not name nothing runs. Against
Docker's own profile it also refuses new namespaces, ptrace and reading another process's memory, keyrings, handles of
files, device nodes, raw sockets and every family of sockets but AF_UNIX, AF_INET, AF_INET6 and NETLINK_ROUTE.
"""

from __future__ import annotations

from importlib import resources

import msgspec


def profile() -> str:
    """The profile as Docker takes it in `--security-opt seccomp=`: JSON on one line, without the comments."""
    written = msgspec.json.decode((resources.files("supervisor.sandbox") / "seccomp.json").read_bytes())
    for rule in written["syscalls"]:
        rule.pop("comment", None)
    return msgspec.json.encode(written).decode()
