"""Sessions that write to each other: who may, what arrives, what comes back, and that it ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol import messages as m
from protocol.config import ToolList
from protocol.envelope import Peer
from protocol.sandbox import Seat
from protocol.slices import Reach, RouterAgent
from tests.unit.router.calls.stage import OPEN, Stage, agent

OFF = "Agent-to-agent messaging is disabled. Set tools.agentToAgent.enabled=true to allow cross-agent sends."
NOT_ACROSS = "Session send visibility is restricted. Set tools.sessions.visibility=all to allow cross-agent access."


async def sent(stage: Stage, **arguments: Any) -> Any:
    row = await stage.own()
    given = {"sessionKey": "agent:b:main", "message": "ping", "timeoutSeconds": 0, **arguments}
    return await stage.asked(row, "sessions_send", **{name: one for name, one in given.items() if one is not None})


@pytest.mark.parametrize(
    ("reach", "error"),
    [
        (Reach(), OFF),
        (Reach(agent_to_agent=True), "Agent-to-agent messaging denied by tools.agentToAgent.allow."),
        (Reach(agent_to_agent=True, allow=("b",)), "Agent-to-agent messaging denied by tools.agentToAgent.allow."),
        (Reach(agent_to_agent=True, allow=("a", "b"), visibility="tree"), NOT_ACROSS),
        (Reach(agent_to_agent=True, allow=("a", "b"), visibility="agent"), NOT_ACROSS),
        (Reach(allow=("*",), visibility="all"), OFF),
    ],
)
async def test_another_agent_is_forbidden_in_the_known_words(make: Any, reach: Reach, error: str) -> None:
    stage = await make(reach=reach)
    answer = await sent(stage)
    assert (answer["status"], answer["error"]) == ("forbidden", error)
    assert len(stage.wire.of(m.Deliver)) == 1


@pytest.mark.parametrize("reach", [OPEN, Reach(agent_to_agent=True, allow=("A", "b "), visibility="all")])
async def test_two_switches_are_enough_for_a_main_session(make: Any, reach: Reach) -> None:
    stage = await make(reach=reach)
    assert (await sent(stage))["status"] == "accepted"
    arrived = await stage.delivered(2)
    assert (arrived.session_key, arrived.message.text) == ("agent:b:main", "ping")
    assert (arrived.message.sender.id, arrived.message.sender.name) == ("a", "A")


async def test_the_answer_comes_back_and_goes_to_no_platform(make: Any) -> None:
    stage = await make(reach=OPEN)
    row = await stage.message()
    number = stage.send(row, "sessions_send", agentId="b", message="ping", timeoutSeconds=5)
    await stage.reply(await stage.delivered(2), "pong")
    answer = msgspec.json.decode((await stage.answer(number)).text)
    assert (answer["status"], answer["reply"], answer["sessionKey"]) == ("ok", "pong", "agent:b:main")
    assert stage.channel.sent == [] and not stage.feed.watched("agent:b:main")


async def test_whoever_does_not_answer_in_time_is_not_waited_for(make: Any) -> None:
    stage = await make(reach=OPEN)
    assert (await sent(stage, timeoutSeconds=0.01))["status"] == "timeout"


async def test_a_failed_turn_is_told_without_its_reason(make: Any) -> None:
    stage = await make(reach=OPEN)
    row = await stage.message()
    number = stage.send(row, "sessions_send", agentId="b", message="ping", timeoutSeconds=5)
    order = await stage.delivered(2)
    stage.turns.worker_said(Seat("b"), 1, m.Done(id=order.id, outcome="failed", error="a secret detail"))
    answer = await stage.answer(number)
    assert not answer.ok and "secret" not in answer.text


async def test_a_request_asked_again_after_a_new_router_is_one_message(make: Any) -> None:
    stage = await make(reach=OPEN)
    row = await stage.message()
    first = await stage.asked(row, "sessions_send", agentId="b", message="ping", timeoutSeconds=0)
    stage.calls.ended(Seat("a"), 1)  # what a new router knows of it: nothing
    stage.request -= 1
    stage.wire.said.clear()
    again = await stage.asked(row, "sessions_send", agentId="b", message="ping", timeoutSeconds=0)
    assert again == first and stage.wire.of(m.Deliver) == []


async def test_tenants_do_not_exist_for_each_other(make: Any) -> None:
    agents = (agent("a", tenant="one"), agent("b", tenant="two"), agent("c", tenant="one"), agent("d"))
    stage = await make(*agents, reach=Reach(agent_to_agent=True, allow=("*",), visibility="all"))
    for key in ("agent:b:main", "agent:d:main", "agent:nobody:main"):
        assert (await sent(stage, sessionKey=key))["error"] == f"No session found: {key}"
    assert (await sent(stage, sessionKey="agent:c:main"))["status"] == "accepted"
    listed = await stage.asked(await stage.own(), "agents_list")
    assert [one["id"] for one in listed["agents"]] == ["a", "c"]


async def test_a_session_that_never_was_cannot_be_made_up(make: Any) -> None:
    stage = await make(reach=Reach(agent_to_agent=True, allow=("*",), visibility="all"))
    assert "No session found" in (await sent(stage, sessionKey="agent:b:fake:group:made-up"))["error"]


async def test_a_deleted_agents_sessions_are_gone(make: Any) -> None:
    stage = await make(reach=Reach(agent_to_agent=True, allow=("*",), visibility="all"))
    await stage.message("b", "agent:b:fake:group:g", Peer("group", "g"))
    assert (await sent(stage, sessionKey="agent:b:fake:group:g"))["status"] == "accepted"
    remaining: tuple[RouterAgent, ...] = stage.slice.agents[:1]
    stage.change(agents=remaining)
    for key in ("agent:b:fake:group:g", "agent:b:main"):
        assert "No session found" in (await sent(stage, sessionKey=key))["error"]


async def test_a_sandboxed_session_sees_its_own_tree_only(make: Any) -> None:
    reach = Reach(agent_to_agent=True, allow=("*",), visibility="all")
    stage = await make(agent("a", mode="all"), agent("b"), reach=reach)
    place = stage.seats[0].place
    row = await stage.message()
    answer = await stage.asked(row, "sessions_send", place, agentId="b", message="x")
    assert answer["error"] == NOT_ACROSS
    listed = await stage.asked(row, "sessions_list", place)
    assert [one["key"] for one in listed["sessions"]] == ["agent:a:main"]


async def test_a_guest_gets_no_more_tools_by_way_of_another_session(make: Any) -> None:
    groups = {"g": {"tools": {"deny": ["exec"]}}}
    stage = await make(reach=Reach(visibility="agent"), channels={"fake": {"groups": groups}})
    row = await stage.message(key="agent:a:fake:group:g", peer=Peer("group", "g"))
    await stage.asked(row, "sessions_send", sessionKey="main", message="run rm", timeoutSeconds=0)
    arrived = await stage.delivered(2)
    assert arrived.session_key == "agent:a:main"
    assert arrived.grant == m.Grant(owner=False, layers=(ToolList(deny=("exec",)),))


async def test_the_owners_rights_end_at_the_first_session(make: Any) -> None:
    stage = await make(reach=OPEN, commands={"ownerAllowFrom": ["7"]})
    row = await stage.message()
    assert stage.wire.of(m.Deliver)[0].grant.owner
    await stage.asked(row, "sessions_send", agentId="b", message="x", timeoutSeconds=0)
    assert not (await stage.delivered(2)).grant.owner


async def test_a_message_that_came_through_too_many_sessions_goes_no_further(make: Any) -> None:
    stage = await make(reach=msgspec.structs.replace(OPEN, max_hops=1))
    row = await stage.message()
    await stage.asked(row, "sessions_send", agentId="b", message="x", timeoutSeconds=0)
    arrived = stage.turns.queues("b")[0].rows()[0]
    answer = await stage.asked(arrived, "sessions_send", agentId="a", message="y", timeoutSeconds=0)
    assert answer["error"] == "This message came through 1 sessions already; it goes no further."


async def test_two_sessions_never_wait_for_each_other(make: Any) -> None:
    stage = await make(reach=OPEN)
    row = await stage.message()
    waiting = stage.send(row, "sessions_send", agentId="b", message="ping", timeoutSeconds=60)
    order = await stage.delivered(2)
    arrived = stage.turns.queues("b")[0].rows()[0]
    back = await stage.asked(arrived, "sessions_send", agentId="a", message="you?", timeoutSeconds=60)
    assert back["status"] == "accepted"
    await stage.reply(order, "pong")
    assert '"reply": "pong"' in (await stage.answer(waiting)).text


async def test_nobody_writes_to_himself(make: Any) -> None:
    stage = await make(reach=OPEN)
    for key in ("main", "current", "agent:a:main"):
        assert "your own session" in (await sent(stage, sessionKey=key))["error"]
    assert "give sessionKey, or agentId" in (await sent(stage, sessionKey=None))["error"]


async def test_history_of_another_session_is_asked_of_its_worker(make: Any) -> None:
    stage = await make(reach=OPEN)
    row = await stage.message()
    number = stage.send(row, "sessions_history", sessionKey="agent:b:main")
    query = (await stage.wire.wait(m.GetHistory, 1))[0]
    said = (m.HistoryEntry(role="user", text="hi", at=1.0), m.HistoryEntry(role="tool", text="x", at=2.0))
    stage.turns.worker_said(Seat("b"), 1, m.History(request=query.request, entries=said))
    answer = msgspec.json.decode((await stage.answer(number)).text)
    assert [one["text"] for one in answer["messages"]] == ["hi"] and answer["droppedMessages"] == 0


async def test_history_and_status_of_others_are_forbidden_by_default(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    await stage.message("a", "agent:a:fake:group:g", Peer("group", "g"))
    for tool, what in (("sessions_history", "history"), ("session_status", "status")):
        answer = await stage.asked(row, tool, sessionKey="agent:a:fake:group:g")
        assert answer["status"] == "forbidden" and f"Session {what} visibility is restricted" in answer["error"]
        assert (await stage.asked(row, tool, sessionKey="agent:b:main"))["status"] == "forbidden"
    assert stage.wire.of(m.GetHistory) == []


async def test_a_list_shows_what_may_be_seen(make: Any) -> None:
    stage = await make(reach=Reach(agent_to_agent=True, allow=("*",), visibility="all"))
    row = await stage.message()
    await stage.message("b", "agent:b:fake:group:g", Peer("group", "g"), subject="Party")
    listed = await stage.asked(row, "sessions_list")
    kinds = {one["key"]: one["kind"] for one in listed["sessions"]}
    assert kinds == {"agent:a:main": "main", "agent:b:fake:group:g": "group"}
    assert (await stage.asked(row, "sessions_list", kinds=["group"]))["sessions"][0]["displayName"] == "Party"
    assert (await stage.asked(row, "sessions_list", agentId="b"))["count"] == 1
    stage.change(reach=Reach())
    assert [one["key"] for one in (await stage.asked(row, "sessions_list"))["sessions"]] == ["agent:a:main"]


async def test_sessions_are_known_again_after_a_restart(make: Any) -> None:
    first = await make(reach=Reach(visibility="agent"))
    await first.message(key="agent:a:fake:group:g", peer=Peer("group", "g"))
    second = Stage()
    second.spool, second.number = first.spool, 100
    second.calls._spool = first.spool
    await second.start(reach=Reach(visibility="agent"))
    assert (await second.asked(await second.own(), "sessions_list", kinds=["group"]))["count"] == 1
    await second.close()


async def test_only_the_main_session_of_another_agent_is_listed_while_nobody_said_how_far_is_seen(make: Any) -> None:
    stage = await make(agent("a"), agent("b"), agent("c", tenant="two"), reach=OPEN)
    row = await stage.message()
    await stage.message("a", "agent:a:fake:group:g", Peer("group", "g"))
    await stage.message("b", "agent:b:fake:group:g", Peer("group", "g"))
    await stage.message("b")
    await stage.message("c")
    listed = await stage.asked(row, "sessions_list")
    assert {one["key"] for one in listed["sessions"]} == {"agent:a:main", "agent:b:main"}
