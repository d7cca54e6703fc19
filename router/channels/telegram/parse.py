"""Telegram update → `Inbound`, or None where it is no message for us. Pure; the structs ignore unknown fields."""

from __future__ import annotations

import unicodedata
from typing import Annotated

import msgspec

from protocol.envelope import MAX_TEXT, Address, Inbound, Media, Peer, Quote, Sender

#: Characters kept of a name, username, chat title or file name. Telegram's own limits are 64 to 255.
MAX_NAME = 128
#: Characters kept of a quoted message.
MAX_QUOTE = 2_000
#: Telegram sends at most 100 entities; more in one message is not looked at.
MAX_ENTITIES = 100
#: Stands at the end of a text that was cut.
CUT = "… [cut]"
#: Thread id of the topic that every forum has.
GENERAL = 1


class User(msgspec.Struct, frozen=True):
    id: int
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""
    username: str = ""


class Chat(msgspec.Struct, frozen=True):
    id: int
    type: str = ""
    title: str = ""
    username: str = ""
    first_name: str = ""
    last_name: str = ""
    is_forum: bool = False


class Entity(msgspec.Struct, frozen=True):
    type: str
    offset: int
    length: int
    user: User | None = None


class File(msgspec.Struct, frozen=True):
    file_id: str
    file_size: int | None = None
    mime_type: str = ""
    file_name: str = ""


class Location(msgspec.Struct, frozen=True):
    latitude: float
    longitude: float


class TextQuote(msgspec.Struct, frozen=True):
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    message_id: int
    date: Annotated[int, msgspec.Meta(le=2**53)]
    chat: Chat
    sender: User | None = msgspec.field(name="from", default=None)
    sender_chat: Chat | None = None
    text: str | None = None
    caption: str | None = None
    entities: tuple[Entity, ...] = ()
    caption_entities: tuple[Entity, ...] = ()
    message_thread_id: int | None = None
    is_topic_message: bool = False
    reply_to_message: Message | None = None
    quote: TextQuote | None = None
    photo: tuple[File, ...] = ()
    animation: File | None = None
    video: File | None = None
    video_note: File | None = None
    audio: File | None = None
    voice: File | None = None
    document: File | None = None
    sticker: File | None = None
    location: Location | None = None


class Update(msgspec.Struct, frozen=True):
    update_id: int
    message: Message | None = None
    channel_post: Message | None = None


class Me(msgspec.Struct, frozen=True):
    """The bot itself, as `getMe` tells it."""

    id: int
    username: str = ""
    first_name: str = ""

    @property
    def login(self) -> str:
        return f"@{self.username}" if self.username else str(self.id)


#: Field, kind for the placeholder. An animation also comes as a document, so it stands first.
_MEDIA = (
    ("animation", "video"),
    ("video", "video"),
    ("video_note", "video"),
    ("audio", "audio"),
    ("voice", "audio"),
    ("document", "document"),
    ("sticker", "sticker"),
)
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_KINDS = {"private": "direct", "group": "group", "supergroup": "group", "channel": "channel"}


def parse(update: Update, account: str, me: Me) -> Inbound | None:
    """The message in `update`, or None: edits, service notices, other bots, and commands for another bot."""
    message = update.message or update.channel_post
    if message is None or message.chat.type not in _KINDS or _from_bot(message):
        return None
    body = message.text if message.text is not None else message.caption or ""
    entities = (message.entities if message.text is not None else message.caption_entities)[:MAX_ENTITIES]
    command = _command(body, entities)
    if command is not None and command[1] and command[1].lower() != me.username.lower():
        return None
    media = _media(message)
    text = _text(body if command is None else command[0] + body[command[2] :], media, message.location)
    if not text:
        return None
    return _inbound(message, account, text, media, _quote(message, me), _named(body, entities, me))


def _inbound(
    message: Message, account: str, text: str, media: tuple[Media, ...], quote: Quote | None, named: bool
) -> Inbound:
    chat = message.chat
    thread = _thread(message)
    private = chat.type == "private"
    sender = _sender(message)
    return Inbound(
        channel="telegram",
        account=account,
        message_id=f"{chat.id}:{message.message_id}",
        peer=_peer(chat, sender, thread),
        parent_peer=Peer("group", str(chat.id)) if thread is not None and not private else None,
        sender=sender,
        text=text,
        at=float(message.date),
        reply=Address("telegram", account, str(chat.id), thread=None if thread is None else str(thread)),
        mentioned=None if private else named or (quote is not None and quote.from_us),
        quote=quote,
        media=media,
        subject=clean_name(chat.title),
    )


