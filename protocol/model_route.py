"""What a worker asks the cliproxy before it asks a model, and where it then sends the vendor's own wire format.

`GET /v1/route?model=<provider/model or empty>` answers a `Route`. With `api` `anthropic-messages` the worker posts to
`/p/<provider>/v1/messages`, with `openai-completions` to `/p/<provider>/chat/completions`, both on the proxy's unix
socket with `Authorization: Bearer <the agent's proxy token>`. The proxy puts the credential in.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ModelApi = Literal["anthropic-messages", "openai-completions", "offline"]

#: Header every worker request carries besides Authorization; raised when paths or meanings change.
PROXY_VERSION = "1"
PROXY_VERSION_HEADER = "x-openclaw-proxy"

ROUTE_PATH = "/v1/route"

ANTHROPIC_PATH = "/p/{provider}/v1/messages"
OPENAI_PATH = "/p/{provider}/chat/completions"


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this agent reaches its model now.

    `api` is `offline` when no credential and no local server serves it: `reason` then says which provider lacks one,
    and `hints` are lines that can be typed. `source` names where the credential came from (never the credential).
    """

    api: ModelApi
    provider: str
    model: str
    source: str = ""
    reason: str = ""
    hints: tuple[str, ...] = ()
