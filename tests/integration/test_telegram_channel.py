"""The Telegram channel against the fake Bot API: receiving, sending, and finding out what became of a lost send."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from protocol.envelope import Address, Inbound, Outbound
from router.channels.base import AccountRejected, Probe, Receipt, SendDelayed, SendRefused, SendUncertain
from router.channels.telegram import TelegramChannel, create
from router.channels.telegram.connect import TelegramChannel as Connected
from router.channels.telegram.wire import Wire
from tests.support.telegram_api import CONFLICT_POLL, TelegramApi

TOKEN = "111:SECRETSECRET"
ANN, BOB = 42, 43
FORUM = -1001234567890


class Host:
    """A router that keeps what it was given; `refuse` makes the next `receive` fail as a full disk would."""

    def __init__(self, cursor: str | None = None) -> None:
        self.calls: list[tuple[list[Inbound], str | None]] = []
        self.states: list[str] = []
        self.refuse: Exception | None = None
        self._cursor = cursor
        self._changed = asyncio.Condition()

    async def receive(self, messages: Sequence[Inbound], cursor: str | None = None) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.calls.append((list(messages), cursor))
        self._cursor = cursor
        await self._tell()

    async def cursor(self) -> str | None:
        return self._cursor

    def connected(self, login: str) -> None:
        self._say(f"connected {login}")

    def disconnected(self, reason: str) -> None:
        self._say(f"disconnected {reason}")

    @property
    def messages(self) -> list[Inbound]:
        return [message for messages, _ in self.calls for message in messages]

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    def _say(self, state: str) -> None:
        self.states.append(state)
        asyncio.get_running_loop().create_task(self._tell()).add_done_callback(lambda done: done.result())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, true: Callable[[Host], bool], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: true(self))


@contextlib.asynccontextmanager
async def running(channel: TelegramChannel, host: Host) -> AsyncIterator[Host]:
    """The channel receives for `host` until the block ends, and is waited for until it is connected."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(channel.run(host))
        try:
            await host.until(lambda h: bool(h.states) and h.states[-1].startswith("connected"))
            yield host
        finally:
            task.cancel()


@pytest.fixture
async def api() -> AsyncIterator[TelegramApi]:
    async with TelegramApi() as api:
        api.world.add_bot(TOKEN, "work_bot")
        api.world.add_private(ANN)
        api.world.add_private(BOB)
        api.world.add_supergroup(FORUM, "Forum", forum=True)
        yield api


@pytest.fixture
async def open_channel(api: TelegramApi) -> AsyncIterator[Callable[..., TelegramChannel]]:
    """Channels as a process would build them, one after another; no time is given to stragglers."""
    opened: list[TelegramChannel] = []

    def build(timeout: float = 5.0, settle: float = 0.0, **settings: Any) -> TelegramChannel:
        wire = Wire(TOKEN, api.url, timeout=timeout)
        opened.append(Connected("work", wire, text_limit=4000, settle_seconds=settle, **settings))
        return opened[-1]

    yield build
    for channel in opened:
        await channel.close()


@pytest.fixture
def channel(open_channel: Callable[..., TelegramChannel]) -> TelegramChannel:
    return open_channel()


def outbound(text: str, chat: int = ANN, thread: str | None = None, reply_to: str | None = None) -> Outbound:
    address = Address("telegram", "work", str(chat), thread=thread, reply_to=reply_to)
    return Outbound(key="in.0.0", address=address, text=text)


# -- receiving


async def test_messages_arrive_with_the_cursor_that_confirms_them(api: TelegramApi, channel: TelegramChannel) -> None:
    """A backlog is handed over in one call, its cursor is one past the newest update."""
    for text in ("one", "two"):
        api.world.push_text(TOKEN, ANN, ANN, text)
    async with running(channel, Host()) as host:
        await host.until(lambda h: h.texts == ["one", "two"])
        newest = max(api.world.bots[TOKEN].history)
        assert [cursor for _, cursor in host.calls] == [str(newest + 1)]
        api.world.push_text(TOKEN, ANN, ANN, "three")
        await host.until(lambda h: h.texts[2:] == ["three"])
    assert host.states == ["connected @work_bot"]


