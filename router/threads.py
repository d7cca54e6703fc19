"""Threads have sessions of their own (RULES 3.3). Pure."""

from __future__ import annotations

from protocol.envelope import Inbound
from protocol.session_key import thread_session_keys


def session_key(base: str, message: Inbound) -> str:
    """The session of the message's thread inside the conversation `base`, or `base` itself.

    Where the platform's peer is the thread (a Telegram topic, a Discord thread) `base` names it already.
    """
    thread, peer = (message.reply.thread or "").strip(), message.peer.id.strip()
    own = peer == thread or peer.endswith(f":topic:{thread}")
    return thread_session_keys(base, thread, use_suffix=not own).session
