"""The fake Bot API, judged by two published clients that know nothing of this project."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
import telegram
from aiogram import Bot as AiogramBot
from aiogram import exceptions as aiogram_errors
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import BotCommand, ReactionTypeEmoji
from telegram import error as ptb_errors
from telegram.request import HTTPXRequest

from tests.support.telegram_api import TelegramApi

TOKEN = "111:AAAA-token"
ANN = 42


@pytest.fixture
async def api() -> AsyncIterator[TelegramApi]:
    async with TelegramApi() as api:
        api.world.add_bot(TOKEN, "work_bot", "Work")
        api.world.add_user(ANN, "Ann", "ann")
        api.world.add_private(ANN)
        yield api


@pytest.fixture
async def ptb(api: TelegramApi) -> AsyncIterator[telegram.Bot]:
    bot = telegram.Bot(TOKEN, base_url=f"{api.url}/bot", base_file_url=f"{api.url}/file/bot")
    async with bot:
        yield bot


@pytest.fixture
async def aiogram(api: TelegramApi) -> AsyncIterator[AiogramBot]:
    bot = AiogramBot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(api.url)))
    yield bot
    await bot.session.close()


async def test_both_clients_learn_who_they_are(ptb: telegram.Bot, aiogram: AiogramBot) -> None:
    """getMe is complete enough for both clients' own models."""
    assert (await ptb.get_me()).username == "work_bot"
    me = await aiogram.get_me()
    assert (me.username, me.is_bot) == ("work_bot", True)


async def test_an_unknown_token_is_unauthorized_for_both(api: TelegramApi) -> None:
    """401 reaches the callers as each client's own error for a bad token."""
    requests = (HTTPXRequest(), HTTPXRequest())
    stranger = telegram.Bot("999:ZZZZ", f"{api.url}/bot", request=requests[0], get_updates_request=requests[1])
    with pytest.raises(ptb_errors.InvalidToken):
        await stranger.initialize()
    for request in requests:
        await request.shutdown()
    bot = AiogramBot("999:ZZZZ", session=AiohttpSession(api=TelegramAPIServer.from_base(api.url)))
    with pytest.raises(aiogram_errors.TelegramUnauthorizedError):
        await bot.get_me()
    await bot.session.close()


async def test_an_update_is_repeated_until_its_offset_confirms_it(api: TelegramApi, ptb: telegram.Bot) -> None:
    """Unconfirmed updates come again; only a higher offset ends that; a negative offset keeps the newest."""
    for text in ("one", "two", "three"):
        api.world.push_text(TOKEN, ANN, ANN, text)
    first = await ptb.get_updates(timeout=0)
    assert [u.message.text for u in first if u.message] == ["one", "two", "three"]
    assert [u.update_id for u in await ptb.get_updates(timeout=0)] == [u.update_id for u in first]
    rest = await ptb.get_updates(offset=first[0].update_id + 1, limit=1, timeout=0)
    assert [u.message.text for u in rest if u.message] == ["two"]
    last = await ptb.get_updates(offset=-1, timeout=0)
    assert [u.message.text for u in last if u.message] == ["three"]
    assert await ptb.get_updates(offset=last[0].update_id + 1, timeout=0) == ()


async def test_a_long_poll_is_held_until_something_arrives(api: TelegramApi, aiogram: AiogramBot) -> None:
    """A poll with a timeout answers when a message comes, not before."""
    poll = asyncio.ensure_future(aiogram.get_updates(timeout=20))
    while api.world.bots[TOKEN].poll is None:
        await asyncio.sleep(0.005)
    assert not poll.done()
    api.world.push_text(TOKEN, ANN, ANN, "hi @work_bot")
    [update] = await poll
    assert update.message is not None and update.message.entities is not None
    assert update.message.entities[0].extract_from(update.message.text or "") == "@work_bot"


async def test_the_first_poller_is_thrown_out_by_a_second(
    api: TelegramApi, ptb: telegram.Bot, aiogram: AiogramBot
) -> None:
    """409 goes to the poll that was there first, for both clients as their own Conflict."""
    poll = asyncio.ensure_future(aiogram.get_updates(timeout=20))
    while api.world.bots[TOKEN].poll is None:
        await asyncio.sleep(0.005)
    second = asyncio.ensure_future(ptb.get_updates(timeout=20))
    with pytest.raises(aiogram_errors.TelegramConflictError):
        await poll
    while api.world.bots[TOKEN].poll is None:
        await asyncio.sleep(0.005)
    await aiogram.get_updates(timeout=0)
    with pytest.raises(ptb_errors.Conflict):
        await second


async def test_polling_conflicts_with_a_webhook(ptb: telegram.Bot) -> None:
    """While a webhook is set, getUpdates is refused; deleteWebhook opens it again."""
    await ptb.set_webhook("https://example.org/hook")
    assert (await ptb.get_webhook_info()).url == "https://example.org/hook"
    with pytest.raises(ptb_errors.Conflict):
        await ptb.get_updates(timeout=0)
    await ptb.delete_webhook()
    assert await ptb.get_updates(timeout=0) == ()


