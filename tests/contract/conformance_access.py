"""Thin adapters from the access vectors to the router's rules. No logic lives here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.accounts import account_settings
from router.access import Allow, Ignore, OfferPairing, Verdict, discord, generic, telegram, whatsapp
from router.access.decide import judge_telegram_private

Case = dict[str, Any]
WORDS: dict[type[Verdict], str] = {Allow: "allow", Ignore: "block", OfferPairing: "pairing"}


def word(verdict: Verdict) -> str:
    return WORDS[type(verdict)]


def settings_of(case: Case, channel: str) -> Any:
    section = case["cfg"]["channels"].get(channel)
    return None if section is None else account_settings(section, case.get("accountId") or "default", channel)


def defaults_of(case: Case) -> Any:
    return case["cfg"]["channels"].get("defaults") or {}


def store(case: Case) -> Any:
    return case.get("storeAllowFrom") or ()


def whatsapp_access(case: Case) -> Any:
    settings, own = settings_of(case, "whatsapp"), case.get("selfE164") or ""
    if not case.get("isGroup"):
        return {"decision": word(whatsapp.judge_private(settings, case["sender"], store(case), own))}
    found = whatsapp.judge_group(settings, defaults_of(case), case["sender"], case["conversationId"], own)
    return {
        "decision": word(found.verdict),
        "senderDecision": "allow" if found.sender else "block",
        "groupAllowed": found.group,
        "requireMention": found.require_mention,
    }


def telegram_access(case: Case) -> Any:
    settings, sender = settings_of(case, "telegram"), str(case["senderId"])
    if not case.get("isGroup"):
        return {"decision": word(judge_telegram_private(settings, sender, store(case)))}
    found = telegram.judge_group(settings, defaults_of(case), sender, str(case["chatId"]))
    reason = {"reason": found.verdict.reason} if isinstance(found.verdict, Ignore) else {}
    policy = {} if found.policy is None else {"groupPolicy": found.policy}
    return {"decision": word(found.verdict), **reason, **policy}


def discord_dm(case: Case) -> Any:
    found = discord.judge_private(settings_of(case, "discord"), case["sender"]["id"], store(case))
    return {"decision": word(found), "reason": found.reason}


def discord_guild(case: Case) -> Any:
    member = discord.Member(
        case["senderId"],
        case["guildId"],
        case["channelId"],
        case.get("parentId") or "",
        case.get("memberRoleIds") or (),
    )
    found = discord.judge_guild(settings_of(case, "discord"), defaults_of(case), member)
    if isinstance(found.verdict, Allow):
        more: dict[str, Any] = {"requireMention": found.verdict.require_mention}
    else:
        more = {"reason": found.verdict.reason}
    return {"decision": word(found.verdict), **more, "groupPolicy": found.policy}


def judged(verdict: Verdict) -> dict[str, Any]:
    return {"decision": word(verdict), "reasonCode": verdict.reason}


def signal_access(case: Case) -> Any:
    settings = settings_of(case, "signal")
    names = [name for name in (case.get("sourceNumber"), case.get("sourceUuid")) if name]
    if case.get("isGroup"):
        return judged(generic.judge_group("signal", settings, defaults_of(case), names, ""))
    return judged(generic.judge_private("signal", settings, names, store(case)))


def generic_access(case: Case) -> Any:
    keys = ("dmPolicy", "groupPolicy", "allowFrom", "groupAllowFrom")
    settings = {key: case[key] for key in keys if case.get(key) is not None}
    lists = generic.senders(settings, store(case))
    if case.get("isGroup"):
        found = generic.judge_group("generic", settings, {}, (case["senderId"],), "")
    else:
        found = generic.judge_private("generic", settings, (case["senderId"],), store(case))
    return {**judged(found), "effectiveAllowFrom": lists.direct, "effectiveGroupAllowFrom": lists.group}


ADAPTERS: dict[str, Callable[[Case], Any]] = {
    "whatsappAccess": whatsapp_access,
    "telegramAccess": telegram_access,
    "discordDmAccess": discord_dm,
    "discordGuildAccess": discord_guild,
    "signalAccess": signal_access,
    "genericAccess": generic_access,
}