async def test_a_message_is_confirmed_only_after_it_was_received(
    api: TelegramApi, open_channel: Callable[..., TelegramChannel]
) -> None:
    """If the router cannot store a message, Telegram keeps it and gives it to the next life."""
    api.world.push_text(TOKEN, ANN, ANN, "keep me")
    host = Host()
    host.refuse = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        await open_channel().run(host)
    assert len(api.world.bots[TOKEN].updates) == 1
    async with running(open_channel(), Host()) as second:
        await second.until(lambda h: h.texts == ["keep me"])


async def test_a_new_life_goes_on_at_the_cursor(api: TelegramApi, open_channel: Callable[..., TelegramChannel]) -> None:
    """What was received before is not received again, though the last confirmation never reached Telegram."""
    api.world.push_text(TOKEN, ANN, ANN, "old")
    async with running(open_channel(), Host()) as first:
        await first.until(lambda h: h.texts == ["old"])
    api.world.push_text(TOKEN, ANN, ANN, "new")
    async with running(open_channel(), Host(await first.cursor())) as second:
        await second.until(lambda h: bool(h.texts))
    assert second.texts == ["new"]


async def test_a_repeated_update_is_equal_to_the_first(api: TelegramApi, channel: TelegramChannel) -> None:
    """A confirmed update that comes again carries the same message id, and the poll goes on after it."""
    api.world.push_text(TOKEN, ANN, ANN, "again")
    async with running(channel, Host()) as host:
        await host.until(lambda h: h.texts == ["again"])
        api.world.redeliver(TOKEN, max(api.world.bots[TOKEN].history))
        await host.until(lambda h: len(h.messages) == 2)
        assert host.messages[0] == host.messages[1]
        api.world.push_text(TOKEN, ANN, ANN, "later")
        await host.until(lambda h: h.texts == ["again", "again", "later"])
        newest = max(api.world.bots[TOKEN].history)
        assert host.calls[-1][1] == str(newest + 1)


async def test_updates_we_cannot_read_still_move_the_cursor(api: TelegramApi, channel: TelegramChannel) -> None:
    """A broken or unknown update is passed over once, not for ever."""
    async with running(channel, Host()) as host:
        api.world.push_update(TOKEN, {"message": {"message_id": "not a number"}})
        await host.until(lambda h: len(h.calls) == 1)
        api.world.push_text(TOKEN, ANN, ANN, "fine")
        await host.until(lambda h: h.texts == ["fine"])
    assert host.calls[0] == ([], str(max(api.world.bots[TOKEN].history)))


async def test_a_long_backlog_comes_in_order(api: TelegramApi, channel: TelegramChannel) -> None:
    """More than one answer full of updates arrives whole and in order."""
    texts = [f"message {i}" for i in range(250)]
    for text in texts:
        api.world.push_text(TOKEN, ANN, ANN, text)
    async with running(channel, Host()) as host:
        await host.until(lambda h: len(h.messages) == 250)
    assert host.texts == texts
    assert [len(messages) for messages, _ in host.calls] == [100, 100, 50]


async def test_a_bad_token_is_rejected_without_naming_it(api: TelegramApi) -> None:
    """The error names the config path, and no part of the token."""
    wrong = create("telegram", "dead", {"botToken": "999:WRONGTOKEN", "apiRoot": api.url})
    with pytest.raises(AccountRejected) as rejected:
        await wrong.run(Host())
    assert "$.channels.telegram.accounts.dead.botToken" in str(rejected.value)
    assert "WRONG" not in repr(rejected.value) and "999" not in repr(rejected.value)
    assert await wrong.probe() == Probe(ok=False, error="getMe: Unauthorized")
    await wrong.close()


async def test_a_token_revoked_in_the_middle_ends_the_account(api: TelegramApi, channel: TelegramChannel) -> None:
    """401 on a held poll is final for this login."""
    with pytest.raises(ExceptionGroup) as ended:
        async with running(channel, Host()):
            while api.world.bots[TOKEN].poll is None:
                await asyncio.sleep(0.005)
            api.world.revoke(TOKEN)
            await asyncio.sleep(5)
    assert ended.group_contains(AccountRejected)


async def test_another_poller_is_reported_and_outlived(api: TelegramApi, channel: TelegramChannel) -> None:
    """409 means "not connected, somebody else polls"; when they stop, messages flow again."""
    async with running(channel, Host()) as host:
        while api.world.bots[TOKEN].poll is None:
            await asyncio.sleep(0.005)
        other = Wire(TOKEN, api.url, timeout=5)
        await other.call("getUpdates", {"timeout": 0})
        await host.until(lambda h: len(h.states) == 3)
        await other.close()
        api.world.push_text(TOKEN, ANN, ANN, "hello")
        await host.until(lambda h: h.texts == ["hello"])
    conflict = f"disconnected getUpdates: 409 {CONFLICT_POLL}"
    assert host.states == ["connected @work_bot", conflict, "connected @work_bot"]


