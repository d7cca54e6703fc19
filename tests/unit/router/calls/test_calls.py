"""A request of a worker: in whose name, by whose policy, how much, how often."""

from __future__ import annotations

import asyncio
from typing import Any

from protocol import messages as m
from protocol.config import ToolList
from protocol.envelope import Peer
from protocol.sandbox import Seat
from protocol.slices import ToolRules
from router.calls.limits import MAX_OPEN, REQUEST_BURST, STRIKE_BURST
from tests.unit.router.calls.stage import OPEN, agent, layer

A = Seat("a")


async def test_what_policy_allows_is_done_and_answered(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    answer = await stage.ask(row, "session_status")
    assert answer.ok and "🧵 Session: agent:a:main" in answer.text and "1 running" in answer.text


async def test_a_denied_tool_is_refused_by_the_router_whatever_the_worker_offers(make: Any, caplog: Any) -> None:
    stage = await make(agent("a", layer(deny=("session_status",))), agent("b"))
    row = await stage.message()
    answer = await stage.ask(row, "session_status")
    assert not answer.ok and "session_status, which its tool policy denies" in answer.text
    assert "worker a generation 1 asks for session_status, which its tool policy denies" in caplog.text


async def test_the_layer_of_a_sandbox_counts_only_there(make: Any) -> None:
    rules = ToolRules(inside=ToolList(deny=("session_status",)))
    stage = await make(agent("a", rules, mode="non-main"), agent("b"))
    outside = await stage.message()
    box = stage.seats[1].place
    inside = await stage.message(key="agent:a:fake:group:g", peer=Peer("group", "g"))
    assert (await stage.ask(outside, "session_status")).ok
    assert not (await stage.ask(inside, "session_status", box)).ok


async def test_the_group_and_the_sender_decide_for_their_turn(make: Any) -> None:
    groups = {"g": {"tools": {"deny": ["session_status"]}, "toolsBySender": {"id:9": {"allow": ["session_status"]}}}}
    stage = await make(channels={"fake": {"groups": groups}})
    stranger = await stage.message(key="agent:a:fake:group:g", peer=Peer("group", "g"), sender="7")
    assert not (await stage.ask(stranger, "session_status")).ok
    known = await stage.message("b", "agent:b:fake:group:g", Peer("group", "g"), sender="9")
    assert (await stage.ask(known, "session_status")).ok
    assert stage.wire.of(m.Deliver)[-1].grant.layers == (ToolList(allow=("session_status",)),)


async def test_a_turn_of_another_agent_is_nobodys_name(make: Any, caplog: Any) -> None:
    stage = await make()
    row = await stage.message("b")
    answer = await stage.answer(stage.send(row, "session_status", agent="a"))
    assert not answer.ok and "refused" in answer.text
    assert f"worker a generation 1 asks in the name of '{row.id}', which it has not" in caplog.text


async def test_a_turn_that_has_ended_is_nobodys_name(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    await stage.reply(await stage.delivered(1), "bye")
    assert not (await stage.ask(row, "session_status")).ok


async def test_tools_of_the_original_that_nobody_built_are_said_to_be_so(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    answer = await stage.ask(row, "sessions_spawn", task="x")
    assert not answer.ok and "sessions_spawn is not available in this build" in answer.text
    assert not (await stage.ask(row, "cron")).ok  # for owners only
    assert "unknown tool" in (await stage.ask(row, "rm -rf")).text


async def test_arguments_are_read_strictly(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    assert "unknown field `x`" in (await stage.ask(row, "session_status", x=1)).text
    deep = m.Request(request=900, turn=row.id, tool="session_status", arguments="[" * 100_000)
    stage.turns.worker_said(A, 1, deep)
    assert not (await stage.answer(900)).ok
    nan = m.Request(request=901, turn=row.id, tool="sessions_list", arguments='{"limit": NaN}')
    stage.turns.worker_said(A, 1, nan)
    assert not (await stage.answer(901)).ok
    long = m.Request(request=902, turn=row.id, tool="sessions_list", arguments=" " * 200_001)
    stage.turns.worker_said(A, 1, long)
    assert "longer than" in (await stage.answer(902)).text


async def test_a_request_asked_again_is_answered_again_and_done_once(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    question = m.Request(request=1, turn=row.id, tool="message", arguments='{"action":"send","message":"hi"}')
    stage.turns.worker_said(A, 1, question)
    stage.turns.worker_said(A, 1, question)
    first = await stage.answer(1)
    stage.turns.worker_said(A, 1, question)
    assert [one.text for one in await stage.channel.wait_sent(1)] == ["hi"]
    assert [one for one in stage.wire.of(m.Response) if one.request == 1] == [first, first]


async def test_a_worker_that_floods_is_refused_and_then_replaced(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    for _ in range(int(REQUEST_BURST + STRIKE_BURST) + 10):
        stage.send(row, "session_status")
    assert stage.wire.bad and stage.wire.bad[0][:2] == (A, 1)
    refused = [one for one in stage.wire.of(m.Response) if not one.ok]
    assert len(refused) <= STRIKE_BURST and "asks more than it may" in refused[-1].text
    other = await stage.message("b")
    assert (await stage.ask(other, "session_status")).ok


async def test_a_worker_that_keeps_asking_for_what_it_may_not_is_replaced(make: Any) -> None:
    stage = await make(agent("a", layer(deny=("message",))), agent("b"))
    row = await stage.message()
    for _ in range(int(STRIKE_BURST) + 1):
        stage.send(row, "message", action="send", message="x")
    assert [reason for *_, reason in stage.wire.bad] == [
        "it asks for message, which its tool policy denies, again and again"
    ]
    assert stage.channel.sent == []


async def test_open_requests_are_bounded_and_end_with_their_worker(make: Any) -> None:
    stage = await make(reach=OPEN)
    row = await stage.message()
    for _ in range(MAX_OPEN + 1):
        stage.send(row, "sessions_send", agentId="b", message="x", timeoutSeconds=600)
    refused = await stage.answer(MAX_OPEN + 1)
    assert "too many requests open" in refused.text
    await stage.wire.wait(m.Deliver, 2)
    assert stage.feed.watched("agent:b:main")
    stage.calls.ended(A, 1)
    async with asyncio.timeout(5):
        while stage.feed.watched("agent:b:main"):
            await asyncio.sleep(0)


async def test_an_approval_nobody_can_give_is_denied_and_nothing_leaves_the_sandbox(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    stage.turns.worker_said(A, 1, m.ApprovalWanted(request=1, turn=row.id, command="ls", workdir="/"))
    assert (await stage.wire.wait(m.ApprovalDecided, 1))[0].decision == "deny"
    stage.turns.worker_said(A, 1, m.Elevate(request=2, turn=row.id, command="ls", workdir="/", timeout=1.0))
    assert not (await stage.answer(2)).ok


async def test_whoever_may_not_use_exec_may_not_have_commands_approved_either(make: Any) -> None:
    stage = await make(agent("a", layer(deny=("exec",))))
    asked: list[object] = []

    async def approve(call: Any) -> Any:
        asked.append(call)
        return m.ApprovalDecided(request=call.question.request, decision="allow-once")

    stage.calls.approve = approve
    row = await stage.message()
    stage.turns.worker_said(A, 1, m.ApprovalWanted(request=1, turn=row.id, command="ls", workdir="/"))
    assert (await stage.wire.wait(m.ApprovalDecided, 1))[0].decision == "deny" and asked == []


async def test_a_failure_of_our_own_is_an_answer_and_not_the_routers_end(make: Any) -> None:
    stage = await make()

    async def broken(call: Any) -> Any:
        raise KeyError("a secret detail")

    stage.calls.elevate = broken
    row = await stage.message()
    stage.turns.worker_said(A, 1, m.Elevate(request=1, turn=row.id, command="ls", workdir="/", timeout=1.0))
    answer = await stage.answer(1)
    assert "internal error" in answer.text and "secret" not in answer.text


async def test_a_worker_that_is_quicker_than_the_spool_is_heard_once_it_is_loaded(make: Any) -> None:
    """After a restart of the router a worker asks again before its messages are queued again."""
    stage = await make(loaded=False)
    stage.turns.worker_said(A, 1, m.Request(request=1, turn="00000000000", tool="session_status", arguments="{}"))
    assert stage.wire.of(m.Response) == []
    row = await stage.message()
    stage.turns.worker_said(A, 1, m.Request(request=2, turn=row.id, tool="session_status", arguments="{}"))
    assert (await stage.answer(2)).ok
    stage.calls.loaded()
    assert not (await stage.answer(1)).ok
