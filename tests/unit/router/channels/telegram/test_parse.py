"""Updates as Telegram sends them, and what becomes of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.envelope import MAX_TEXT, Address, Inbound, Media, Peer, Quote, Sender
from router.channels.telegram.parse import MAX_NAME, Me, Update, clean_name, parse

ME = Me(id=111, username="Work_Bot")
ANN = {"id": 42, "is_bot": False, "first_name": "Ann", "last_name": "Lee", "username": "ann"}
PRIVATE = {"id": 42, "type": "private", "first_name": "Ann"}
GROUP = {"id": -5, "type": "group", "title": "Home"}
FORUM = {"id": -1001, "type": "supergroup", "title": "Forum", "is_forum": True}


def read(kind: str = "message", **message: Any) -> Inbound | None:
    body = {"message_id": 7, "date": 1_700_000_000, "chat": PRIVATE, "from": ANN, "unheard_of": {"x": 1}, **message}
    raw = msgspec.json.encode({"update_id": 1, kind: body})
    return parse(msgspec.json.decode(raw, type=Update), "work", ME)


def must(**message: Any) -> Inbound:
    found = read(**message)
    assert found is not None
    return found


def entity(kind: str, offset: int, length: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "offset": offset, "length": length, **more}


def test_a_private_message() -> None:
    """Every field of the plain case."""
    assert read(text="hello") == Inbound(
        channel="telegram",
        account="work",
        message_id="42:7",
        peer=Peer("direct", "42"),
        sender=Sender("42", "Ann Lee", "ann"),
        text="hello",
        at=1_700_000_000.0,
        reply=Address("telegram", "work", "42"),
    )


def test_a_group_message() -> None:
    """The peer is the group, the sender stays the person, and it is known that nobody was mentioned."""
    found = must(chat=GROUP, text="hi all")
    assert (found.peer, found.parent_peer, found.subject) == (Peer("group", "-5"), None, "Home")
    assert (found.sender.id, found.mentioned) == ("42", False)


@pytest.mark.parametrize(
    ("extra", "thread"),
    [({"message_thread_id": 9, "is_topic_message": True}, "9"), ({}, "1"), ({"message_thread_id": 5}, "1")],
)
def test_a_topic_is_a_peer_with_the_group_as_its_parent(extra: dict[str, Any], thread: str) -> None:
    """General has number 1 though its messages carry none; a thread of replies in it is no topic."""
    found = must(chat=FORUM, text="x", **extra)
    assert found.peer == Peer("group", f"-1001:topic:{thread}")
    assert found.parent_peer == Peer("group", "-1001")
    assert found.reply == Address("telegram", "work", "-1001", thread=thread)


def test_a_thread_of_replies_outside_forums_is_no_topic() -> None:
    """Supergroups number threads of replies as well."""
    found = must(chat={**FORUM, "is_forum": False}, text="x", message_thread_id=9)
    assert (found.peer, found.reply.thread) == (Peer("group", "-1001"), None)


@pytest.mark.parametrize(
    ("text", "marks", "named"),
    [
        ("@work_bot hi", [entity("mention", 0, 9)], True),
        ("😀😀 @WORK_BOT", [entity("mention", 5, 9)], True),
        ("@other_bot hi", [entity("mention", 0, 10)], False),
        ("@work_bot as text", [], False),
        ("Work, hi", [entity("text_mention", 0, 4, user={"id": 111})], True),
        ("Ann, hi", [entity("text_mention", 0, 3, user={"id": 42})], False),
        ("/new", [entity("bot_command", 0, 4)], False),
        ("look: /new@work_bot", [entity("bot_command", 6, 13)], True),
        ("x", [entity("mention", -3, 9), entity("mention", 5, 10_000_000)], False),
    ],
)
def test_who_is_mentioned(text: str, marks: list[dict[str, Any]], named: bool) -> None:
    """Only Telegram's own marks count, with offsets in UTF-16 units, whatever the case of the name."""
    assert must(chat=GROUP, text=text, entities=marks).mentioned is named


def test_a_caption_is_a_text_with_marks_of_its_own() -> None:
    """A photo with a caption that names us is a mention."""
    photo = [{"file_id": "small", "file_size": 10}, {"file_id": "big", "file_size": 900}]
    found = must(chat=GROUP, caption="@work_bot look", caption_entities=[entity("mention", 0, 9)], photo=photo)
    assert (found.text, found.mentioned) == ("@work_bot look", True)
    assert found.media == (Media("image", mime="image/jpeg", size=900, reference="big"),)