@pytest.mark.parametrize("fault", [{"kind": "status", "code": 502}, {"kind": "cut"}, {"kind": "rate_limit"}])
async def test_trouble_on_the_way_is_waited_out(
    fault: dict[str, Any], api: TelegramApi, channel: TelegramChannel
) -> None:
    """Server errors, cut connections and rate limits disconnect, and then it goes on without a loss."""
    async with running(channel, Host()) as host:
        api.world.fail(method="getUpdates", **fault)
        api.world.push_text(TOKEN, ANN, ANN, "first")
        await host.until(lambda h: len(h.states) == 3 and h.texts == ["first"])
    assert host.states[1].startswith("disconnected getUpdates: ") and TOKEN not in host.states[1]


async def test_a_server_that_restarts_is_found_again(api: TelegramApi, channel: TelegramChannel) -> None:
    """No server at all is trouble too; the state of the account follows."""
    async with running(channel, Host()) as host:
        await api.stop()
        await host.until(lambda h: "disconnected" in h.states[-1])
        await api.start()
        api.world.push_text(TOKEN, ANN, ANN, "back")
        await host.until(lambda h: h.texts == ["back"])


async def test_a_webhook_left_by_somebody_is_taken_down(api: TelegramApi, channel: TelegramChannel) -> None:
    """Polling is impossible while a webhook is set, so it is removed, and its backlog kept."""
    api.world.bots[TOKEN].webhook = "https://elsewhere.example/hook"
    api.world.push_text(TOKEN, ANN, ANN, "kept")
    async with running(channel, Host()) as host:
        await host.until(lambda h: h.texts == ["kept"])
    assert api.world.bots[TOKEN].webhook == ""


async def test_accounts_are_independent(api: TelegramApi, channel: TelegramChannel) -> None:
    """What happens to one bot does not touch another."""
    api.world.add_bot("222:OTHER", "family_bot")
    api.world.add_private(ANN)
    family = create("telegram", "family", {"botToken": "222:OTHER", "apiRoot": api.url})
    async with running(channel, Host()) as work, running(family, Host()) as home:
        api.world.fail("status", token=TOKEN, method="getUpdates", times=2)
        api.world.push_text(TOKEN, ANN, ANN, "to work")
        api.world.push_text("222:OTHER", ANN, ANN, "to family")
        await home.until(lambda h: h.texts == ["to family"])
        await work.until(lambda h: h.texts == ["to work"])
    assert home.states == ["connected @family_bot"]
    assert (work.messages[0].account, home.messages[0].account) == ("work", "family")
    await family.close()


# -- sending


async def test_a_message_is_sent_as_html(api: TelegramApi, channel: TelegramChannel) -> None:
    """The receipt holds Telegram's id; people see the text without its marks."""
    receipt = await channel.send(outbound("**hi** <there>"))
    [sent] = api.world.sent(TOKEN)
    assert receipt == Receipt(str(sent.message_id))
    assert (sent.text, sent.source, sent.parse_mode) == ("hi <there>", "<b>hi</b> &lt;there&gt;", "HTML")
    assert sent.preview


async def test_html_that_telegram_refuses_is_sent_as_plain_text(api: TelegramApi, channel: TelegramChannel) -> None:
    """A fault in our markup may cost the markup, not the message."""
    api.world.fail("parse", method="sendMessage")
    await channel.send(outbound("**hi**"))
    [sent] = api.world.sent(TOKEN)
    assert (sent.text, sent.parse_mode) == ("**hi**", "")


async def test_what_rendering_would_lose_or_blow_up_goes_as_it_came(api: TelegramApi, channel: TelegramChannel) -> None:
    """An empty fence would show nothing, a padded table too much."""
    table = "| a | b |\n|---|---|\n" + "| x | y |\n" * 380
    for text in ("```\n```", table):
        await channel.send(outbound(text))
    assert api.world.sent(TOKEN)[0].text == "```\n```"
    assert api.world.sent(TOKEN)[1].text.count("x | y") == 380


