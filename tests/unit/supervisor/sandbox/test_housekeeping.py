"""How long containers are kept: as their agent says, those of single sessions too."""

from __future__ import annotations

from protocol.config import Sandbox
from supervisor.sandbox.containers import Keep
from supervisor.sandbox.housekeeping import keeps
from supervisor.sandbox.registry import Entry
from tests.support.plans import agent_of, plan_of


def entry(name: str, session_key: str) -> Entry:
    return Entry(
        container_name=name, runtime_label=name, session_key=session_key, created_at_ms=0, last_used_at_ms=0, image="i",
        config_hash="h",
    )  # fmt: skip


def test_each_container_is_kept_as_long_as_its_agent_says() -> None:
    one = agent_of("a", sandbox=Sandbox(mode="all", prune={"idleHours": 1}))
    many = agent_of("b", sandbox=Sandbox(mode="all", scope="session", prune={"maxAgeDays": 2}))
    found = keeps(plan_of(one, many), [entry("of-a-session", "agent:b:telegram:group:-1"), entry("odd", "shared")])
    [own] = (name for name in found if name != "of-a-session")
    assert found == {own: Keep(1, 7), "of-a-session": Keep(24, 2)}


def test_a_container_of_an_agent_that_is_gone_goes_by_the_usual_times() -> None:
    assert keeps(plan_of(), [entry("old", "agent:gone:main")]) == {}
