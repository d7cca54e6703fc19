"""apply_patch: several files changed by one text (SPEC 5.5). Only within the workspace, and all of it or nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from worker.llm.base import ToolSpec
from worker.tools.access import FileAccess
from worker.tools.base import Context, ToolError, ToolResult, schema
from worker.tools.files import parse
from worker.tools.patch_text import Change, PatchError, parse_patch, updated
from worker.tools.storing import load, remove, store

#: Longest patch, in characters, and the most text that its files may hold together.
MAX_PATCH = 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024


class _Arguments(msgspec.Struct):
    input: str


class _Write(NamedTuple):
    """One file's text before and after; None for a file that is not there."""

    path: str
    before: str | None
    after: str | None


class ApplyPatchTool:
    """`access` must be one that stays within the workspace."""

    spec = ToolSpec(
        "apply_patch",
        "Change several files of the workspace at once. The input is '*** Begin Patch', then for each file "
        "'*** Add File: path' with lines beginning with '+', '*** Delete File: path', or '*** Update File: path' "
        "(optionally '*** Move to: path') with hunks of ' ', '-' and '+' lines behind '@@', then '*** End Patch'.",
        schema(("input",), input={"type": "string", "description": "The whole patch"}),
    )

    def __init__(self, access: FileAccess) -> None:
        self._access = access

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        text = parse(arguments, _Arguments).input
        if len(text) > MAX_PATCH:
            raise ToolError(f"the patch is over {MAX_PATCH} characters; make several of it")
        try:
            changes = parse_patch(text)
            self._access.check_writable(changes[0].path)
            writes = self._plan(changes)
        except PatchError as error:
            raise ToolError(str(error)) from None
        await self._perform(writes)
        return ToolResult("\n".join(("Success. Updated the following files:", *map(_line, changes))))

    def _plan(self, changes: tuple[Change, ...]) -> list[_Write]:
        """Every file's new text, before anything is written. Raises PatchError, ToolError."""
        writes: list[_Write] = []
        total = 0
        for change in changes:
            writes += self._writes(change)
            total += sum(len(text or "") for write in writes[-2:] for text in write[1:])
            if total > MAX_TOTAL:
                raise ToolError(f"the files of this patch are over {MAX_TOTAL} characters; make several of it")
        return writes

    def _writes(self, change: Change) -> list[_Write]:
        if change.kind == "add":
            self._must_be_new(change.path)
            return [_Write(change.path, None, "".join(f"{line}\n" for line in change.lines))]
        before = load(self._access, change.path)
        if change.kind == "delete":
            return [_Write(change.path, before, None)]
        after = updated(before, change)
        if not change.to:
            return [_Write(change.path, before, after)]
        self._must_be_new(change.to)
        return [_Write(change.to, None, after), _Write(change.path, before, None)]

    def _must_be_new(self, path: str) -> None:
        if self._access.exists(path):
            raise ToolError(f"EEXIST: file already exists, open '{path}'")

    async def _perform(self, writes: list[_Write]) -> None:
        done: list[_Write] = []
        try:
            for write in writes:
                await self._put(write.path, write.after)
                done.append(write)
        except BaseException as error:
            left = [write.path for write in reversed(done) if not await self._undone(write)]
            if left and isinstance(error, ToolError):
                raise ToolError(f"{error}; already changed and not undone: {', '.join(left)}") from None
            raise

    async def _put(self, path: str, text: str | None) -> None:
        if text is None:
            remove(self._access, path)
        else:
            await store(self._access, path, text.encode("utf-8", "replace"))

    async def _undone(self, write: _Write) -> bool:
        try:
            await self._put(write.path, write.before)
        except ToolError:
            return False
        return True


def _line(change: Change) -> str:
    if change.to:
        return f"M {change.path} -> {change.to}"
    return f"{ {'add': 'A', 'delete': 'D', 'update': 'M'}[change.kind] } {change.path}"