async def test_topics_general_and_replies(api: TelegramApi, channel: TelegramChannel) -> None:
    """A topic is named in messages, General only in typing; a reply quotes, and does without if it is gone."""
    topic = api.world.add_topic(FORUM)
    asked = api.world.push_text(TOKEN, FORUM, ANN, "q", thread=topic)
    await channel.send(outbound("a", FORUM, thread=str(topic), reply_to=f"{FORUM}:{asked}"))
    await channel.send(outbound("b", FORUM, thread="1", reply_to="99999"))
    assert [(s.thread, s.reply_to) for s in api.world.sent(TOKEN)] == [(topic, asked), (None, None)]
    await channel.typing(Address("telegram", "work", str(FORUM), thread="1"))
    assert api.world.bots[TOKEN].actions[0]["thread"] == 1


async def test_link_previews_can_be_switched_off(api: TelegramApi) -> None:
    """`linkPreview: false` reaches Telegram; the default shows them."""
    quiet = create("telegram", "work", {"botToken": TOKEN, "apiRoot": api.url, "linkPreview": False})
    await quiet.send(outbound("https://example.org"))
    assert not api.world.sent(TOKEN)[0].preview
    await quiet.close()


@pytest.mark.parametrize(
    ("fault", "error", "sent"),
    [
        ({"kind": "rate_limit", "retry_after": 7}, SendDelayed, 0),
        ({"kind": "status", "code": 500}, SendUncertain, 0),
        ({"kind": "status_after", "code": 502}, SendUncertain, 1),
        ({"kind": "cut"}, SendUncertain, 0),
        ({"kind": "cut_after"}, SendUncertain, 1),
        ({"kind": "slow_after", "delay": 0.6}, SendUncertain, 1),
    ],
)
async def test_a_failed_send_says_what_may_have_happened(
    fault: dict[str, Any], error: type[Exception], sent: int, api: TelegramApi, open_channel: Callable[..., Any]
) -> None:
    """Only an answer that denies it makes a send safe to repeat."""
    api.world.fail(method="sendMessage", **fault)
    with pytest.raises(error) as failed:
        await open_channel(timeout=0.3).send(outbound("x"))
    assert len(api.world.sent(TOKEN)) == sent
    assert TOKEN not in repr(failed.value)
    if isinstance(failed.value, SendDelayed):
        assert failed.value.retry_after == 7


async def test_no_server_means_surely_not_sent(api: TelegramApi, channel: TelegramChannel) -> None:
    """A connection that never came about cannot have carried a message."""
    await api.stop()
    with pytest.raises(SendDelayed, match="cannot reach the server"):
        await channel.send(outbound("x"))


async def test_what_telegram_will_never_take_is_refused(api: TelegramApi, channel: TelegramChannel) -> None:
    """Blocked, unknown chat, too long, empty, no address: no retry helps."""
    api.world.block(TOKEN, BOB)
    cases = [outbound("x", BOB), outbound("x", 999), outbound("😀" * 2100), outbound(" "), outbound("x", thread="nine")]
    for message in cases:
        with pytest.raises(SendRefused):
            await channel.send(message)
    assert api.world.sent(TOKEN) == []


async def test_a_group_that_became_a_supergroup_is_followed(api: TelegramApi, channel: TelegramChannel) -> None:
    """The first send learns the new id and is delayed, the next one goes there."""
    api.world.add_group(-77)
    api.world.migrate(-77, -1007700000000)
    with pytest.raises(SendDelayed):
        await channel.send(outbound("x", -77))
    await channel.send(outbound("x", -77))
    assert api.world.sent(TOKEN)[0].chat_id == -1007700000000


async def test_typing_never_raises(api: TelegramApi, channel: TelegramChannel) -> None:
    """It is decoration: unknown chats, limits and no server at all are passed over."""
    api.world.fail("rate_limit", method="sendChatAction")
    for chat in (ANN, 999):
        await channel.typing(Address("telegram", "work", str(chat)))
    await api.stop()
    await channel.typing(Address("telegram", "work", str(ANN)))


async def test_probe_names_the_bot(api: TelegramApi, channel: TelegramChannel) -> None:
    """A live check tells the login's own name, or why it has none."""
    assert await channel.probe() == Probe(ok=True, name="@work_bot")
    await api.stop()
    assert not (await channel.probe()).ok


# -- lost sends

CUTS = [("cut_after", True), ("cut", False)]


