"""A bridge for any number of channels and accounts on one unix socket: what people write there and what they read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Account = tuple[str, str]


class Bridge:
    """`push` is a person writing; `sent` is what arrived at the platform, by (channel, account), each key once.

    `faults` are answers given instead of `sent`, one for each send: a refused or delayed line, or None to hang up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent: list[tuple[Account, dict[str, Any]]] = []
        self.taken: list[str] = []
        self.typed: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any] | None] = []
        self._keys: set[str] = set()
        self._lines: dict[Account, asyncio.StreamWriter] = {}
        self._unsaid: dict[Account, list[dict[str, Any]]] = {}
        self._changed = asyncio.Event()
        self._number = 0
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Bridge:
        self._server = await asyncio.start_unix_server(self._accept, self.path)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.hang_up()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def hang_up(self) -> None:
        """Every connection breaks; unanswered messages are said again on the next one."""
        for writer in self._lines.values():
            writer.close()
        self._lines.clear()

    def push(self, channel: str, text: str, *, account: str = "default", id: str = "", **fields: Any) -> str:
        """A message; `peer` is `kind:id`, `sender` an id, anything else as in the protocol. Returns its id."""
        self._number += 1
        kind, _, peer = fields.pop("peer").partition(":")
        sender = fields.pop("sender", peer)
        message = {
            "type": "message",
            "message_id": id or f"m{self._number}",
            "peer": {"kind": kind, "id": peer},
            "sender": sender if isinstance(sender, dict) else {"id": sender},
            "text": text,
            "at": 1_700_000_000.0 + self._number,
            **fields,
        }
        self._unsaid.setdefault((channel, account), []).append(message)
        self._say((channel, account), message)
        return str(message["message_id"])

    async def wait_sent(self, count: int, timeout: float = 20.0) -> list[tuple[Account, dict[str, Any]]]:
        """Until so many texts have arrived in all."""
        await self.until(lambda: len(self.sent) >= count, timeout)
        return self.sent

    async def until(self, fact: Callable[[], bool], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not fact():
                self._changed.clear()
                await self._changed.wait()

    @property
    def texts(self) -> list[str]:
        return [line["text"] for _, line in self.sent]

    @property
    def connected(self) -> set[Account]:
        return set(self._lines)

    def _say(self, account: Account, line: dict[str, Any]) -> None:
        if (writer := self._lines.get(account)) is not None and not writer.is_closing():
            writer.write(json.dumps(line).encode() + b"\n")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await reader.readline() or b'{"channel":"","account":""}')
        account = (hello["channel"], hello["account"])
        self._lines[account] = writer
        self._say(account, {"type": "ready", "login": f"@{account[1]}"})
        for message in self._unsaid.get(account, []):
            self._say(account, message)
        self._changed.set()
        while line := await reader.readline():
            self._hear(account, json.loads(line))
            self._changed.set()

    def _hear(self, account: Account, line: dict[str, Any]) -> None:
        match line["type"]:
            case "taken":
                self.taken.append(line["message_id"])
                waiting = self._unsaid.get(account, [])
                self._unsaid[account] = [one for one in waiting if one["message_id"] != line["message_id"]]
            case "typing":
                self.typed.append(line)
            case "send":
                self._take(account, line)

    def _take(self, account: Account, line: dict[str, Any]) -> None:
        fault = self.faults.pop(0) if self.faults else {}
        if fault:
            self._say(account, {**fault, "key": line["key"]})
            return
        if line["key"] not in self._keys:
            self._keys.add(line["key"])
            self.sent.append((account, line))
        if fault is None:
            self._lines.pop(account).close()
        else:
            self._say(account, {"type": "sent", "key": line["key"], "message_id": f"s{len(self.sent)}"})
