"""read, write, edit. Parameters, results and texts: SPEC 5.5."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeVar

import msgspec

from worker.llm.base import ToolSpec
from worker.tools.access import FileAccess
from worker.tools.base import MAX_RESULT, Context, ToolError, ToolResult, schema
from worker.tools.storing import LARGE, load, store

T = TypeVar("T")

MAX_LINES = 2000
MAX_BYTES = 50 * 1024
#: Largest file `read` counts the lines of.
MAX_READ = 256 * 1024 * 1024
_BLOCK = 1024 * 1024
#: Characters of a result kept for the last line that tells how to go on.
_HINT = 200
#: Longest line shown whole, in bytes.
_MAX_LINE_BYTES = MAX_RESULT - 2 * _HINT
_PICTURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}

_PATH = {"type": "string", "description": "File, relative to the workspace or absolute"}


class _ReadArguments(msgspec.Struct):
    path: str
    offset: int = 1
    limit: int = MAX_LINES


class ReadTool:
    """Part of a text file, with a hint how to read on."""

    spec = ToolSpec(
        "read",
        f"Read a text file. At most {MAX_LINES} lines are shown at once; use offset and limit to read on.",
        schema(
            ("path",),
            path=_PATH,
            offset={"type": "integer", "description": "First line, counted from 1"},
            limit={"type": "integer", "description": "Most lines to show"},
        ),
    )

    def __init__(self, access: FileAccess) -> None:
        self._access = access

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        wish = parse(arguments, _ReadArguments)
        fd = self._access.open_read(wish.path)
        with os.fdopen(fd, "rb") as file:
            size = os.fstat(fd).st_size
            work = asyncio.to_thread(_read, file, wish) if size > LARGE else None
            return ToolResult(await work if work else _read(file, wish))


def _read(file: BinaryIO, wish: _ReadArguments) -> str:
    if os.fstat(file.fileno()).st_size > MAX_READ:
        raise ToolError(f"the file is over {MAX_READ} bytes; use exec with head, tail or sed -n")
    if (mime := _picture(file)) is not None:
        return f"[{mime}, {os.fstat(file.fileno()).st_size} bytes: pictures cannot be shown here]"
    first = max(wish.offset, 1)
    skipped = _skip_lines(file, first - 1)
    shown, unread = _take_lines(_lines(file), min(max(wish.limit, 1), MAX_LINES))
    if first > 1 and not shown:
        raise ToolError(f"Offset {first} is beyond end of file ({skipped} lines total)")
    more = unread + _count_lines(file)
    text = "\n".join(shown)
    if more:
        text += f"\n\n[{more} more lines in file. Use offset={skipped + len(shown) + 1} to continue.]"
    return text


def _picture(file: BinaryIO) -> str | None:
    head = file.read(4)
    file.seek(0)
    return next((mime for magic, mime in _PICTURES.items() if head.startswith(magic)), None)


def _skip_lines(file: BinaryIO, count: int) -> int:
    """Go behind this many lines; returns how many there were. Lines that nobody sees are not taken apart."""
    skipped, start, ended = 0, 0, True
    while skipped < count and (block := file.read(_BLOCK)):
        found = block.count(b"\n")
        if skipped + found >= count:
            file.seek(start + _end_of_line(block, count - skipped))
            return count
        skipped, start, ended = skipped + found, start + len(block), block.endswith(b"\n")
    return skipped if ended else skipped + 1


def _end_of_line(block: bytes, number: int) -> int:
    """Where the line with this number (from 1) ends in a block that holds so many."""
    end = 0
    for _ in range(number):
        end = block.index(b"\n", end) + 1
    return end


def _count_lines(file: BinaryIO) -> int:
    """Lines from here to the end; the last one may lack its line feed."""
    count, last = 0, b"\n"
    # No further than that: somebody may be writing faster than we read.
    for _ in range(MAX_READ // _BLOCK):
        if not (block := file.read(_BLOCK)):
            break
        count, last = count + block.count(b"\n"), block[-1:]
    return count if last == b"\n" else count + 1


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines; one that is longer than anything shown comes in pieces that are joined into its cut form."""
    while line := file.readline(_MAX_LINE_BYTES):
        left_out = 0
        while not line.endswith(b"\n") and (rest := file.readline(_MAX_LINE_BYTES)):
            left_out += len(rest)
            if rest.endswith(b"\n"):
                break
        yield line if not left_out else line + f" [… {left_out} more bytes in this line]\n".encode()