async def test_html_becomes_entities(ptb: telegram.Bot, aiogram: AiogramBot) -> None:
    """Both clients get back plain text and entities with UTF-16 offsets."""
    html = '😀 <b>bold &amp; <i>both</i></b> <a href="https://x.example/?a=1&amp;b=2">link</a>'
    sent = await ptb.send_message(ANN, html, parse_mode="HTML")
    assert sent.text == "😀 bold & both link"
    assert {e.type: sent.parse_entity(e) for e in sent.entities} == {
        "bold": "bold & both",
        "italic": "both",
        "text_link": "link",
    }
    again = await aiogram.send_message(ANN, html, parse_mode="HTML")
    assert again.text == sent.text and again.message_id == sent.message_id + 1
    assert sent.entities[2].url == "https://x.example/?a=1&b=2"


@pytest.mark.parametrize("html", ["<b>open", "<i>x</b>", "a < b", "<made-up>x</made-up>"])
async def test_broken_html_is_refused(html: str, ptb: telegram.Bot, aiogram: AiogramBot) -> None:
    """Bad markup is a BadRequest that says so."""
    with pytest.raises(ptb_errors.BadRequest, match=r"(?i)can't parse entities"):
        await ptb.send_message(ANN, html, parse_mode="HTML")
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="can't parse entities"):
        await aiogram.send_message(ANN, html, parse_mode="HTML")


async def test_text_is_limited_to_4096_utf16_units(ptb: telegram.Bot) -> None:
    """The limit counts what remains after the markup, in UTF-16 units."""
    assert (await ptb.send_message(ANN, "<b>" + "x" * 4096 + "</b>", parse_mode="HTML")).text == "x" * 4096
    for text in ("x" * 4097, "😀" * 2049):
        with pytest.raises(ptb_errors.BadRequest, match="too long"):
            await ptb.send_message(ANN, text)
    with pytest.raises(ptb_errors.BadRequest, match="text is empty"):
        await ptb.send_message(ANN, "  ")


async def test_edits_answer_like_the_real_server(api: TelegramApi, ptb: telegram.Bot, aiogram: AiogramBot) -> None:
    """Changed, not modified, not found and not ours are four different answers."""
    sent = await ptb.send_message(ANN, "one")
    edited = await ptb.edit_message_text("two", ANN, sent.message_id)
    assert isinstance(edited, telegram.Message) and edited.text == "two"
    with pytest.raises(ptb_errors.BadRequest, match="not modified"):
        await ptb.edit_message_text("two", ANN, sent.message_id)
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="message is not modified"):
        await aiogram.edit_message_reply_markup(chat_id=ANN, message_id=sent.message_id)
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="message to edit not found"):
        await aiogram.edit_message_reply_markup(chat_id=ANN, message_id=sent.message_id + 1)
    theirs = api.world.push_text(TOKEN, ANN, ANN, "hello")
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="message can't be edited"):
        await aiogram.edit_message_reply_markup(chat_id=ANN, message_id=theirs)


@pytest.mark.filterwarnings("ignore:.*retry_after:DeprecationWarning")  # announces a future type, not a fault
async def test_errors_reach_both_clients_as_their_own(api: TelegramApi, ptb: telegram.Bot, aiogram: AiogramBot) -> None:
    """429, 403, unknown chats and 502 map to the clients' own exceptions."""
    api.world.fail("rate_limit", method="sendMessage", retry_after=7, times=2)
    with pytest.raises(ptb_errors.RetryAfter, match="7"):
        await ptb.send_message(ANN, "x")
    with pytest.raises(aiogram_errors.TelegramRetryAfter) as limited:
        await aiogram.send_message(ANN, "x")
    assert limited.value.retry_after == 7
    with pytest.raises(ptb_errors.BadRequest, match="Chat not found"):
        await ptb.send_message(999, "x")
    api.world.block(TOKEN, ANN)
    with pytest.raises(ptb_errors.Forbidden):
        await ptb.send_message(ANN, "x")
    with pytest.raises(aiogram_errors.TelegramForbiddenError):
        await aiogram.send_message(ANN, "x")
    api.world.fail("status", code=502)
    with pytest.raises(ptb_errors.NetworkError):
        await ptb.get_me()


async def test_a_cut_connection_may_hide_a_message_that_arrived(api: TelegramApi, aiogram: AiogramBot) -> None:
    """cut leaves nothing behind, cut_after leaves the message; the caller cannot tell them apart."""
    for kind, count in (("cut", 0), ("cut_after", 1)):
        api.world.fail(kind, method="sendMessage")
        with pytest.raises(aiogram_errors.TelegramNetworkError):
            await aiogram.send_message(ANN, kind)
        assert len(api.world.sent(TOKEN)) == count


