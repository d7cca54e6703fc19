"""Thin adapters from the vectors' names to the router's and the protocol's own decisions. No logic lives here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from protocol import ids, session_key
from protocol.accounts import default_account_id, sections
from protocol.config import Agent, Binding, Config, GroupChat, Identity
from router import mentions, pairing, routing
from router.pairing_store import PairingStore
from supervisor.config.agents import agent_ids, default_agent_id

Case = dict[str, Any]
Codes = dict[tuple[str, str], str]


def given(case: Case, **names: str) -> dict[str, Any]:
    """The arguments that are there, under our names."""
    return {ours: case[theirs] for ours, theirs in names.items() if case.get(theirs) is not None}


def present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def parse_key(case: Case) -> Any:
    found = session_key.parse_key(case.get("value"))
    return found and {"agentId": found.agent, "rest": found.rest}


def split_thread(case: Case) -> Any:
    found = session_key.split_thread(case.get("value"))
    return present(baseSessionKey=found.base, threadId=found.thread)


def thread_keys(case: Case) -> Any:
    options = given(case, parent="parentSessionKey", use_suffix="useSuffix")
    found = session_key.thread_session_keys(case["baseSessionKey"], case.get("threadId"), **options)
    return present(sessionKey=found.session, parentSessionKey=found.parent)


def peer_key(case: Case) -> Any:
    options = given(case, dm_scope="dmScope", main_key="mainKey", identity_links="identityLinks")
    return session_key.peer_session_key(
        case["agentId"], case["channel"], case.get("accountId"), case["peerKind"], case.get("peerId") or "", **options
    )


def conversation_key(case: Case) -> Any:
    peer = case.get("peer")
    pair = (peer["kind"], peer.get("id") or "") if peer else None
    options = given(case, dm_scope="dmScope", identity_links="identityLinks")
    return session_key.conversation_key(case["agentId"], case["channel"], case.get("accountId"), pair, **options)


def history_key(case: Case) -> Any:
    return session_key.group_history_key(case["channel"], case.get("accountId"), case["peerKind"], case["peerId"])


def store_key(case: Case) -> Any:
    return session_key.store_key(case["agentId"], case.get("requestKey"), case.get("mainKey"))


def canonical_main_key(case: Case) -> Any:
    options = given((case["cfg"] or {}).get("session") or {}, main_key="mainKey", scope="scope")
    return session_key.canonical_main_key(case["agentId"], case["sessionKey"], **options)


def pair(peer: Case | None) -> tuple[str, str] | None:
    return (peer["kind"], str(peer["id"])) if peer else None


def table_of(cfg: Case) -> routing.Table:
    kept = {key: value for key, value in cfg.items() if key in ("agents", "session")}
    config = msgspec.convert(kept, Config, strict=False)
    return routing.build(
        msgspec.convert(cfg.get("bindings") or [], list[Binding]),
        agents=agent_ids(config) if config.agents.list else (),
        default_agent=default_agent_id(config),
        default_accounts={name: default_account_id(section) for name, section in sections(cfg.get("channels") or {})},
        session=config.session,
    )


def route(case: Case) -> Any:
    options = given(case, account="accountId", guild="guildId", team="teamId", roles="memberRoleIds")
    peers = {"peer": pair(case.get("peer")), "parent_peer": pair(case.get("parentPeer"))}
    message = routing.RouteInput(channel=case["channel"], **peers, **options)
    found = routing.resolve(table_of(case["cfg"] or {}), message)
    return {
        "agentId": found.agent,
        "channel": ids.normalize_channel(case["channel"]),
        "accountId": found.account,
        "sessionKey": found.session_key,
        "mainSessionKey": found.main_session_key,
        "lastRoutePolicy": found.last_route,
        "matchedBy": found.matched_by,
    }


def mention(case: Case) -> Any:
    cfg = case["cfg"] or {}
    config = msgspec.convert({k: v for k, v in cfg.items() if k in ("agents", "messages")}, Config, strict=False)
    known = {ids.normalize_agent_id(agent.id): agent for agent in config.agents.list}
    agent = known.get(ids.normalize_agent_id(case["agentId"])) or Agent(id="main")
    wanted = mentions.patterns(
        agent.group_chat or GroupChat(), config.messages.group_chat, agent.identity or Identity()
    )
    named = mentions.named_in(case["text"], wanted)
    return {"mentioned": named, "patterns": wanted, "regexes": mentions.usable(wanted)}


def mention_decision(case: Case) -> Any:
    facts, policy = case["facts"], case["policy"]
    kinds = facts["implicitMentionKinds"]
    found = mentions.decide(
        mentions.Facts(facts["canDetectMention"], facts["wasMentioned"], facts["hasAnyMention"], kinds),
        mentions.Policy(
            policy["isGroup"],
            policy["requireMention"],
            policy["allowTextCommands"],
            policy["hasControlCommand"],
            policy["commandAuthorized"],
        ),
    )
    return {
        "implicitMention": bool(kinds),
        "matchedImplicitMentionKinds": kinds,
        "effectiveWasMentioned": found.mentioned,
        "shouldBypassMention": found.command,
        "shouldSkip": found.skip,
    }


def pairing_sequence(case: Case) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        store = PairingStore(Path(folder))
        codes: dict[tuple[str, str], str] = {}
        return [PAIRING[op["op"]](store, case["channel"], op, codes) for op in case["ops"]]


def pairing_request(store: PairingStore, channel: str, op: Case, codes: Codes) -> Any:
    offer = store.request(channel, op.get("accountId") or "", op["id"], {}, NOW)
    code = offer.request.code if offer.request else ""
    codes[op["id"].strip(), op.get("accountId") or ""] = code
    fits = all(char in pairing.ALPHABET for char in code) and len(code) in (0, pairing.LENGTH)
    return {"created": offer.created, "hasCode": bool(code), "codeShapeOk": fits}


def pairing_approve(store: PairingStore, channel: str, op: Case, codes: Codes) -> Any:
    """The operator types the code that the sender was told in answer to the request with this account."""
    code = op.get("badCode", codes.get((op["id"].strip(), op.get("requestAccountId") or ""), ""))
    found = store.approve(channel, code.lower() if op.get("lower") else code, op.get("accountId") or "", NOW)
    return {"approved": found.id if found else None}


def pairing_list(store: PairingStore, channel: str, op: Case, codes: Codes) -> Any:
    waiting = store.pending(channel, op.get("accountId") or "", NOW)
    return {"pending": [{"id": request.id, "accountId": request.account} for request in waiting]}


def pairing_allowed(store: PairingStore, channel: str, op: Case, codes: Codes) -> Any:
    return {"allowFrom": list(store.listed(channel, op.get("accountId") or ""))}


NOW = 1_760_000_000.0
PAIRING = {
    "request": pairing_request,
    "approve": pairing_approve,
    "list": pairing_list,
    "allowFrom": pairing_allowed,
}


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "normalizeAgentId": lambda case: ids.normalize_agent_id(case.get("value")),
    "isValidAgentId": lambda case: ids.is_valid_agent_id(case.get("value")),
    "normalizeAccountId": lambda case: ids.normalize_account_id(case.get("value")),
    "normalizeOptionalAccountId": lambda case: ids.normalize_optional_account_id(case.get("value")),
    "normalizeMainKey": lambda case: ids.normalize_main_key(case.get("value")),
    "parseAgentSessionKey": parse_key,
    "parseThreadSessionSuffix": split_thread,
    "resolveThreadSessionKeys": thread_keys,
    "resolveAgentIdFromSessionKey": lambda case: session_key.owner_of(case.get("value")),
    "classifySessionKeyShape": lambda case: session_key.key_shape(case.get("value")),
    "toAgentRequestSessionKey": lambda case: session_key.request_key(case.get("value")),
    "toAgentStoreSessionKey": store_key,
    "canonicalizeMainSessionAlias": canonical_main_key,
    "pairingSequence": pairing_sequence,
    "mention": mention,
    "mentionDecision": mention_decision,
    "resolveAgentRoute": route,
    "buildGroupHistoryKey": history_key,
    "buildAgentMainSessionKey": lambda case: session_key.main_session_key(case["agentId"], case.get("mainKey")),
    "buildAgentPeerSessionKey": peer_key,
    "buildAgentSessionKey": conversation_key,
}
