"""Agents that ask each other, on the whole gateway: off, on and listed, tenants ([K], SPEC 6.2); tools of one group."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.founding import OPEN, stage
from tests.support.model_api import Reply

GROUP: dict[str, Any] = {"peer": "group:120363@g.us", "sender": "+1555", "mentioned": True}
SEND = 'use tool sessions_send {"agentId":"beta","message":"what is new?"}'
OFF = "Agent-to-agent messaging is disabled. Set tools.agentToAgent.enabled=true to allow cross-agent sends."
DENIED = "Agent-to-agent messaging denied by tools.agentToAgent.allow."


def config(tools: dict[str, Any] | None = None, **fields: Any) -> str:
    agents = [{"id": name, "apiKey": f"sk-ant-{name}-0123456789", **fields.get(name, {})} for name in ("alpha", "beta")]
    return json.dumps({"agents": {"list": agents}, "tools": tools or {}})


def shown(body: dict[str, Any]) -> str:
    """Everything a model was shown, as it would read it."""
    blocks = [block for message in body["messages"] for block in message["content"]]
    return "".join(str(block.get("text") or block.get("content") or "") for block in blocks)


def between(*allow: str, **more: Any) -> dict[str, Any]:
    return {"agentToAgent": {"enabled": True, "allow": list(allow)}, **more}


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ({}, OFF),
        (between(), DENIED),
        (between("alpha"), DENIED),
        (between("alpha", "beta"), '"status": "ok"'),
        (between("*", sessions={"visibility": "tree"}), "Session send visibility is restricted."),
    ],
    ids=["off", "no list", "not in it", "both in it", "only its tree"],
)
async def test_one_agent_asks_another_only_where_both_switches_say_so(tools: dict[str, Any], said: str) -> None:
    async with stage(config(tools), {}) as it:
        await it.ask("agent", "--agent", "alpha", "-m", SEND)
        assert said in shown(it.models.seen[-1].body)
        asked = [seen.key for seen in it.models.seen]
        assert ("sk-ant-beta-0123456789" in asked) == ("ok" in said)


async def test_the_other_agent_is_told_who_asks() -> None:
    async with stage(config(between("*")), {}) as it:
        await it.ask("agent", "--agent", "alpha", "-m", SEND)
        theirs = [json.dumps(one.body["messages"]) for one in it.models.seen if "beta" in one.key]
        assert "from_agent" in theirs[0] and "agent:alpha:main" in theirs[0]


async def test_agents_of_different_clients_do_not_exist_for_each_other() -> None:
    text = config(between("*", sessions={"visibility": "all"}), alpha={"tenant": "one"}, beta={"tenant": "two"})
    async with stage(text, {}) as it:
        await it.ask("agent", "--agent", "alpha", "-m", SEND)
        await it.ask("agent", "--agent", "alpha", "-m", "use tool sessions_list {}")
        seen = "".join(shown(one.body) for one in it.models.seen)
        assert "No session found: agent:beta:main" in seen and seen.count('"key": "agent:') == 1
        assert all("beta" not in one.key for one in it.models.seen)


async def test_a_group_may_have_fewer_tools_than_its_agent_and_none_at_all() -> None:
    groups = {
        "120363@g.us": {"tools": {"deny": ["exec", "group:sessions"]}, "requireMention": False},
        "120364@g.us": {"tools": {"allow": ["browser"]}, "requireMention": False},
    }
    lab = {"channels": {"whatsapp": {**OPEN, "groupPolicy": "open", "groups": groups}}}
    async with stage(config(), lab, ("whatsapp",)) as it:
        it.bridge.push("whatsapp", "hello", **GROUP)
        await it.bridge.wait_sent(1)
        offered = {tool["name"] for tool in it.models.seen[-1].body["tools"]}
        assert {"read", "message"} <= offered and not {"exec", "sessions_list"} & offered
        it.bridge.push("whatsapp", "hello", peer="direct:+1777", sender="+1777")
        await it.bridge.wait_sent(2)
        assert "exec" in {tool["name"] for tool in it.models.seen[-1].body["tools"]}
        it.bridge.push("whatsapp", "hello", **{**GROUP, "peer": "group:120364@g.us"})
        await it.logged("no callable tools remain after the tool policy; the allow list is: browser")
        assert len(it.models.seen) == 2


async def test_a_message_of_its_own_accord_reaches_the_chat() -> None:
    async with stage(config(), {"channels": {"whatsapp": OPEN}}, ("whatsapp",)) as it:
        it.bridge.push("whatsapp", 'use tool message {"action":"send","message":"by the way"}', **GROUP)
        await it.bridge.wait_sent(2)
        assert it.bridge.texts[0] == "by the way"


async def test_a_router_that_dies_while_one_agent_waits_for_another_asks_it_once() -> None:
    beta = "sk-ant-beta-0123456789"
    async with stage(config(between("*")), {"channels": {"whatsapp": OPEN}}, ("whatsapp",)) as it:
        it.models.script(beta, Reply("the news", pause=0.2))
        it.bridge.push("whatsapp", SEND, **GROUP)
        await it.bridge.until(lambda: any(one.key == beta for one in it.models.seen))
        assert it.gateway.kill("router")
        await it.bridge.wait_sent(1, 30.0)
        assert "the news" in it.bridge.texts[0] and '"status": "ok"' in it.bridge.texts[0]
        assert [one.key for one in it.models.seen].count(beta) == 1