async def test_a_revoked_token_is_unauthorized_in_the_middle_of_a_poll(api: TelegramApi, ptb: telegram.Bot) -> None:
    """A held poll ends with 401 when the token is replaced."""
    poll = asyncio.ensure_future(ptb.get_updates(timeout=20))
    while api.world.bots[TOKEN].poll is None:
        await asyncio.sleep(0.005)
    api.world.revoke(TOKEN)
    with pytest.raises(ptb_errors.InvalidToken):
        await poll


async def test_an_update_can_be_delivered_again_after_its_confirmation(api: TelegramApi, ptb: telegram.Bot) -> None:
    """The duplicate fault repeats the very same update_id."""
    api.world.push_text(TOKEN, ANN, ANN, "once")
    [update] = await ptb.get_updates(timeout=0)
    assert await ptb.get_updates(offset=update.update_id + 1, timeout=0) == ()
    api.world.redeliver(TOKEN, update.update_id)
    [again] = await ptb.get_updates(offset=update.update_id + 1, timeout=0)
    assert again.update_id == update.update_id


async def test_files_commands_actions_and_reactions(api: TelegramApi, ptb: telegram.Bot, aiogram: AiogramBot) -> None:
    """The smaller methods work through form bodies (PTB) and multipart bodies (aiogram) alike."""
    file = await ptb.get_file(api.world.add_file(TOKEN, b"content", "documents/a.txt"))
    assert bytes(await file.download_as_bytearray()) == b"content"
    assert await aiogram.set_my_commands([BotCommand(command="new", description="fresh session")])
    assert [c.command for c in await ptb.get_my_commands()] == ["new"]
    with pytest.raises(ptb_errors.BadRequest):
        await ptb.set_my_commands([("Bad Name", "x")])
    assert await ptb.send_chat_action(ANN, "typing")
    asked = api.world.push_text(TOKEN, ANN, ANN, "hi")
    assert await aiogram.set_message_reaction(ANN, asked, [ReactionTypeEmoji(emoji="👀")])
    assert api.world.bots[TOKEN].reactions[ANN, asked][0]["emoji"] == "👀"


async def test_ids_count_per_bot_in_private_chats_and_per_chat_in_supergroups(
    api: TelegramApi, ptb: telegram.Bot
) -> None:
    """One counter over all private chats and basic groups; a supergroup has its own."""
    api.world.add_private(43)
    api.world.add_group(-5)
    big = api.world.add_supergroup(-1001234567890, forum=True)
    ids = [(await ptb.send_message(chat, "x")).message_id for chat in (ANN, 43, -5, big, ANN)]
    assert ids == [1, 2, 3, 2, 4]


async def test_topics_and_replies_are_checked(api: TelegramApi, ptb: telegram.Bot) -> None:
    """A known topic is accepted, an unknown one and General by number are not; a missing reply may be allowed."""
    forum = api.world.add_supergroup(-1001234567890, forum=True)
    topic = api.world.add_topic(forum)
    assert (await ptb.send_message(forum, "x", message_thread_id=topic)).message_thread_id == topic
    for thread in (1, 99):
        with pytest.raises(ptb_errors.BadRequest, match=r"(?i)thread not found"):
            await ptb.send_message(forum, "x", message_thread_id=thread)
    with pytest.raises(ptb_errors.BadRequest, match="replied not found"):
        await ptb.send_message(ANN, "x", reply_parameters=telegram.ReplyParameters(5000))
    await ptb.send_message(ANN, "x", reply_parameters=telegram.ReplyParameters(5000, allow_sending_without_reply=True))


async def test_as_a_process_it_is_steered_over_http() -> None:
    """Benchmarks and chaos tests run it beside the product: the same helpers, as POST /control/<helper>."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.telegram_api", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    url = (await server.stdout.readline()).decode().strip()

    async def control(http: aiohttp.ClientSession, helper: str, **arguments: object) -> object:
        async with http.post(f"{url}/control/{helper}", json=arguments) as response:
            return (await response.json()).get("result")

    async with (
        aiohttp.ClientSession() as http,
        AiogramBot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(url))) as bot,
    ):
        await control(http, "add_bot", token=TOKEN, username="work_bot")
        assert await control(http, "push_text", token=TOKEN, chat=ANN, user=ANN, text="hi") == 1
        assert [u.message.text for u in await bot.get_updates() if u.message] == ["hi"]
        waiting = asyncio.ensure_future(control(http, "wait_sent", count=1, timeout=10))
        await bot.send_message(ANN, "hello")
        assert await waiting == 1
        sent = await control(http, "sent", token=TOKEN)
        assert isinstance(sent, dict) and sent["count"] == 1 and sent["messages"][0]["text"] == "hello"
        await control(http, "fail", kind="rate_limit", method="getMe", retry_after=3)
        with pytest.raises(aiogram_errors.TelegramRetryAfter):
            await bot.get_me()
        assert await control(http, "no_such_helper") is None
    server.terminate()
    assert await server.wait() == 0