async def lose(api: TelegramApi, channel: TelegramChannel, message: Outbound, kind: str) -> str:
    """Send without an answer, as a killed process or a cut line leaves it; the note is what the router kept."""
    api.world.fail(kind, method="sendMessage")
    note = channel.note(message)
    with pytest.raises(SendUncertain):
        await channel.send(message)
    return note


@pytest.mark.parametrize(("kind", "arrived"), CUTS)
@pytest.mark.parametrize("chat", [ANN, FORUM])
async def test_a_lost_send_is_found_if_and_only_if_it_arrived(
    kind: str, arrived: bool, chat: int, api: TelegramApi, channel: TelegramChannel
) -> None:
    """The same process finds out by itself, in private chats and in supergroups."""
    async with running(channel, Host()):
        await channel.send(outbound("before", chat))
        message = outbound("lost", chat)
        note = await lose(api, channel, message, kind)
        api.world.push_text(TOKEN, chat, ANN, "hello?")
        receipt = await channel.confirm(message, note)
    wanted = [sent for sent in api.world.sent(TOKEN) if sent.text == "lost"]
    assert (receipt is not None) == arrived == bool(wanted)
    if receipt is not None:
        assert receipt.message_id == str(wanted[0].message_id)


@pytest.mark.parametrize(("kind", "arrived"), CUTS)
async def test_a_new_process_finds_a_lost_send_among_other_chats(
    kind: str, arrived: bool, api: TelegramApi, open_channel: Callable[..., TelegramChannel]
) -> None:
    """After a kill: the counter went on in other chats, some of it unseen, and the new process knows nothing."""
    first = open_channel()
    async with running(first, Host()) as host:
        await first.send(outbound("before"))
        message = outbound("lost")
        note = await lose(api, first, message, kind)
        await first.send(outbound("elsewhere", BOB))
    for i in range(30):
        api.world.push_text(TOKEN, BOB if i % 2 else ANN, BOB, "more")
    second = open_channel()
    async with running(second, Host(await host.cursor())):
        receipt = await second.confirm(message, note)
    lost = [sent for sent in api.world.sent(TOKEN) if sent.text == "lost"]
    assert (receipt is not None) == arrived
    assert receipt is None or receipt.message_id == str(lost[0].message_id)


@pytest.mark.parametrize(("kind", "arrived"), CUTS)
@pytest.mark.parametrize("text", ["a new answer", "**as rendered** | < &"])
async def test_an_unsure_anchor_is_settled_by_text_and_date(
    kind: str, arrived: bool, text: str, api: TelegramApi, open_channel: Callable[..., TelegramChannel]
) -> None:
    """Killed during the first send of a life: an older message of ours above the anchor must not be taken for it."""
    asked = api.world.push_text(TOKEN, ANN, ANN, "one")
    backlog = api.world.push_text(TOKEN, ANN, ANN, "two")
    zero = open_channel()
    await zero.send(outbound("an old answer"))  # acknowledged in a life before, after "two" had come in
    first = open_channel()
    async with running(first, Host()) as host:
        await host.until(lambda h: len(h.messages) == 2)
        message = outbound(text)
        note = await lose(api, first, message, kind)
    assert '"sure":false' in note and f'"anchor":{backlog}' in note and asked < backlog
    second = open_channel()
    async with running(second, Host(await host.cursor())):
        receipt = await second.confirm(message, note)
    assert receipt == (Receipt(str(backlog + 2)) if arrived else None)
    assert not any("reply_markup" in m for m in api.world.bots[TOKEN].box.values())


async def test_an_old_answer_with_the_same_words_is_not_taken_for_the_lost_one(
    api: TelegramApi, open_channel: Callable[..., TelegramChannel]
) -> None:
    """With an unsure anchor equal texts are told apart by their dates."""
    backlog = api.world.push_text(TOKEN, ANN, ANN, "hi")
    await open_channel().send(outbound("ok"))
    api.world.bots[TOKEN].box[backlog + 1]["date"] -= 60
    first = open_channel()
    async with running(first, Host()) as host:
        await host.until(lambda h: len(h.messages) == 1)
        message = outbound("ok")
        note = await lose(api, first, message, "cut")
        assert await first.confirm(message, note) is None


