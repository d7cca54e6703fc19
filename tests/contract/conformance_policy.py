"""Thin adapters from the vectors' names to the decisions on tools, sandboxes and skills. No logic lives here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from protocol import sandbox, skills, tool_layers, tool_policy
from protocol.config import AgentDefaults, AgentTools, Config, ToolList
from protocol.ids import normalize_agent_id
from protocol.paths import Paths
from protocol.session_key import main_session_key
from supervisor.config import agents

Case = dict[str, Any]
PATHS = Paths.from_environ({"HOME": "/home/tester"})


def config_of(case: Case) -> Config:
    kept = {key: value for key, value in (case["cfg"] or {}).items() if key in ("agents", "session", "tools")}
    return msgspec.convert(kept, Config, strict=False)


def tools_of(config: Config, agent: str) -> AgentTools:
    return agents.entry(config, agent).tools or AgentTools()


def tool_policies(case: Case) -> Any:
    config, agent = config_of(case), normalize_agent_id(case["agentId"])
    shared, own = config.tools, tools_of(config, agent)
    sandboxed = is_sandboxed(config, agent, case["sessionKey"]) if case.get("sandboxed") is None else case["sandboxed"]
    layers = tool_layers.tool_layers(shared, own, f"{case.get('modelProvider') or ''}/{case.get('modelId') or ''}")
    inside = (tool_layers.inside(shared, own),) if sandboxed else ()
    left = tool_policy.effective(
        tool_policy.ALL_TOOLS,
        tool_layers.profile(shared, own),
        (*layers, *inside),
        tool_layers.profile_also(shared, own),
    )
    return {"allowed": sorted(tool_policy.for_sender(left, case.get("senderIsOwner", True))), "sandboxed": sandboxed}


def sandbox_tools(case: Case) -> Any:
    config = config_of(case)
    return lists(tool_layers.inside(config.tools, tools_of(config, case["agentId"])))


def lists(layer: ToolList) -> Any:
    return {"allow": layer.allow, "deny": layer.deny}


def is_sandboxed(config: Config, agent: str, session_key: str) -> bool:
    mode, session = agents.sandbox(config, agent).mode, config.session
    return sandbox.is_sandboxed(mode, agent, session_key, main_key=session.main_key, session_scope=session.scope)


def sandbox_resolve(case: Case) -> Any:
    config, session_key = config_of(case), case["sessionKey"]
    agent = sandbox.session_agent(session_key, agents.default_agent_id(config))
    found = agents.sandbox(config, agent)
    key = sandbox.scope_key(found.scope, session_key)
    root = found.workspace_root or str(PATHS.sandboxes)
    folder = sandbox.workspace_folder(root, found.scope, key)
    return {
        "agentId": agent,
        "sandboxed": is_sandboxed(config, agent, session_key),
        "mode": found.mode,
        "scope": found.scope,
        "scopeKey": key,
        "containerName": sandbox.container_name(found.docker["containerPrefix"], found.scope, key),
        "backend": found.backend,
        "workspaceAccess": found.workspace_access,
        "workspaceRoot": root,
        # The original tells a shared folder as written and the others with the home put in.
        "sandboxWorkspaceDir": folder if found.scope == "shared" else str(PATHS.expand(folder)),
        "mainSessionKey": main_session_key(agent, config.session.main_key),
        "docker": found.docker,
        "prune": found.prune,
        "tools": lists(tool_layers.inside(config.tools, tools_of(config, agent))),
    }


def skill_filter(case: Case) -> Any:
    config = config_of(case)
    defaults, own = config.agents.defaults or AgentDefaults(), agents.entry(config, case["agentId"])
    return skills.allowlist(defaults.skills, own.skills, own.skills_mode or "extend")


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "expandToolGroups": lambda case: tool_policy.expand(case["list"]),
    "toolPolicy": tool_policies,
    "sandboxToolPolicy": sandbox_tools,
    "sandboxResolve": sandbox_resolve,
    "resolveSandboxScope": lambda case: sandbox.legacy_scope(case.get("perSession")),
    "resolveSandboxScopeKey": lambda case: sandbox.scope_key(case["scope"], case["sessionKey"]),
    "slugifySessionKey": lambda case: sandbox.slug(case["value"]),
    "skillFilter": skill_filter,
}
