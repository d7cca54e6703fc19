"""Which tools an agent may use: every layer can only take away. Pure.

The worker offers and runs what is left; the router explains it. Rules: RULES 3.6 (observed on the original), SPEC 5.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from protocol.config import ToolList

_ALIASES = {"bash": "exec", "apply-patch": "apply_patch"}

_FS = ("read", "write", "edit", "apply_patch")
_RUNTIME = ("exec", "process", "code_execution")
_WEB = ("web_search", "web_fetch", "x_search")
_MEMORY = ("memory_search", "memory_get")
_SESSIONS = (
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "sessions_spawn",
    "sessions_yield",
    "subagents",
    "session_status",
)
_UI = ("browser", "canvas")
_AUTOMATION = ("cron", "gateway")
_AGENTS = ("agents_list", "update_plan")
_MEDIA = ("image", "image_generate", "music_generate", "video_generate", "tts")

GROUPS: dict[str, tuple[str, ...]] = {
    "group:fs": _FS,
    "group:runtime": _RUNTIME,
    "group:web": _WEB,
    "group:memory": _MEMORY,
    "group:sessions": _SESSIONS,
    "group:ui": _UI,
    "group:messaging": ("message",),
    "group:automation": _AUTOMATION,
    "group:nodes": ("nodes",),
    "group:agents": _AGENTS,
    "group:media": _MEDIA,
    "group:openclaw": (
        *("code_execution", *_WEB, *_MEMORY, *_SESSIONS, *_UI, "message"),
        *(*_AUTOMATION, "nodes", *_AGENTS, *_MEDIA),
    ),
}

PROFILES: dict[str, tuple[str, ...]] = {
    "minimal": ("session_status",),
    "messaging": ("sessions_list", "sessions_history", "sessions_send", "session_status", "message"),
    "coding": (
        *(_FS + _RUNTIME + _WEB + _MEMORY + _SESSIONS),
        *("cron", "update_plan", "image", "image_generate", "music_generate", "video_generate"),
    ),
}

#: Every name the policy knows (RULES 3.6), whether or not this build has the tool.
ALL_TOOLS: tuple[str, ...] = tuple(sorted({tool for members in GROUPS.values() for tool in members}))
#: Left to owners only, whatever the lists say.
OWNER_ONLY = ("cron", "gateway", "nodes")
#: What a sandboxed session may use where nothing is configured.
SANDBOX_ALLOW = ("exec", "process", *_FS, "image", *_SESSIONS)
#: Channels of the original may offer tools under their own names; none of them reaches into a container.
CHANNEL_IDS = (
    *("feishu", "googlechat", "nostr", "msteams", "mattermost", "nextcloud-talk", "matrix", "bluebubbles", "line"),
    *("zalo", "zalouser", "synology-chat", "tlon", "discord", "imessage", "irc", "qqbot", "signal", "slack"),
    *("telegram", "twitch", "whatsapp"),
)
SANDBOX_DENY = (*_UI, "nodes", "cron", "gateway", *CHANNEL_IDS)


def effective(
    tools: Iterable[str], profile: str, layers: Sequence[ToolList], profile_also: Sequence[str] = ()
) -> frozenset[str]:
    """Those of `tools` that the profile, widened by `profile_also`, and every layer admit."""
    first = profile_layer(profile, profile_also)
    return frozenset(tool for tool in tools if all(admits(layer, tool) for layer in (*first, *layers)))


def for_turn(
    tools: Iterable[str],
    profile: str,
    layers: Sequence[ToolList],
    also: Sequence[str] = (),
    *,
    granted: Sequence[ToolList] = (),
    owner: bool = False,
) -> frozenset[str]:
    """What one turn may use: the agent's policy, then what its group and sender leave (`granted`), then who he is.

    Asked by the worker before it offers or runs anything, and by the router before it does anything for a worker.
    """
    return for_sender(effective(tools, profile, (*layers, *granted), also), owner)


def profile_layer(profile: str, also: Sequence[str] = ()) -> tuple[ToolList, ...]:
    """A profile as a layer; none for `full`, nothing and unknown names, which restrict nothing."""
    known = PROFILES.get(profile.strip().lower())
    return () if known is None else (ToolList(allow=(*known, *also)),)


def for_sender(tools: Iterable[str], owner: bool) -> frozenset[str]:
    """What is left for somebody who is not an owner: `cron`, `gateway` and `nodes` are for owners."""
    return frozenset(tool for tool in tools if owner or tool not in OWNER_ONLY)


def admits(layer: ToolList, tool: str) -> bool:
    """Whether one layer lets a tool through: deny wins, an empty allow list means everything."""
    allow, deny = expand(layer.allow or ()), expand(layer.deny or ())
    if layer.also_allow and not allow:
        allow = ("*",)
    allow += expand(layer.also_allow or ())
    tool = normalize(tool)
    # Whoever may write files may patch them, and the other way round (RULES 3.6).
    names = (tool, "write") if tool == "apply_patch" else (tool,)
    if any(_matches(name, deny) for name in names):
        return False
    return not allow or any(_matches(name, allow) for name in names)


def sandbox_layer(own: ToolList | None, shared: ToolList | None) -> ToolList:
    """The last layer of a sandboxed session: `tools.sandbox.tools` of the agent over the global one over the default.

    A tool that is allowed by name is no longer denied by default, and pictures are seen by whoever is limited at all.
    """
    mine, everybodys = own or ToolList(), shared or ToolList()
    allow, deny = _first(mine.allow, everybodys.allow), _first(mine.deny, everybodys.deny)
    also = expand(_first(mine.also_allow, everybodys.also_allow) or ())
    named = (*expand(allow or ()), *also)
    denied = expand(deny) if deny is not None else tuple(tool for tool in SANDBOX_DENY if not _matches(tool, named))
    # An empty list is no restriction, and stays one.
    base = SANDBOX_ALLOW if allow is None else expand(allow)
    image = () if "image" in denied else ("image",)
    return ToolList(allow=tuple(dict.fromkeys((*base, *also, *image))) if base else (), deny=denied)


def emptied_by(allowed: frozenset[str], layers: Sequence[ToolList]) -> str:
    """When an explicit allow list leaves no tool at all: that list, for an error text. Else empty."""
    explicit = [layer.allow for layer in layers if layer.allow]
    return "" if allowed or not explicit else ", ".join(explicit[-1])


def normalize(name: str) -> str:
    name = name.strip().lower()
    return _ALIASES.get(name, name)


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Names with groups replaced by their members, each once; an unknown group stays a name that matches nothing."""
    normal = (normalize(name) for name in names)
    return tuple(dict.fromkeys(member for name in normal if name for member in GROUPS.get(name, (name,))))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(pattern == name or ("*" in pattern and fnmatchcase(name, _literal(pattern))) for pattern in patterns)


def _literal(pattern: str) -> str:
    """Only `*` is special in a pattern."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _first(*lists: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return next((names for names in lists if names is not None), None)
