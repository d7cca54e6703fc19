"""Worker and router decide alike which tools a turn may use: by the original's vectors, and for whatever comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import ToolList
from protocol.ids import normalize_agent_id
from protocol.messages import Grant
from protocol.sandbox import HOST
from protocol.slices import ToolRules, WorkerSlice
from protocol.tool_layers import inside, profile, profile_also, tool_layers
from protocol.tool_policy import ALL_TOOLS, GROUPS, PROFILES, for_turn
from router import policy
from tests.contract.conformance_policy import config_of, is_sandboxed, tools_of
from tests.contract.test_conformance import FOLDER, skip_reason
from worker.calls import Calls
from worker.llm.base import ToolSpec
from worker.tools.base import Context, ToolResult
from worker.tools.processes import Processes
from worker.tools.registry import Toolbox, file_access, toolbox

BOX = "box-1"
CASES = [
    case
    for case in map(json.loads, (FOLDER / "tools.jsonl").read_text().splitlines())
    if "allowed" in (case["expected"] if isinstance(case["expected"], dict) else {}) and not skip_reason(case)
]


class Idle:
    """A tool of any name."""

    def __init__(self, name: str) -> None:
        self.spec = ToolSpec(name, name, {})

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        return ToolResult("")


ALL = {name: Idle(name) for name in ALL_TOOLS}


def by_worker(rules: ToolRules, place: str, grant: Grant) -> frozenset[str]:
    """What a worker leaves that has every tool there is: its agent's policy, then the turn's."""
    layers = (*rules.layers, *((rules.inside,) if place != HOST else ()))
    agents = for_turn(ALL, rules.profile, layers, rules.also, owner=True)
    return Toolbox({name: ALL[name] for name in agents}, layers).granted(grant).names


def test_there_are_cases() -> None:
    assert len(CASES) > 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_both_decide_a_case_as_the_original_did(case: Mapping[str, Any]) -> None:
    given = case["input"]
    config, agent = config_of(given), normalize_agent_id(given["agentId"])
    shared, own = config.tools, tools_of(config, agent)
    sandboxed = given.get("sandboxed")
    sandboxed = is_sandboxed(config, agent, given["sessionKey"]) if sandboxed is None else sandboxed
    rules = ToolRules(
        profile=profile(shared, own),
        also=profile_also(shared, own),
        layers=tool_layers(shared, own, f"{given.get('modelProvider') or ''}/{given.get('modelId') or ''}"),
        inside=inside(shared, own),
    )
    grant, place = Grant(owner=given.get("senderIsOwner", True)), BOX if sandboxed else HOST
    assert sorted(policy.allowed(rules, place, grant, ALL_TOOLS)) == case["expected"]["allowed"]
    assert sorted(by_worker(rules, place, grant)) == case["expected"]["allowed"]


names = st.sampled_from((*ALL_TOOLS, *GROUPS, "*", "sessions_*", "nobody", " EXEC ", "bash", "group:nobody"))
some = st.none() | st.lists(names, max_size=4).map(tuple)
lists = st.builds(ToolList, allow=some, also_allow=some, deny=some)
layers = st.lists(lists, max_size=3).map(tuple)
rules_of_any = st.builds(
    ToolRules,
    profile=st.sampled_from(("", "full", "nobody", *PROFILES)),
    also=st.lists(names, max_size=3).map(tuple),
    layers=layers,
    inside=lists,
)
grants = st.builds(Grant, owner=st.booleans(), layers=layers)


@given(rules=rules_of_any, place=st.sampled_from((HOST, BOX)), grant=grants)
def test_both_decide_alike_whatever_is_configured(rules: ToolRules, place: str, grant: Grant) -> None:
    assert policy.allowed(rules, place, grant, ALL_TOOLS) == by_worker(rules, place, grant)


@given(rules=rules_of_any, place=st.sampled_from((HOST, BOX)), grant=grants, more=lists)
def test_no_layer_of_a_group_or_sender_gives_a_tool(rules: ToolRules, place: str, grant: Grant, more: ToolList) -> None:
    wider = policy.allowed(rules, place, Grant(owner=True), ALL_TOOLS)
    now = policy.allowed(rules, place, grant, ALL_TOOLS)
    then = policy.allowed(rules, place, Grant(owner=grant.owner, layers=(*grant.layers, more)), ALL_TOOLS)
    assert then <= now <= wider


@given(rules=rules_of_any, grant=grants)
def test_a_real_worker_offers_nothing_that_the_router_would_refuse(rules: ToolRules, grant: Grant) -> None:
    texts = ("agent", "name", "link_socket", "router_public", "worker_public", "worker_secret", "proxy_socket")
    told: dict[str, Any] = {
        **dict.fromkeys((*texts, "proxy_token", "sessions"), "x"),
        "workspace": str(Path.cwd()),
        "model": "openai/x",
        "tool_profile": rules.profile,
        "tool_profile_also": rules.also,
        "tool_layers": rules.layers,
    }
    slice = WorkerSlice(**told)
    offered = toolbox(slice, file_access(slice), Processes(), Calls()).granted(grant)
    assert offered.names <= policy.allowed(rules, HOST, grant, ALL_TOOLS)
