"""A fake Telegram Bot API server: faithful where a client can tell, and badly behaved on demand.

    async with TelegramApi() as api:                    # inside a test
        api.world.add_bot("111:AAA", "work_bot")
        api.world.push_text("111:AAA", chat=42, user=42, text="hello")

    python -m tests.support.telegram_api --port 8081     # as a process; steer it through POST /control/<helper>

Two published clients judge it in tests/contract/test_telegram_fake.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import re
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from tests.support.telegram_html import HtmlError, clean, parse, trim, units
from tests.support.telegram_world import ApiError, Bot, Fault, Sent, World, find_marks

#: Longest message after the markup is taken out, in UTF-16 units.
MAX_MESSAGE = 4096
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
CONFLICT_POLL = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
CONFLICT_WEBHOOK = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)

Params = Mapping[str, Any]
Method = Callable[[Bot, Params], Awaitable[Any]]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class TelegramApi:
    """The server. `url` is the API root (`http://127.0.0.1:<port>`), `world` the state and the helpers."""

    def __init__(self, port: int = 0) -> None:
        self.world = World()
        self.url = ""
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._methods: dict[str, Method] = {
            name.removeprefix("_do_").lower(): getattr(self, name) for name in dir(self) if name.startswith("_do_")
        }

    async def __aenter__(self) -> TelegramApi:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Stop answering; held polls end first, so that nothing waits for them. `start` again keeps port and state."""
        for bot in self.world.bots.values():
            if bot.poll is not None and not bot.poll.done():
                bot.poll.set_result("stopped")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- HTTP

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/bot"):
            token, _, name = path[4:].partition("/")
            return await self._call(request, token, name)
        if path.startswith("/file/bot"):
            token, _, name = path[9:].partition("/")
            return self._download(token, name)
        if path.startswith("/control/"):
            return await self._control(request, path[9:])
        return refusal(ApiError(404, "Not Found"))

    async def _call(self, request: web.BaseRequest, token: str, name: str) -> web.StreamResponse:
        self.world.requests[name] += 1
        fault = self.world.fault_for(token, name)
        if fault is not None and (early := await self._misbehave(request, fault)) is not None:
            return early
        try:
            answer = success(await self._perform(request, token, name))
        except ApiError as error:
            answer = refusal(error)
        if fault is not None:
            return await self._misbehave_after(request, fault, answer)
        return answer

    async def _perform(self, request: web.BaseRequest, token: str, name: str) -> Any:
        bot = self.world.bots.get(token)
        if bot is None or bot.revoked:
            raise ApiError(401, "Unauthorized")
        method = self._methods.get(name.lower())
        if method is None:
            raise ApiError(404, "Not Found: method not found")
        return await method(bot, await read_params(request))

    async def _misbehave(self, request: web.BaseRequest, fault: Fault) -> web.Response | None:
        if fault.kind == "rate_limit":
            text = f"Too Many Requests: retry after {fault.retry_after}"
            return refusal(ApiError(429, text, {"retry_after": fault.retry_after}))
        if fault.kind == "status":
            return web.Response(status=fault.code, body=b"<html>Bad Gateway</html>", content_type="text/html")
        if fault.kind == "cut":
            await request.read()
            return cut(request)
        if fault.kind == "parse":
            return refusal(ApiError(400, "Bad Request: can't parse entities: Unexpected end tag at byte offset 0"))
        if fault.kind == "slow":
            await request.read()  # taken over before the caller may give up
            await asyncio.sleep(fault.delay)
        return None

    async def _misbehave_after(self, request: web.BaseRequest, fault: Fault, answer: web.Response) -> web.Response:
        if fault.kind == "cut_after":
            return cut(request)
        if fault.kind == "status_after":
            return web.Response(status=fault.code, body=b"<html>Bad Gateway</html>", content_type="text/html")
        if fault.kind == "slow_after":
            await asyncio.sleep(fault.delay)
        return answer

    def _download(self, token: str, name: str) -> web.Response:
        bot = self.world.bots.get(token)
        files = {} if bot is None or bot.revoked else {path: content for path, content in bot.files.values()}
        if name not in files:
            return refusal(ApiError(404, "Not Found"))
        return web.Response(body=files[name], content_type="application/octet-stream")

    async def _control(self, request: web.BaseRequest, name: str) -> web.Response:
        """`POST /control/<helper>` with a JSON object of arguments; the helpers are the methods of `World`."""
        helper = getattr(self, f"_control_{name}", None) or getattr(self.world, name, None)
        if name.startswith("_") or helper is None:
            return refusal(ApiError(404, "Not Found: no such helper"))
        body = await request.read()
        arguments = _decode(body) if body else dict(request.query)
        try:
            result = helper(**arguments)
            result = await result if asyncio.iscoroutine(result) else result
        except (KeyError, TypeError, ValueError) as error:
            return refusal(ApiError(400, f"{type(error).__name__}: {error}"))
        except TimeoutError:
            return refusal(ApiError(408, "timeout"))
        return success(plain(result))

    def _control_sent(self, token: str | None = None, since: int = 0) -> Any:
        messages = self.world.sent(token)
        return {"count": len(messages), "messages": [sent.as_dict() for sent in messages[int(since) :]]}

    def _control_count(self, token: str | None = None) -> int:
        return len(self.world.sent(token))

    async def _control_wait_sent(self, count: int, token: str | None = None, timeout: float = 10.0) -> int:
        return len(await self.world.wait_sent(count, token, timeout))

    def _control_pending(self) -> dict[str, int]:
        return {token: len(bot.updates) for token, bot in self.world.bots.items()}

    def _control_requests(self) -> dict[str, int]:
        return dict(self.world.requests)

    def _control_clear_faults(self) -> None:
        self.world.faults.clear()

    # -- methods of the Bot API, by name

    async def _do_getMe(self, bot: Bot, params: Params) -> Any:
        return bot.user

    async def _do_getWebhookInfo(self, bot: Bot, params: Params) -> Any:
        return {"url": bot.webhook, "has_custom_certificate": False, "pending_update_count": len(bot.updates)}

    async def _do_setWebhook(self, bot: Bot, params: Params) -> Any:
        bot.webhook = str(params.get("url", ""))
        return True

    async def _do_deleteWebhook(self, bot: Bot, params: Params) -> Any:
        bot.webhook = ""
        if truth(params.get("drop_pending_updates")):
            bot.updates.clear()
        return True

    async def _do_setMyCommands(self, bot: Bot, params: Params) -> Any:
        commands = structure(params.get("commands")) or []
        for command in commands:
            name = str(command.get("command", ""))
            if re.fullmatch(r"[a-z0-9_]{1,32}", name) is None:
                raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
        if len(commands) > 100:
            raise ApiError(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
        bot.commands = commands
        return True

    async def _do_getMyCommands(self, bot: Bot, params: Params) -> Any:
        return bot.commands

    async def _do_deleteMyCommands(self, bot: Bot, params: Params) -> Any:
        bot.commands = []
        return True

    async def _do_getUpdates(self, bot: Bot, params: Params) -> Any:
        if bot.webhook:
            raise ApiError(409, CONFLICT_WEBHOOK)
        if bot.poll is not None and not bot.poll.done():
            bot.poll.set_result("conflict")
        bot.poll = None
        limit = min(max(number(params.get("limit")) or 100, 1), 100)
        if "allowed_updates" in params:
            allowed = structure(params["allowed_updates"])
            bot.allowed = frozenset(allowed) if allowed else None
        confirm(bot, number(params.get("offset")) or 0)
        timeout = min(number(params.get("timeout")) or 0, 50)
        if timeout > 0 and not bot.updates and not bot.again:
            await self._hold(bot, timeout)
        return take(bot, limit)

    async def _hold(self, bot: Bot, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        poll: asyncio.Future[str] = loop.create_future()
        bot.poll = poll
        timer = loop.call_later(timeout, lambda: poll.done() or poll.set_result("timeout"))
        outcome = await poll
        timer.cancel()
        if bot.poll is poll:
            bot.poll = None
        if outcome == "conflict":
            raise ApiError(409, CONFLICT_POLL)
        if outcome == "revoked":
            raise ApiError(401, "Unauthorized")

    async def _do_sendMessage(self, bot: Bot, params: Params) -> Any:
        chat_id = self._chat_id(params)
        text, entities = read_text(params)
        if not text:
            raise ApiError(400, "Bad Request: message text is empty")
        self._check_open(bot, chat_id)
        if units(text) > MAX_MESSAGE:
            raise ApiError(400, "Bad Request: message is too long")
        thread = self._thread(chat_id, params)
        reply = self._reply(bot, chat_id, params)
        message: dict[str, Any] = {
            "message_id": self.world._number(bot, chat_id),
            "from": bot.user,
            "chat": self.world.chats[chat_id].shown,
            "date": int(time.time()),
            "text": text,
        }
        message |= {"entities": entities} if entities else {}
        message |= {"message_thread_id": thread, "is_topic_message": True} if thread is not None else {}
        message |= {"reply_to_message": reply} if reply is not None else {}
        markup = structure(params.get("reply_markup"))
        message |= {"reply_markup": markup} if markup else {}
        self.world.shelf(bot, chat_id)[message["message_id"]] = message
        preview = structure(params.get("link_preview_options")) or {}
        self.world.record(
            Sent(
                token=bot.token,
                chat_id=chat_id,
                message_id=message["message_id"],
                text=text,
                source=str(params.get("text", "")),
                parse_mode=str(params.get("parse_mode", "")),
                thread=thread,
                reply_to=reply["message_id"] if reply is not None else None,
                preview=not preview.get("is_disabled", False),
                at=time.time(),
            )
        )
        return message

    async def _do_editMessageText(self, bot: Bot, params: Params) -> Any:
        message = self._own_message(bot, params)
        text, entities = read_text(params)
        if not text:
            raise ApiError(400, "Bad Request: message text is empty")
        if units(text) > MAX_MESSAGE:
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        markup = structure(params.get("reply_markup")) or None
        if (text, entities, markup) == (message["text"], message.get("entities", []), message.get("reply_markup")):
            raise ApiError(400, NOT_MODIFIED)
        message |= {"text": text, "entities": entities, "edit_date": int(time.time())}
        set_markup(message, markup)
        return message

    async def _do_editMessageReplyMarkup(self, bot: Bot, params: Params) -> Any:
        message = self._own_message(bot, params)
        markup = structure(params.get("reply_markup")) or None
        if markup is not None and not any(markup.get("inline_keyboard") or []):
            markup = None
        if markup == message.get("reply_markup"):
            raise ApiError(400, NOT_MODIFIED)
        set_markup(message, markup)
        return message

    async def _do_deleteMessage(self, bot: Bot, params: Params) -> Any:
        chat_id = self._chat_id(params)
        self._check_open(bot, chat_id)
        if self.world.find(bot, chat_id, number(params.get("message_id")) or 0) is None:
            raise ApiError(400, "Bad Request: message to delete not found")
        del self.world.shelf(bot, chat_id)[number(params["message_id"])]
        return True

    async def _do_sendChatAction(self, bot: Bot, params: Params) -> Any:
        chat_id = self._chat_id(params)
        self._check_open(bot, chat_id)
        if params.get("action") not in ("typing", "upload_photo", "upload_document", "record_voice", "upload_video"):
            raise ApiError(400, "Bad Request: wrong parameter action in request")
        thread = number(params.get("message_thread_id"))
        bot.actions.append({"chat_id": chat_id, "action": params["action"], "thread": thread, "at": time.time()})
        return True

    async def _do_setMessageReaction(self, bot: Bot, params: Params) -> Any:
        chat_id = self._chat_id(params)
        self._check_open(bot, chat_id)
        message_id = number(params.get("message_id")) or 0
        if self.world.find(bot, chat_id, message_id) is None:
            raise ApiError(400, "Bad Request: message to react not found")
        reactions = structure(params.get("reaction")) or []
        if any(item.get("type") != "emoji" or item.get("emoji") not in "👀👍👎❤🔥🎉🤔😁👌🙏" for item in reactions):
            raise ApiError(400, "Bad Request: REACTION_INVALID")
        bot.reactions[chat_id, message_id] = reactions
        return True

    async def _do_getFile(self, bot: Bot, params: Params) -> Any:
        found = bot.files.get(str(params.get("file_id", "")))
        if found is None:
            raise ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if len(found[1]) > 20 * 1024 * 1024:
            raise ApiError(400, "Bad Request: file is too big")
        file_id = str(params["file_id"])
        size = len(found[1])
        return {"file_id": file_id, "file_unique_id": "u" + file_id, "file_size": size, "file_path": found[0]}

    async def _do_getChat(self, bot: Bot, params: Params) -> Any:
        chat_id = self._chat_id(params)
        self._check_open(bot, chat_id)
        return {**self.world.chats[chat_id].shown, "accent_color_id": 0, "max_reaction_count": 11}

    # -- checks shared by the methods

    def _chat_id(self, params: Params) -> int:
        given = params.get("chat_id")
        if given in (None, ""):
            raise ApiError(400, "Bad Request: chat_id is empty")
        found = number(given)
        if found is None:
            raise ApiError(400, "Bad Request: chat not found")
        return found

    def _check_open(self, bot: Bot, chat_id: int) -> None:
        chat = self.world.chats.get(chat_id)
        if chat is None or chat_id not in bot.chats:
            raise ApiError(400, "Bad Request: chat not found")
        if chat.moved_to is not None:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, text, {"migrate_to_chat_id": chat.moved_to})
        if chat_id in bot.blocked:
            what = "blocked by the user" if chat_id > 0 else f"kicked from the {chat.shown['type']} chat"
            raise ApiError(403, f"Forbidden: bot was {what}")

    def _thread(self, chat_id: int, params: Params) -> int | None:
        thread = number(params.get("message_thread_id"))
        if thread is not None and thread not in self.world.chats[chat_id].topics:
            raise ApiError(400, "Bad Request: message thread not found")
        return thread

    def _reply(self, bot: Bot, chat_id: int, params: Params) -> dict[str, Any] | None:
        wanted = structure(params.get("reply_parameters")) or {}
        message_id = number(wanted.get("message_id"))
        if message_id is None:
            return None
        found = self.world.find(bot, chat_id, message_id)
        if found is None and not wanted.get("allow_sending_without_reply"):
            raise ApiError(400, "Bad Request: message to be replied not found")
        return found

    def _own_message(self, bot: Bot, params: Params) -> dict[str, Any]:
        chat_id = self._chat_id(params)
        self._check_open(bot, chat_id)
        message = self.world.find(bot, chat_id, number(params.get("message_id")) or 0)
        if message is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        if message.get("from", {}).get("id") != bot.user["id"]:
            raise ApiError(400, "Bad Request: message can't be edited")
        return message


def confirm(bot: Bot, offset: int) -> None:
    """A positive offset forgets everything below it, a negative one everything but the last so many."""
    if offset < 0:
        while len(bot.updates) > -offset:
            bot.updates.popleft()
    while offset > 0 and bot.updates and bot.updates[0]["update_id"] < offset:
        bot.updates.popleft()


def take(bot: Bot, limit: int) -> list[dict[str, Any]]:
    repeated, bot.again = bot.again, []
    return (repeated + [bot.updates[i] for i in range(min(limit, len(bot.updates)))])[:limit]


def read_text(params: Params) -> tuple[str, list[dict[str, Any]]]:
    text = str(params.get("text") or "")
    mode = str(params.get("parse_mode") or "")
    if mode.lower() == "html":
        try:
            return parse(text)
        except HtmlError as error:
            raise ApiError(400, f"Bad Request: can't parse entities: {error}") from error
    if mode:
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    given = structure(params.get("entities"))
    return trim(clean(text), given if given else find_marks(text))


def set_markup(message: dict[str, Any], markup: Any) -> None:
    message.pop("reply_markup", None)
    if markup is not None:
        message["reply_markup"] = markup


async def read_params(request: web.BaseRequest) -> Params:
    """Parameters from the query and from a JSON, form or multipart body, whichever came."""
    params: dict[str, Any] = dict(request.query) if request.query_string else {}
    if not request.body_exists:
        return params
    if request.content_type == "application/json":
        body = await request.read()
        try:
            return params | (_decode(body) if body else {})
        except msgspec.DecodeError as error:
            raise ApiError(400, "Bad Request: can't parse JSON object") from error
    posted = await request.post()
    return params | {key: value if isinstance(value, str) else value.file.read() for key, value in posted.items()}


def number(value: Any) -> int | None:
    try:
        return None if value in (None, "") else int(value)
    except (TypeError, ValueError):
        return None


def truth(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1", "yes")


def structure(value: Any) -> Any:
    """A list or object; in forms it arrives as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return _decode(value) if value else None
    except msgspec.DecodeError as error:
        raise ApiError(400, "Bad Request: can't parse JSON object") from error


def plain(value: Any) -> Any:
    """A helper's result as something JSON can hold."""
    if isinstance(value, (Sent, Fault)):
        return {name: getattr(value, name) for name in value.__slots__}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def success(result: Any) -> web.Response:
    return web.Response(body=_encode({"ok": True, "result": result}), content_type="application/json")


def refusal(error: ApiError) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": error.code, "description": error.description}
    body |= {"parameters": error.parameters} if error.parameters else {}
    return web.Response(body=_encode(body), status=error.code, content_type="application/json")


def cut(request: web.BaseRequest) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT; the first line on stdout is the URL."""
    stop = asyncio.Event()
    for number_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number_, stop.set)
    async with TelegramApi(port) as api:
        print(api.url, flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake Telegram Bot API on 127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    with contextlib.suppress(OSError):  # ends with the process that started it (PR_SET_PDEATHSIG = 1)
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
