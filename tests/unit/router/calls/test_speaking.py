"""The tool message: to this chat, to others where that is allowed, and never to another client's."""

from __future__ import annotations

from typing import Any

from protocol.config import Binding, Match, PeerMatch
from protocol.slices import Reach
from tests.unit.router.calls.stage import Stage, agent


async def say(stage: Stage, **arguments: Any) -> Any:
    row = await stage.own()
    return await stage.asked(row, "message", **{"action": "send", "message": "hi", **arguments})


async def test_without_a_target_it_goes_where_the_answer_goes(make: Any) -> None:
    stage = await make()
    answer = await say(stage)
    assert answer["ok"] and answer["chatId"] == "7"
    (sent,) = await stage.channel.wait_sent(1)
    assert (sent.address.target, sent.text) == ("7", "hi")


async def test_another_chat_of_the_same_account_may_be_written_to(make: Any) -> None:
    stage = await make()
    assert (await say(stage, target="fake:99"))["chatId"] == "99"
    (sent,) = await stage.channel.wait_sent(1)
    assert sent.address.target == "99"


async def test_another_chat_is_forbidden_where_the_configuration_says_so(make: Any) -> None:
    stage = await make(reach=Reach(same_channel=False))
    answer = await say(stage, target="99")
    assert answer["status"] == "forbidden" and "crossContext" in answer["error"]
    assert (await say(stage))["ok"]


async def test_other_channels_and_accounts_are_forbidden(make: Any) -> None:
    stage = await make()
    for other in ({"channel": "telegram"}, {"accountId": "second"}):
        assert (await say(stage, target="7", **other))["status"] == "forbidden"
    assert stage.channel.sent == []


async def test_a_chat_of_another_client_is_unknown(make: Any) -> None:
    theirs = Binding(agent_id="b", match=Match(channel="fake", peer=PeerMatch(kind="direct", id="99")))
    stage = await make(agent("a", tenant="one"), agent("b", tenant="two"), bindings=(theirs,))
    assert "Unknown target" in (await say(stage, target="99"))["error"]
    assert (await say(stage, target="98"))["ok"]


async def test_what_cannot_be_a_target_is_refused(make: Any) -> None:
    stage = await make()
    for target in ("", "#chan\r\nQUIT", "a b", "x" * 129):
        assert (await say(stage, target=target))["status"] == "error"
    assert (await say(stage, action="delete"))["status"] == "error"
    assert (await say(stage, message=""))["status"] == "error"
    assert stage.channel.sent == []


async def test_a_request_asked_again_after_a_new_router_is_sent_once(make: Any) -> None:
    stage = await make()
    row = await stage.message()
    first = await stage.asked(row, "message", action="send", message="hi")
    stage.calls.ended(stage.seats[0], 1)
    stage.request -= 1
    assert await stage.asked(row, "message", action="send", message="hi") == first
    assert [one.text for one in await stage.channel.wait_sent(1)] == ["hi"]
    counts = await stage.spool.counts()
    assert sum(count for name, count in counts.items() if name.startswith("out.")) == 1
