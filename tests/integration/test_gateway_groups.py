"""Groups on the whole gateway: broadcasts, what was said before, commands, quotes, threads."""

from __future__ import annotations

import json
from typing import Any

from tests.support.founding import OPEN, stage
from tests.support.model_api import Reply

GROUP = {"peer": "group:120363@g.us", "sender": "+1555", "mentioned": True}


def config(**more: Any) -> str:
    agents = [{"id": name, "apiKey": f"sk-ant-{name}-0123456789"} for name in ("alpha", "beta")]
    return json.dumps({"agents": {"list": agents}, **more})


async def test_one_message_is_answered_by_every_agent_of_the_broadcast_in_order() -> None:
    """`sequential`: the second agent begins when the first has ended, by the failure of its model here."""
    text = config(broadcast={"strategy": "sequential", "120363@g.us": ["beta", "alpha", "ghost"]})
    async with stage(text, {"channels": {"whatsapp": OPEN}}, ("whatsapp",)) as it:
        await it.logged("there is no agent ghost")
        it.models.script("sk-ant-beta-0123456789", Reply("beta here", pause=0.05))
        it.bridge.push("whatsapp", "good morning", **GROUP)
        await it.bridge.wait_sent(2)
        assert [said.rpartition("\n")[2] for said in it.bridge.texts] == ["beta here", "good morning"]
        assert [seen.key for seen in it.models.seen] == ["sk-ant-beta-0123456789", "sk-ant-alpha-0123456789"]
        assert it.routes() == [
            ("beta", "broadcast", "agent:beta:whatsapp:group:120363@g.us"),
            ("alpha", "broadcast", "agent:alpha:whatsapp:group:120363@g.us"),
        ]
        it.models.script("sk-ant-beta-0123456789", Reply(status=400, message="no", kind="invalid_request_error"))
        it.bridge.push("whatsapp", "and again", **GROUP)
        await it.bridge.wait_sent(3)
        assert it.bridge.texts[2].endswith("\nand again")


async def test_new_forgets_and_stop_stops_and_a_stranger_may_do_neither() -> None:
    lab = {"channels": {"whatsapp": {**OPEN, "allowFrom": ["*"], "replyToMode": "first"}}}
    lab["channels"]["whatsapp"]["groupAllowFrom"] = ["+1555"]
    async with stage(config(), lab, ("whatsapp",)) as it:
        it.bridge.push("whatsapp", "remember the word plum", **GROUP)
        await it.bridge.wait_sent(1)
        assert it.bridge.sent[0][1]["reply_to"] == "m1"
        it.bridge.push("whatsapp", "/new", **{**GROUP, "sender": "+1666"})
        it.bridge.push("whatsapp", "/new", **{**GROUP, "mentioned": False})
        await it.bridge.wait_sent(2)
        assert it.bridge.texts[1] == "✅ New session started."
        it.bridge.push("whatsapp", "what was the word?", **GROUP)
        await it.bridge.wait_sent(3)
        assert "plum" not in json.dumps(it.models.seen[-1].body["messages"])
        sessions = it.gateway.state / "agents" / "alpha" / "sessions"
        assert len(list(sessions.glob("*.jsonl.reset.*"))) == 1

        it.bridge.push("whatsapp", 'use tool exec {"command":"sleep 60"}', **GROUP)
        await it.models.arrived(3)
        await it.bridge.until(lambda: bool(it.bridge.typed))
        it.bridge.push("whatsapp", "stop", **{**GROUP, "mentioned": False})
        await it.bridge.wait_sent(4)
        assert it.bridge.texts[3] == "⚙️ Agent was aborted."
        it.bridge.push("whatsapp", "still there?", **GROUP)
        await it.bridge.wait_sent(5)
        assert it.bridge.texts[4].endswith("\nstill there?")


async def test_an_operator_begins_a_new_session_from_the_command_line() -> None:
    async with stage(config(), {}) as it:
        assert "echo: remember plum" in (await it.ask("agent", "--agent", "alpha", "-m", "remember plum")).out
        assert "✅ New session started." in (await it.ask("agent", "--agent", "alpha", "-m", "/new")).out
        await it.ask("agent", "--agent", "alpha", "-m", "what was it?")
        assert "plum" not in json.dumps(it.models.seen[-1].body["messages"])


async def test_a_thread_is_a_session_of_its_own_and_is_answered_inside() -> None:
    lab = {"channels": {"slack": {**OPEN, "groupPolicy": "open"}}}
    async with stage(config(), lab, ("slack",)) as it:
        where = {"peer": "channel:C1", "sender": "U1", "team_id": "T1", "mentioned": True}
        it.bridge.push("slack", "in the channel", **where)
        await it.bridge.wait_sent(1)
        it.bridge.push("slack", "in the thread", thread="171.5", **where)
        await it.bridge.wait_sent(2)
        assert [key for _, _, key in it.routes()] == [
            "agent:alpha:slack:channel:c1", "agent:alpha:slack:channel:c1:thread:171.5"
        ]  # fmt: skip
        assert [line["thread"] for _, line in it.bridge.sent] == [None, "171.5"]


async def test_messages_survive_a_killed_router_and_a_broken_bridge_once_each() -> None:
    async with stage(config(), {"channels": {"whatsapp": OPEN}}, ("whatsapp",)) as it:
        it.bridge.faults = [None]
        it.bridge.push("whatsapp", "one", peer="direct:+1555")
        await it.bridge.wait_sent(1)
        it.gateway.kill("router")
        it.bridge.push("whatsapp", "two", peer="direct:+1555")
        await it.bridge.wait_sent(2)
        it.bridge.push("whatsapp", "three", peer="direct:+1555")
        await it.bridge.wait_sent(3)
        assert it.bridge.texts == ["echo: one", "echo: two", "echo: three"]