async def test_a_search_sits_out_a_rate_limit(api: TelegramApi, channel: TelegramChannel) -> None:
    """A short `retry_after` is waited for inside the search, a long one goes back to the router."""
    async with running(channel, Host()):
        await channel.send(outbound("before"))
        message = outbound("lost")
        note = await lose(api, channel, message, "cut_after")
        api.world.fail("rate_limit", method="editMessageReplyMarkup", retry_after=1)
        assert await channel.confirm(message, note) is not None
        api.world.fail("rate_limit", method="editMessageReplyMarkup", retry_after=600)
        with pytest.raises(SendDelayed) as delayed:
            await channel.confirm(message, channel.note(message))
        assert delayed.value.retry_after == 600


async def test_a_search_without_any_clue_is_put_off(api: TelegramApi, channel: TelegramChannel) -> None:
    """Nothing seen of a counter means no place to begin; the first message there gives one."""
    async with running(channel, Host()) as host:
        message = outbound("lost", FORUM)
        note = await lose(api, channel, message, "cut_after")
        with pytest.raises(SendDelayed):
            await channel.confirm(message, note)
        api.world.push_text(TOKEN, FORUM, ANN, "hello?")
        await host.until(lambda h: h.texts == ["hello?"])
        assert await channel.confirm(message, note) == Receipt(str(api.world.sent(TOKEN)[0].message_id))


async def test_a_request_still_under_way_is_given_time(
    api: TelegramApi, open_channel: Callable[..., TelegramChannel]
) -> None:
    """Our side gave up, theirs did not: the search waits until the message cannot come any more."""
    channel = open_channel(timeout=0.2, settle=2.0)
    async with running(channel, Host()):
        await channel.send(outbound("before"))
        message = outbound("late")
        api.world.fail("slow", method="sendMessage", delay=0.8)
        note = channel.note(message)
        with pytest.raises(SendUncertain):
            await channel.send(message)
        assert len(api.world.sent(TOKEN)) == 1
        assert await channel.confirm(message, note) == Receipt("2")


class Outbox:
    """What the router keeps on disk: answers per chat, sent one after another, each with the note of its last try."""

    def __init__(self, answers: dict[int, list[str]]) -> None:
        self.waiting = {chat: [outbound(text, chat) for text in texts] for chat, texts in answers.items()}
        self.notes: dict[tuple[int, str], str] = {}

    async def drain(self, channel: TelegramChannel, chat: int) -> None:
        while self.waiting[chat]:
            message = self.waiting[chat][0]
            if await self.try_one(channel, message, (chat, message.text)):
                self.waiting[chat].pop(0)

    async def try_one(self, channel: TelegramChannel, message: Outbound, key: tuple[int, str]) -> bool:
        with contextlib.suppress(SendDelayed, SendUncertain):
            if key in self.notes and await channel.confirm(message, self.notes[key]) is not None:
                return True
            self.notes[key] = channel.note(message)
            await channel.send(message)
            return True
        return False


async def live(api: TelegramApi, channel: TelegramChannel, host: Host, outbox: Outbox) -> None:
    async with running(channel, host), asyncio.TaskGroup() as tasks:
        for chat in outbox.waiting:
            tasks.create_task(outbox.drain(channel, chat))


async def test_no_answer_is_lost_or_doubled_over_many_lives(
    api: TelegramApi, open_channel: Callable[..., TelegramChannel]
) -> None:
    """Connections cut before and after the effect, and the process killed at random: each answer exactly once."""
    chance = random.Random(7)
    chats = [*range(100, 104), FORUM]
    answers = {chat: [f"answer {i % 3} to {chat}, number {i // 2}" for i in range(120)] for chat in chats}
    outbox = Outbox(answers)
    cursor = None
    lives = 0
    while any(outbox.waiting.values()):
        lives += 1
        api.world.faults.clear()
        for kind in ("cut", "cut_after"):
            api.world.fail(kind, method="sendMessage", skip=chance.randrange(20))
        api.world.fail("slow_after", method="sendMessage", times=-1, delay=0.01)
        for chat in chats:
            api.world.push_text(TOKEN, chat, ANN, "a question")
        host = Host(cursor)
        with contextlib.suppress(TimeoutError):
            # Longer from life to life: so it comes to an end on a busy machine, too.
            async with asyncio.timeout(chance.choice((0.02, 0.05, 0.1, 0.15, 0.2)) * (1 + lives / 50)):
                await live(api, open_channel(), host, outbox)
        cursor = await host.cursor()
    for chat in chats:
        assert [sent.text for sent in api.world.sent(TOKEN) if sent.chat_id == chat] == answers[chat]
    assert lives > 5
