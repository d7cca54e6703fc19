"""Commands that are answered at the door: /help, /whoami, /status, /stop, /approve, /elevated. No model is asked.

The reply is stored under a key made of the platform's message id, so a repeated update neither answers nor stops twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from protocol.envelope import Inbound, Outbound
from router.approvals.desk import Approvals
from router.elevation import Elevation
from router.rules import Target
from router.turns import Turns

HELP = """\
Commands of this gateway:
/new [text] – start a new session; the text is its first message
/reset [text] – the same
/stop – stop the answer that is being worked out (so does a message of just "stop")
/status – which agent and session this is, and what it is doing
/approve <id> allow-once | allow-always | deny – decide on a command that waits
/elevated [off | ask | full] – whether commands may leave the sandbox in this session
/whoami – who you are to this gateway
/help – this list
Everything else is for the agent."""
UNAVAILABLE = "⚠️ Not available here."
ABORTED, NOTHING_RUNS = "⚙️ Agent was aborted.", "⚙️ No active run."


class Order(NamedTuple):
    """An authorised command, where it was given, and for which sessions; `text` is what stood behind it."""

    name: str
    message: Inbound
    targets: tuple[Target, ...]
    require_mention: bool
    is_owner: bool
    text: str = ""


class Orders:
    """Carries out what needs no agent."""

    def __init__(self, turns: Turns, approvals: Approvals | None = None, elevation: Elevation | None = None) -> None:
        self._turns = turns
        self._approvals = approvals
        self._elevation = elevation

    def running(self, targets: Sequence[Target]) -> bool:
        """Whether there is something to stop."""
        return any(self._turns.busy(target.agent, target.session_key) for target in targets)

    async def carry_out(self, order: Order) -> None:
        """Answer, and do it unless this very message was answered before."""
        message = order.message
        key = f"c.{message.channel}.{message.account}.{message.message_id}"
        is_new = await self._turns.outbox.post([Outbound(key=key, address=message.reply, text=self._text(order))])
        if is_new and order.name == "stop":
            for target in order.targets:
                self._turns.stop(target.agent, target.session_key)

    def _text(self, order: Order) -> str:
        match order.name:
            case "stop":
                return ABORTED if self.running(order.targets) else NOTHING_RUNS
            case "status":
                return "\n\n".join(self._status(order, target) for target in order.targets)
            case "whoami":
                return _identity(order)
            case "approve":
                return self._approve(order)
            case "elevated":
                return self._elevate(order)
        return HELP

    def _approve(self, order: Order) -> str:
        if self._approvals is None:
            return UNAVAILABLE
        by = f"{order.message.channel}:{order.message.sender.id}"
        return self._approvals.decide(order.text, owner=order.is_owner, targets=order.targets, by=by)

    def _elevate(self, order: Order) -> str:
        if self._elevation is None:
            return UNAVAILABLE
        said = (self._elevation.command(one.agent, one.session_key, order.message, order.text) for one in order.targets)
        return "\n\n".join(dict.fromkeys(said))

    def _status(self, order: Order, target: Target) -> str:
        queue = self._turns.queue(target.agent, target.session_key)
        rows = queue.of(target.session_key) if queue else []
        out = sum(queue is not None and queue.owner(row.id) is not None for row in rows)
        lines = [
            f"🤖 Agent: {target.agent}",
            f"🧵 Session: {target.session_key}",
            f"⚙️ Worker: {'ready' if queue and queue.current is not None else 'starts with the next message'}",
            f"🪢 Queue: {out} running, {len(rows) - out} waiting",
        ]
        if order.message.peer.kind != "direct":
            lines.append(f"👥 Activation: {'mention' if order.require_mention else 'always'}")
        return "\n".join(lines)


def _identity(order: Order) -> str:
    message, sender = order.message, order.message.sender
    lines = ["🧭 Identity", f"Channel: {message.channel} (account {message.account})", f"User id: {sender.id}"]
    lines += [f"Username: @{sender.username}"] if sender.username else []
    return "\n".join([*lines, f"Owner: {'yes' if order.is_owner else 'no'}"])
