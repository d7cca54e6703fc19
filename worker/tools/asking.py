"""A tool that the router performs: this side only passes the arguments on."""

from __future__ import annotations

from typing import Any

from worker.calls import ANSWER_TIMEOUT, Calls
from worker.llm.base import ToolSpec
from worker.tools.base import Context, ToolResult

#: Longest wait for a session that works on what it was sent, in seconds; the router's own limit.
MAX_WAIT = 600.0


class AskingTool:
    """Has the router do it. `wait` names the argument that says for how long the router itself may wait."""

    def __init__(self, calls: Calls, spec: ToolSpec, wait: str = "", usual: float = 0.0) -> None:
        self.spec = spec
        self._calls = calls
        self._wait = wait
        self._usual = usual

    def __repr__(self) -> str:
        return f"AskingTool({self.spec.name})"

    async def run(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Raises ToolError when no answer comes."""
        patience = ANSWER_TIMEOUT + self._asked_wait(arguments)
        answer = await self._calls.request(context.id, self.spec.name, arguments, patience)
        return ToolResult(answer.text, is_error=not answer.ok)

    def _asked_wait(self, arguments: dict[str, Any]) -> float:
        asked = arguments.get(self._wait, self._usual) if self._wait else 0.0
        return min(max(asked, 0.0), MAX_WAIT) if isinstance(asked, int | float) else self._usual
