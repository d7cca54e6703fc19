"""Agents, accounts and bindings do what the original program does, case by case.

`CONFORMANCE_DIR` names another folder of vectors. The adapters hold no logic: they only name the product's functions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.config import Config
from protocol.ids import normalize_agent_id
from protocol.paths import Paths
from supervisor.config import agents, bindings, channels, roster

FOLDER = Path(os.environ.get("CONFORMANCE_DIR") or Path(__file__).parent / "conformance")
PATHS = Paths.from_environ({"HOME": "/home/tester"})
#: Deliberate differences, RULES 2.
OURS = {"channel-plugin-specific-default", "channel-plugin-account-list", "plugin-adds-account-to-bare-channel"}


def config_of(case: dict[str, Any]) -> Config:
    cfg = case["cfg"] or {}
    wanted = {"agents": cfg.get("agents") or {}, "session": cfg.get("session") or {}}
    return msgspec.convert(wanted, Config, strict=False)


def paths_of(case: dict[str, Any]) -> Paths:
    return Paths.from_environ({"HOME": "/home/tester", **(case.get("env") or {})})


def list_agent_ids(case: dict[str, Any]) -> Any:
    return list(agents.agent_ids(config_of(case)))


def resolve_default_agent_id(case: dict[str, Any]) -> Any:
    return agents.default_agent_id(config_of(case))


def resolve_workspace(case: dict[str, Any]) -> Any:
    return str(agents.workspace(config_of(case), paths_of(case), case["agentId"]))


def resolve_agent_dir(case: dict[str, Any]) -> Any:
    return str(agents.agent_dir(config_of(case), paths_of(case), case["agentId"]))


def apply_agent_config(case: dict[str, Any]) -> Any:
    fields = {key: value for key, value in case["params"].items() if key != "agentId"}
    return roster.put(case["cfg"], case["params"]["agentId"], fields)


def prune_agent_config(case: dict[str, Any]) -> Any:
    pruned = roster.prune(case["cfg"], case["agentId"])
    return {"config": pruned.config, "removedBindings": pruned.bindings, "removedAllow": pruned.allowed}


def section_of(case: dict[str, Any]) -> dict[str, Any]:
    section = ((case["cfg"] or {}).get("channels") or {}).get(case["channel"])
    return section if isinstance(section, dict) else {}


def list_account_ids(case: dict[str, Any]) -> Any:
    return list(channels.listed_accounts(case["channel"], section_of(case)))


def default_account_id(case: dict[str, Any]) -> Any:
    return channels.default_account_id(section_of(case))


def parse_binding_specs(case: dict[str, Any]) -> Any:
    rows, errors = bindings.parse_specs(case["agentId"], case["specs"], channels.LABELS)
    return {"bindings": rows, "errors": errors}


def conflicts_of(found: list[bindings.Conflict]) -> Any:
    return [{"binding": one.binding, "existingAgentId": one.owner} for one in found]


def apply_agent_bindings(case: dict[str, Any]) -> Any:
    done = bindings.bind(case["cfg"].get("bindings") or [], case["bindings"])
    return {**done._asdict(), "conflicts": conflicts_of(done.conflicts)}


def remove_agent_bindings(case: dict[str, Any]) -> Any:
    done = bindings.unbind(case["cfg"].get("bindings") or [], case["bindings"])
    return {**done._asdict(), "conflicts": conflicts_of(done.conflicts)}


def bind_sequence(case: dict[str, Any]) -> Any:
    config, steps = case["cfg"] or {}, []
    rows = config.get("bindings") or []
    known = [roster.id_of(entry) for entry in roster.listed(config)] or ["main"]
    for op in case["ops"]:
        agent = (op.get("agent") or "").strip() or agents.default_agent_id(config_of(case))
        parsed, errors = bindings.parse_specs(agent, op.get("specs") or [], channels.LABELS)
        if normalize_agent_id(agent) not in known:
            steps.append({"errors": [f'Agent "{agent}" not found.']})
        elif errors or not (parsed or op.get("all")):
            steps.append({"errors": errors or ["no bind specs"]})
        else:
            done: Any = step_of(op, rows, parsed, agent)
            rows = done.bindings
            steps.append(told(done))
            if op.get("all"):
                steps[-1] = {"removed": steps[-1]["removed"]}
    return {"bindings": rows, "steps": steps}


def step_of(op: dict[str, Any], rows: Any, parsed: Any, agent: str) -> Any:
    if op.get("all"):
        return bindings.unbind_all(rows, agent)
    return bindings.bind(rows, parsed) if op["op"] == "bind" else bindings.unbind(rows, parsed)


def told(done: Any) -> dict[str, Any]:
    fields = {key: [bindings.describe(row) for row in value] for key, value in done._asdict().items()
              if key not in ("bindings", "conflicts")}  # fmt: skip
    return {**fields, "conflicts": [{"binding": bindings.describe(one.binding), "ownedBy": one.owner}
                                    for one in done.conflicts]}  # fmt: skip


ADAPTERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "listAgentIds": list_agent_ids,
    "resolveDefaultAgentId": resolve_default_agent_id,
    "resolveAgentWorkspaceDir": resolve_workspace,
    "resolveAgentDir": resolve_agent_dir,
    "applyAgentConfig": apply_agent_config,
    "pruneAgentConfig": prune_agent_config,
    "listAccountIds": list_account_ids,
    "genericDefaultAccountId": default_account_id,
    "resolveDefaultAccountId": default_account_id,
    "parseBindingSpecs": parse_binding_specs,
    "applyAgentBindings": apply_agent_bindings,
    "removeAgentBindings": remove_agent_bindings,
    "bindSequence": bind_sequence,
}


def cases() -> Iterator[dict[str, Any]]:
    for suite in ("agents", "accounts", "bindings"):
        for line in (FOLDER / f"{suite}.jsonl").read_text().splitlines():
            yield json.loads(line)


def counts(case: dict[str, Any]) -> bool:
    """The scoring rule of the vectors' README."""
    if OURS & set(case.get("why") or ()) or case.get("schemaValid") is False:
        return False
    moved = (case["input"].get("env") or {}).get("OPENCLAW_STATE_DIR")
    return not (moved and case["fn"] == "resolveAgentWorkspaceDir" and "/.openclaw/workspace" in case["expected"])


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_product_decides_as_the_original_did(name: str) -> None:
    """Every case that counts, of one decision."""
    wrong = []
    mine = [case for case in cases() if case["fn"] == name and counts(case)]
    for case in mine:
        found = json.loads(json.dumps(ADAPTERS[name](case["input"])))
        if found != case["expected"]:
            wrong.append(f"{case['id']}: {json.dumps(case['input'])}\n  got  {found}\n  want {case['expected']}")
    assert mine and not wrong, f"{len(wrong)} of {len(mine)}:\n" + "\n".join(wrong[:3])