def test_commands_know_their_bot() -> None:
    """A command for us loses the name, one for another bot is not ours, in any case of letters."""
    assert must(chat=GROUP, text="/new@WORK_BOT x", entities=[entity("bot_command", 0, 13)]).text == "/new x"
    assert must(chat=GROUP, text="/new@WORK_BOT x", entities=[entity("bot_command", 0, 13)]).mentioned is True
    assert read(chat=GROUP, text="/new@other_bot", entities=[entity("bot_command", 0, 14)]) is None


def test_a_reply_to_us_is_a_mention() -> None:
    """The quote carries what was quoted and that it was ours."""
    us = {"id": 111, "is_bot": True, "first_name": "Work"}
    ours = {"message_id": 3, "date": 1, "chat": GROUP, "from": us, "text": "a"}
    found = must(chat=GROUP, text="and?", reply_to_message=ours)
    assert found.quote == Quote("-5:3", sender="Work", text="a", from_us=True)
    assert found.mentioned is True
    theirs = must(chat=GROUP, text="and?", reply_to_message={**ours, "from": ANN}, quote={"text": "part"})
    assert theirs.quote == Quote("-5:3", sender="Ann Lee", text="part")
    assert theirs.mentioned is False


def test_the_notice_that_opened_a_topic_is_not_quoted() -> None:
    """In a topic every message "replies" to its first one, even if our bot made the topic."""
    root = {"message_id": 9, "date": 1, "chat": FORUM, "from": {"id": 111, "is_bot": True}}
    found = must(chat=FORUM, text="x", message_thread_id=9, is_topic_message=True, reply_to_message=root)
    assert (found.quote, found.mentioned) == (None, False)


@pytest.mark.parametrize(
    ("field", "kind"),
    [("voice", "audio"), ("audio", "audio"), ("video", "video"), ("video_note", "video"), ("sticker", "sticker")],
)
def test_media_without_words_are_announced(field: str, kind: str) -> None:
    """A placeholder stands for the attachment."""
    found = must(**{field: {"file_id": "F", "file_size": 5}})
    assert (found.text, found.media[0].kind, found.media[0].reference) == (f"<media:{kind}>", kind, "F")


def test_a_document_keeps_its_name_and_type() -> None:
    """File names come from strangers and are cleaned like other names."""
    found = must(document={"file_id": "F", "mime_type": "text/plain", "file_name": "a\n\u202eb.txt"})
    assert found.media == (Media("document", mime="text/plain", name="a b.txt", reference="F"),)
    animation = must(animation={"file_id": "A"}, document={"file_id": "D"})
    assert animation.media[0].reference == "A"


def test_a_location_is_written_out() -> None:
    """Six decimals, about ten centimetres."""
    assert must(location={"latitude": 1.5, "longitude": -2.25}).text == "📍 1.500000, -2.250000"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"text": "  "},
        {"new_chat_members": [ANN]},
        {"migrate_to_chat_id": -100123, "chat": GROUP},
        {"text": "x", "from": {"id": 5, "is_bot": True}},
        {"text": "x", "chat": {"id": 1, "type": "galaxy"}},
    ],
)
def test_what_is_no_message_for_us(message: dict[str, Any]) -> None:
    """Service notices, empty texts, bots and kinds of chat unheard of."""
    assert read(**message) is None


def test_edits_are_ignored() -> None:
    """The first version is being answered already."""
    assert read(kind="edited_message", text="x") is None


def test_a_channel_post_comes_from_the_channel() -> None:
    """Channels have no visible authors."""
    channel = {"id": -1009, "type": "channel", "title": "News", "username": "news"}
    found = read(kind="channel_post", chat=channel, sender_chat=channel, text="x", **{"from": None})
    assert found is not None
    assert (found.peer, found.sender) == (Peer("channel", "-1009"), Sender("-1009", "News", "news"))


def test_an_anonymous_admin_is_the_group() -> None:
    """They write through a service bot, which is not "another bot"."""
    found = must(chat=GROUP, sender_chat=GROUP, text="x", **{"from": {"id": 1087968824, "is_bot": True}})
    assert found.sender.id == "-5"


def test_long_texts_are_cut_visibly() -> None:
    """Nothing longer than the envelope allows gets in."""
    text = must(text="x" * (MAX_TEXT + 1)).text
    assert len(text) == MAX_TEXT and text.endswith("… [cut]")


def test_names_are_one_short_line() -> None:
    """No line ends, controls or direction marks, and not too long."""
    assert clean_name("  A\nB\u202e\x00C\u2028D  ") == "A B C D"
    assert len(clean_name("x" * 10_000)) == MAX_NAME
