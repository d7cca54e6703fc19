"""The import table of docs/architecture.md, held by reading every import of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("protocol", "router", "supervisor", "worker")

#: Prefix of a module -> what it may import of ours (longest matching prefix counts).
MAY_IMPORT = {
    "protocol": ("protocol",),
    "router": ("protocol", "router"),
    "router.cliproxy": ("protocol", "router.cliproxy"),
    "router.channels": ("protocol", "router.channels", "router.spool.backoff"),
    "worker": ("protocol", "worker"),
    "supervisor": ("protocol", "supervisor"),
    "supervisor.cli": ("protocol", "supervisor.cli", "supervisor.config", "supervisor.service", "supervisor.lock"),
    # What walls this machine has is asked where they are built from; Docker is asked whether its images are there.
    "supervisor.cli.checkup.sandboxes": (
        "protocol",
        "supervisor.cli",
        "supervisor.config",
        "supervisor.ground",
        "supervisor.sandbox.engine",
        "supervisor.sandbox.images",
    ),
    "supervisor.cli.isolation": ("protocol", "supervisor.cli", "supervisor.config", "supervisor.ground"),
    # Containers outlive the gateway, and images are made before it: both are asked of Docker directly.
    "supervisor.cli.sandbox": (
        "protocol",
        "supervisor.cli",
        "supervisor.config",
        "supervisor.sandbox.engine",
        "supervisor.sandbox.images",
        "supervisor.sandbox.listing",
    ),
}
#: The only third-party packages of `protocol`, and where.
PROTOCOL_PACKAGES = {"protocol.link": {"msgspec", "zmq"}, "protocol.process": {"msgspec", "setproctitle"}}
#: Pure modules: values in, values out, `now` an argument.
PURE = (
    "protocol.approvals",
    "protocol.codec",
    "protocol.config",
    "protocol.control",
    "protocol.envelope",
    "protocol.errors",
    "protocol.ids",
    "protocol.isolation",
    "protocol.messages",
    "protocol.probes",
    "protocol.routes",
    "protocol.sandbox",
    "protocol.session_key",
    "protocol.shell",
    "protocol.skills",
    "protocol.slices",
    "protocol.slices_proxy",
    "protocol.tool_layers",
    "protocol.tool_policy",
    "router.access",
    "router.approvals.rights",
    "router.approvals.shown",
    "router.bindings",
    "router.boundary",
    "router.broadcast",
    "router.calls.arguments",
    "router.calls.book",
    "router.calls.limits",
    "router.calls.reach",
    "router.chunking",
    "router.commands",
    "router.compare",
    "router.dispatch",
    "router.history",
    "router.entry",
    "router.explain",
    "router.lint",
    "router.mentions",
    "router.pairing",
    "router.platforms",
    "router.policy",
    "router.prover",
    "router.relay",
    "router.replies",
    "router.routing",
    "router.rules",
    "router.samples",
    "router.spool.backoff",
    "router.spool.states",
    "router.threads",
    "router.channels.bridge.wire",
    "router.channels.irc.parse",
    "router.channels.irc.render",
    "router.channels.telegram.parse",
    "router.channels.telegram.render",
    "router.tenants",
    "supervisor.config.bind_rules",
    "supervisor.config.sandbox_check",
    "supervisor.config.tool_paths",
    "supervisor.config.walls",
    "supervisor.disk_rules",
    "supervisor.policy",
    "supervisor.sandbox.profile",
    "worker.llm.sse",
    "worker.prompt",
    "worker.tools.approvals",
    "worker.tools.patch_text",
    "worker.turn",
)
IMPURE = {
    "asyncio",
    "zmq",
    "sqlite3",
    "os",
    "time",
    "socket",
    "subprocess",
    "random",
    "aiohttp",
    "pathlib",
    "threading",
}


def modules() -> dict[str, Path]:
    found = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """Full names a module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def within(name: str, prefixes: tuple[str, ...] | str) -> bool:
    prefixes = (prefixes,) if isinstance(prefixes, str) else prefixes
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_package_may(module: str) -> None:
    rule = max((prefix for prefix in MAY_IMPORT if within(module, prefix)), key=len)
    for name in imports(module):
        if name.split(".")[0] in OURS:
            assert within(name, MAY_IMPORT[rule]), f"{module} must not import {name}"


@pytest.mark.parametrize("module", [module for module in MODULES if within(module, "protocol")])
def test_protocol_needs_only_the_standard_library_and_msgspec(module: str) -> None:
    for name in imports(module):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top != "protocol":
            assert top in PROTOCOL_PACKAGES.get(module, {"msgspec"}), f"{module} must not import {name}"


def test_only_the_link_imports_zmq() -> None:
    users = {module for module in MODULES if any(within(name, "zmq") for name in imports(module))}
    assert users == {"protocol.link"}


def test_the_worker_of_a_channel_never_hears_of_another_channel() -> None:
    for module in MODULES:
        if within(module, "router.channels") and module.count(".") >= 3:
            own = ".".join(module.split(".")[:3])
            for name in imports(module):
                if within(name, "router.channels") and name.count(".") >= 2:
                    assert within(name, (own, "router.channels.base")), f"{module} must not import {name}"


def test_typer_and_docker_stay_out_of_router_and_worker() -> None:
    for module in MODULES:
        if within(module, ("router", "worker")) and module != "router.cliproxy.cli":
            assert not any(within(name, ("typer", "docker", "rich")) for name in imports(module)), module


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_touches_no_clock_no_disk_and_no_loop(module: str) -> None:
    assert module in MODULES, f"{module} is listed as pure but does not exist"
    touched = {name.split(".")[0] for name in imports(module)} & IMPURE
    assert not touched, f"{module} imports {sorted(touched)}"


def test_nothing_unpickles() -> None:
    for module in MODULES:
        assert not {name.split(".")[0] for name in imports(module)} & {"pickle", "marshal", "shelve", "dill"}, module
