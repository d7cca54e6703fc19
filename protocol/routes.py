"""What `openclaw routes` and the router's decisions say to each other: one question in, one answer out.

The command line knows the router as a command line only, so it asks `python -m router.routes`. A question holds what
decides a route and no secret; an answer is what the command prints, with `--json` as it stands.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.codec import Decoder
from protocol.config import Binding, GroupChat, Identity, Messages, Session, ToolList

Severity = Literal["error", "warning", "note"]
#: What a message meets at the door of its account; `closed`: the channel is not configured, `absent`: the account.
Entry = Literal["allowed", "ignored", "pairing", "closed", "absent"]


class _Part(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    pass


# --- what is asked about -----------------------------------------------------------------------------------------


class RoutesAgent(_Part, frozen=True, kw_only=True):
    """What may be told of an agent: who it is, whom it belongs to, and what it may do."""

    id: str
    name: str = ""
    tenant: str = ""
    group_chat: GroupChat = GroupChat()
    identity: Identity = Identity()
    tool_profile: str = ""
    tool_profile_also: tuple[str, ...] = ()
    tool_layers: tuple[ToolList, ...] = ()
    sandbox_tools: ToolList | None = None
    sandbox_mode: Literal["off", "non-main", "all"] = "off"
    sandbox_scope: Literal["session", "agent", "shared"] = "agent"
    workspace_access: Literal["none", "ro", "rw"] = "none"


class RoutesConfig(_Part, frozen=True, kw_only=True):
    """Everything of a configuration that decides routes. `channels` has no secrets; `known_channels` are the ids that
    can be configured; `listed` says that `agents` are configured and not only implied."""

    agents: tuple[RoutesAgent, ...]
    default_agent: str
    bindings: tuple[Binding, ...] = ()
    channels: dict[str, Any] = {}
    session: Session = Session()
    messages: Messages = Messages()
    broadcast: dict[str, Any] = {}
    known_channels: tuple[str, ...] = ()
    listed: bool = True


class PeerOf(_Part, frozen=True, kw_only=True):
    kind: str
    id: str | int


class SenderOf(_Part, frozen=True, kw_only=True):
    id: str | int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the route and the access of a message, by the names of `envelope.Inbound`; never its text."""

    channel: str
    account: str | None = None
    peer: PeerOf | None = None
    parent_peer: PeerOf | None = None
    sender: SenderOf | None = None
    guild_id: str | int | None = None
    team_id: str | int | None = None
    roles: tuple[str, ...] = ()


class Described(Seen, frozen=True, kw_only=True):
    """A message as an operator describes it. `mentioned` is None where the platform has no mentions."""

    text: str = ""
    mentioned: bool | None = False


# --- explain -----------------------------------------------------------------------------------------------------


class Explain(_Part, frozen=True, kw_only=True, tag="explain"):
    """Where does this message go, and why? `credentials` is the folder of approved pairings."""

    config: RoutesConfig
    message: Described
    credentials: str = ""


class Tried(_Part, frozen=True, kw_only=True):
    """One binding in one tier. `why` says what does not hold; for one that holds and yet loses, to whom."""

    binding: int
    agent: str
    matches: bool
    why: tuple[str, ...] = ()


class Tier(_Part, frozen=True, kw_only=True):
    """One step of the search. `tried` holds the nearest misses when there are too many to tell (`total`)."""

    name: str
    state: Literal["won", "passed", "not reached"]
    tried: tuple[Tried, ...] = ()
    total: int = 0


class Access(_Part, frozen=True, kw_only=True):
    """What becomes of the message at its account, and the config paths that decide it."""

    verdict: Entry
    reason: str
    decided_by: tuple[str, ...] = ()


class Mention(_Part, frozen=True, kw_only=True):
    """Whether a group message is taken as meant for the agent."""

    answered: bool
    reason: str


class Explained(_Part, frozen=True, kw_only=True, tag="explained"):
    """The whole decision.

    `binding` is None for the default agent; `others` are bindings for other channels; `broadcast` are the agents that
    all get it instead of the one the table names.
    """

    channel: str
    account: str
    account_why: str
    tiers: tuple[Tier, ...]
    others: int
    agent: str
    binding: int | None
    matched_by: str
    why: str
    broadcast: tuple[str, ...]
    session_key: str
    session_why: tuple[str, ...]
    reply: str
    access: Access
    mention: Mention | None
    tools: tuple[str, ...]
    owner_only: tuple[str, ...]
    denied: tuple[str, ...]
    sandboxed: bool
    sandbox: str


# --- lint --------------------------------------------------------------------------------------------------------


class Lint(_Part, frozen=True, kw_only=True, tag="lint"):
    """What is wrong with this binding table?"""

    config: RoutesConfig


class Example(_Part, frozen=True, kw_only=True):
    """A message that was run through the table, and where it went."""

    message: Seen
    agent: str
    binding: int | None
    matched_by: str


class Finding(_Part, frozen=True, kw_only=True):
    """One defect. `path` is `$.bindings[3]` or `$.channels.telegram.accounts.work`."""

    severity: Severity
    code: str
    path: str
    message: str
    example: Example | None = None
    hint: str = ""


class Linted(_Part, frozen=True, kw_only=True, tag="linted"):
    """`checked` messages were run to prove the findings, and that there are no others."""

    findings: tuple[Finding, ...]
    bindings: int
    checked: int


# --- diff --------------------------------------------------------------------------------------------------------


class Diff(_Part, frozen=True, kw_only=True, tag="diff"):
    """What changes for whom? `recent` are messages that came in; `spool` names a file with more of them."""

    old: RoutesConfig
    new: RoutesConfig
    recent: tuple[Seen, ...] = ()
    spool: str = ""
    credentials: str = ""


class Change(_Part, frozen=True, kw_only=True):
    """People for whom the same changes: `who` in words, at most a handful; `count` of all of them."""

    old_agent: str
    new_agent: str
    old_access: str
    new_access: str
    old_by: str
    new_by: str
    who: tuple[str, ...]
    count: int
    recent: int
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()


class AgentChange(_Part, frozen=True, kw_only=True):
    """What an agent may do after it that it could not before, and the other way round."""

    agent: str
    state: Literal["changed", "new", "gone"]
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    sandbox: str = ""


class Compared(_Part, frozen=True, kw_only=True, tag="compared"):
    """`complete` is False when there were too many combinations to try them all."""

    changes: tuple[Change, ...]
    agents: tuple[AgentChange, ...]
    generated: int
    generated_changed: int
    recent: int
    recent_changed: int
    complete: bool = True


class Refused(_Part, frozen=True, kw_only=True, tag="refused"):
    """The question makes no sense; the words are for the operator."""

    message: str
    where: str = ""
    hint: str = ""


Question = Explain | Lint | Diff
Answer = Explained | Linted | Compared | Refused

questions: Decoder[Question] = Decoder(Question)
answers: Decoder[Answer] = Decoder(Answer)