def _peer(chat: Chat, sender: Sender, thread: int | None) -> Peer:
    if chat.type == "private":
        return Peer("direct", sender.id)
    if chat.type == "channel":
        return Peer("channel", str(chat.id))
    return Peer("group", str(chat.id) if thread is None else f"{chat.id}:topic:{thread}")


def _thread(message: Message) -> int | None:
    """The topic. Outside forums a thread id only groups replies, and General's messages carry none."""
    if message.is_topic_message:
        return message.message_thread_id
    return GENERAL if message.chat.is_forum and message.chat.type != "private" else None


def _from_bot(message: Message) -> bool:
    """Anonymous admins and linked channels write through a service bot; they are known by `sender_chat`."""
    return message.sender_chat is None and message.sender is not None and message.sender.is_bot


def _sender(message: Message) -> Sender:
    author = message.sender_chat or message.sender or message.chat
    if isinstance(author, Chat):
        return Sender(str(author.id), clean_name(_chat_name(author)), clean_name(author.username))
    return Sender(str(author.id), clean_name(f"{author.first_name} {author.last_name}"), clean_name(author.username))


def _chat_name(chat: Chat) -> str:
    return chat.title or f"{chat.first_name} {chat.last_name}"


def _command(text: str, entities: tuple[Entity, ...]) -> tuple[str, str, int] | None:
    """A command at the start: its name with the slash, the bot it names (or ""), where the rest begins."""
    for entity in entities:
        if entity.type == "bot_command" and entity.offset == 0:
            whole = piece(text, entity)
            name, _, bot = whole.partition("@")
            return name, bot, len(whole)
    return None


def _named(text: str, entities: tuple[Entity, ...], me: Me) -> bool:
    return any(_names(text, entity, me) for entity in entities)


def _names(text: str, entity: Entity, me: Me) -> bool:
    if entity.type == "text_mention":
        return entity.user is not None and entity.user.id == me.id
    if entity.type not in ("mention", "bot_command") or not me.username:
        return False
    _, at, name = piece(text, entity).rpartition("@")
    return bool(at) and name.lower() == me.username.lower()


def piece(text: str, entity: Entity) -> str:
    """The part of `text` that an entity covers; Telegram counts in UTF-16 units."""
    start, end = max(0, entity.offset), max(0, entity.offset) + max(0, entity.length)
    if text.isascii():
        return text[start:end]
    return text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * end].decode("utf-16-le", "replace")


def _quote(message: Message, me: Me) -> Quote | None:
    replied = message.reply_to_message
    # In a topic every message "replies" to the notice that opened it; nobody quoted that.
    if replied is None or (message.is_topic_message and replied.message_id == message.message_thread_id):
        return None
    quoted = message.quote.text if message.quote is not None else replied.text or replied.caption or ""
    return Quote(
        message_id=f"{message.chat.id}:{replied.message_id}",
        sender=_sender(replied).name,
        text=_cap(quoted, MAX_QUOTE),
        from_us=replied.sender is not None and replied.sender.id == me.id,
    )


def _media(message: Message) -> tuple[Media, ...]:
    if message.photo:
        largest = max(message.photo, key=lambda size: size.file_size or 0)
        return (Media("image", mime="image/jpeg", size=largest.file_size, reference=largest.file_id[:512]),)
    for field, kind in _MEDIA:
        file: File | None = getattr(message, field)
        if file is not None:
            return (_attachment(kind, file),)
    return ()


def _attachment(kind: str, file: File) -> Media:
    return Media(
        kind=kind,
        mime=clean_name(file.mime_type),
        name=clean_name(file.file_name),
        size=file.file_size,
        reference=file.file_id[:512],
    )


def _text(body: str, media: tuple[Media, ...], location: Location | None) -> str:
    """What was written, else what stands for it; empty for service notices and what we cannot read."""
    if body.strip():
        return _cap(body, MAX_TEXT)
    if location is not None:
        return f"📍 {location.latitude:.6f}, {location.longitude:.6f}"
    return f"<media:{media[0].kind}>" if media else ""


def _cap(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def clean_name(name: str) -> str:
    """A name in one line without control and direction characters, so that it can forge neither lines nor order."""
    kept = (" " if unicodedata.category(c) in _INVISIBLE else c for c in name[: 4 * MAX_NAME])
    return " ".join("".join(kept).split())[:MAX_NAME]
