"""Every decision agrees with the original program, case by case, except where RULES 2 says that ours differs.

`CONFORMANCE_DIR` names another folder of vectors. The adapters (conformance_*.py) only name the product's functions.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract import conformance_access, conformance_policy, conformance_router, test_conformance_config

FOLDER = Path(os.environ.get("CONFORMANCE_DIR") or Path(__file__).parent / "conformance")
SUITES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
ADAPTERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **test_conformance_config.ADAPTERS,
    **conformance_access.ADAPTERS,
    **conformance_policy.ADAPTERS,
    **conformance_router.ADAPTERS,
}
#: Ours differs on purpose (README of the vectors, "Scoring").
OURS = {
    "agent-skills-replace-defaults",
    "session-mainKey-ignored-by-router",
    "omitted-accountId-is-literal-default",
    "channel-plugin-specific-default",
    "channel-plugin-account-list",
    "plugin-adds-account-to-bare-channel",
    "telegram-channel-layer",
    "session-scope-global",
}


def skip_reason(case: dict[str, Any]) -> str:
    """Why a case does not count, or nothing."""
    if ours := OURS & set(case.get("why") or ()):
        return min(ours)
    if case.get("schemaValid") is False:
        return "config refused"
    if case["fn"] not in ADAPTERS:
        return f"{case['fn']} is not built"
    if not test_conformance_config.counts(case):
        return "our own workspace"
    return ""


def verdict(case: dict[str, Any]) -> str:
    """What is wrong with the answer to this case, or nothing."""
    found = json.loads(json.dumps(ADAPTERS[case["fn"]](case["input"])))
    if found == case["expected"]:
        return ""
    return f"{case['id']} {case['fn']}: {json.dumps(case['input'])}\n  got  {found}\n  want {case['expected']}"


@pytest.mark.parametrize("suite", SUITES)
def test_every_case_that_counts_is_decided_as_the_original_did(suite: str, conformance_lines: list[str]) -> None:
    """A suite without a case that counts would hold nothing: it only may be one that is not built yet."""
    cases = [json.loads(line) for line in (FOLDER / f"{suite}.jsonl").read_text().splitlines()]
    skipped = Counter(reason for case in cases if (reason := skip_reason(case)))
    wrong = [text for case in cases if not skip_reason(case) and (text := verdict(case))]
    passed = len(cases) - skipped.total() - len(wrong)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())) or "none"
    conformance_lines.append(f"conformance {suite}: {passed} passed, {len(wrong)} failed, skipped: {reasons}")
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong[:3])