def _take_lines(lines: Iterator[bytes], limit: int) -> tuple[list[str], int]:
    """Whole lines while they fit into one result, and how many more were looked at (none or one)."""
    shown: list[str] = []
    chars = size = 0
    for line in itertools.islice(lines, limit):
        text = line.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
        chars += len(text) + 1
        size += len(line)
        if shown and (chars > MAX_RESULT - _HINT or size > MAX_BYTES):
            return shown, 1
        shown.append(text)
    return shown, 0


class _WriteArguments(msgspec.Struct):
    path: str
    content: str


class WriteTool:
    """A whole file, replaced at once."""

    spec = ToolSpec(
        "write",
        "Create or overwrite a file. Folders on the way are made.",
        schema(("path", "content"), path=_PATH, content={"type": "string", "description": "The whole new content"}),
    )

    def __init__(self, access: FileAccess) -> None:
        self._access = access

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        wish = parse(arguments, _WriteArguments)
        data = wish.content.encode("utf-8", "replace")
        await store(self._access, wish.path, data)
        return ToolResult(f"Successfully wrote {len(data)} bytes to {wish.path}")


class _Edit(msgspec.Struct, rename="camel"):
    old_text: str
    new_text: str


class _EditArguments(msgspec.Struct, rename="camel"):
    path: str
    edits: list[_Edit] = []
    old_text: str | None = None
    new_text: str | None = None


class EditTool:
    """Exact replacements, all made against the original text."""

    spec = ToolSpec(
        "edit",
        "Replace exact text in a file. Each oldText must occur exactly once; all edits apply to the original.",
        schema(
            ("path", "edits"),
            path=_PATH,
            edits={
                "type": "array",
                "items": schema(("oldText", "newText"), oldText={"type": "string"}, newText={"type": "string"}),
            },
        ),
    )

    def __init__(self, access: FileAccess) -> None:
        self._access = access

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        wish = parse(arguments, _EditArguments)
        edits = list(wish.edits)
        if wish.old_text is not None:
            edits.append(_Edit(wish.old_text, wish.new_text or ""))
        self._access.check_writable(wish.path)
        content = load(self._access, wish.path)
        changed = replace(content, edits, wish.path).encode("utf-8", "replace")
        await store(self._access, wish.path, changed)
        return ToolResult(f"Successfully replaced {len(edits)} block(s) in {wish.path}.")


def replace(content: str, edits: list[_Edit], path: str) -> str:
    """The content with every edit made. Raises ToolError; then nothing is changed."""
    if not edits:
        raise ToolError("edits must hold at least one replacement")
    places = sorted((_place(content, edit, path) for edit in edits), key=lambda place: place[0])
    pieces: list[str] = []
    position = 0
    for start, end, new in places:
        if start < position:
            raise ToolError(f"Two edits in {path} overlap. Merge them into one.")
        pieces += (content[position:start], new)
        position = end
    return "".join((*pieces, content[position:]))


def _place(content: str, edit: _Edit, path: str) -> tuple[int, int, str]:
    old, new = edit.old_text, edit.new_text
    if not old:
        raise ToolError("oldText must not be empty")
    if old not in content and "\r\n" in content:
        # Models write line feeds even into files that end their lines the other way.
        old, new = (text.replace("\r\n", "\n").replace("\n", "\r\n") for text in (old, new))
    start = content.find(old)
    if start < 0:
        raise ToolError(
            f"Could not find the exact text in {path}. The old text must match exactly including all whitespace and "
            f"newlines.\nCurrent content begins:\n{content[:2000]}"
        )
    if content.find(old, start + 1) >= 0:
        count = content.count(old)
        raise ToolError(f"Found {count} occurrences of the text in {path}. Give more of its surroundings.")
    return start, start + len(old), new


def parse(arguments: dict[str, Any], kind: type[T]) -> T:
    """Tool arguments as a struct; numbers written as text are accepted. Raises ToolError naming the place."""
    try:
        return msgspec.convert(arguments, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ToolError(f"invalid arguments: {error}") from None
