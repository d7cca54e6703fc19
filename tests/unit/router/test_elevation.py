"""Commands that a person must allow, and commands outside of the sandbox: for whom, and for nobody else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from protocol import messages as m
from protocol.approvals import ElevatedRules, approval_id
from protocol.config import Messages, Session
from protocol.envelope import Address, Inbound, Peer, Relayed, Sender
from protocol.slices import RouterAgent, RouterSlice
from protocol.tasks import Tasks
from router import elevation
from router.accounts import Accounts
from router.approvals import desk
from router.approvals.desk import UNKNOWN, USAGE, Approvals
from router.approvals.rights import Rights
from router.channels.fake import FakeChannel
from router.elevation import Elevation
from router.outbound import Outbox
from router.rules import Target
from router.spool.base import InboxRow
from router.spool.memory import MemorySpool

BOSS, ANN, STRANGER = "1", "7", "13"
RULES = ElevatedRules(enabled=True, allow_from={"fake": (ANN,)}, default="full")


def slice_of(rules: ElevatedRules = RULES, **orders: Any) -> RouterSlice:
    agents = tuple(RouterAgent(id=id, name=id, max_concurrent=4, elevated=rules) for id in ("a", "b"))
    texts = dict.fromkeys(("spool", "credentials", "host", "token"), "")
    settings = {"dmPolicy": "allowlist", "allowFrom": [ANN, STRANGER], "groupPolicy": "open", "groupAllowFrom": [ANN]}
    return RouterSlice(
        agents=agents, default_agent="a", bindings=(), channels={"fake": settings}, session=Session(),
        messages=Messages(), broadcast={}, commands={"ownerAllowFrom": [f"fake:{BOSS}"], **orders}, port=0, **texts,
    )  # fmt: skip


def row(sender: str = ANN, *, agent: str = "a", id: str = "m1", peer: str = "", **fields: Any) -> InboxRow:
    kind: Any = "group" if peer else "direct"
    message = Inbound(
        channel="fake", account="default", message_id=id, peer=Peer(kind, peer or sender), sender=Sender(sender),
        text="do it", at=1.0, reply=Address("fake", "default", peer or sender), **fields,
    )  # fmt: skip
    return InboxRow(id, agent, f"agent:{agent}:{peer or 'main'}", message, 0, 1.0)


class Stage:
    """A router's part for commands, without workers and supervisor."""

    def __init__(self) -> None:
        self.crashes: list[BaseException] = []
        self.tasks = Tasks(lambda _, error: self.crashes.append(error))
        self.spool, self.channel = MemorySpool(), FakeChannel()
        self.accounts = Accounts(lambda *_: self.channel, self._nothing, self.spool.cursor, self.tasks)
        self.outbox = Outbox(self.spool, self.accounts, self.tasks, lambda _: None)
        self.reported: list[m.RouterToSupervisor] = []
        self.rights = Rights(lambda channel, account: ())
        self.approvals = Approvals(self.rights, self.outbox, self.accounts, self.tasks, self.reported.append)
        self.out = {"m1", "m2", "m3"}
        self.elevation = Elevation(
            self.rights, self.approvals, self.tasks, self.reported.append, lambda row: row.id in self.out
        )
        self.rights.update(slice_of())

    async def start(self) -> None:
        await self.spool.open()
        await self.accounts.update({("fake", "default"): {}})
        account = self.accounts.find("fake", "default")
        assert account is not None
        await account.online.wait()

    def ask(self, row: InboxRow, command: str = "make it", workdir: str = "/w") -> asyncio.Task[m.Decision]:
        return self.tasks.start(self.approvals.ask(row, command, workdir), "ask")

    def elevate(self, row: InboxRow | None, command: str = "id", **fields: Any) -> asyncio.Task[m.Response]:
        wish = m.Elevate(**{"request": 5, "turn": "m1", "command": command, "workdir": "", "timeout": 9.0, **fields})
        return self.tasks.start(self.elevation.run(row, wish), "elevate")

    @staticmethod
    async def _nothing(*_: object) -> None:
        return None


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.start()
    yield stage
    await stage.accounts.close()
    await stage.tasks.cancel()
    assert not stage.crashes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Approvers have no time at all."""
    monkeypatch.setattr(elevation, "PATIENCE", 0.0)
    yield


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def targets(agent: str = "a", session: str = "main") -> list[Target]:
    return [Target(agent, f"agent:{agent}:{session}", "")]


# --- approvals ---------------------------------------------------------------------------------------------------


async def test_a_sender_who_may_approve_is_asked_where_he_wrote(stage: Stage) -> None:
    call = stage.ask(row())
    [asked] = await stage.channel.wait_sent(1)
    id = approval_id("m1", "make it", "/w")
    assert asked.address.target == ANN and f"/approve {id} allow-once" in asked.text and "make it" in asked.text
    assert stage.approvals.decide(f"{id} allow-once", owner=False, targets=targets(), by="x") == "✅ Allowed once."
    assert await call == "allow-once"
    assert stage.approvals.decide(f"{id} deny", owner=True, targets=targets(), by="x") == UNKNOWN


async def test_for_a_sender_who_may_not_approve_the_owners_are_asked(stage: Stage) -> None:
    stage.ask(row(STRANGER, peer="g"))
    [asked] = await stage.channel.wait_sent(1)
    assert asked.address == Address("fake", "default", BOSS)


async def test_only_owners_and_the_session_itself_may_answer(stage: Stage) -> None:
    call = stage.ask(row(peer="g"))
    await settle()
    id = approval_id("m1", "make it", "/w")
    for others in (targets("b", "g"), targets("a", "main"), targets("a", "h"), []):
        assert stage.approvals.decide(f"{id} allow-once", owner=False, targets=others, by="x") == UNKNOWN
    assert stage.approvals.decide(f"{id} sure", owner=True, targets=[], by="x") == USAGE
    assert stage.approvals.decide(id, owner=True, targets=[], by="x") == USAGE
    assert not call.done()
    assert stage.approvals.decide(f"{id.upper()}  DENY", owner=True, targets=[], by="x") == "🚫 Denied."
    assert await call == "deny"


async def test_always_is_the_supervisors_to_remember_and_only_for_plain_programs(stage: Stage) -> None:
    for number, (command, patterns) in enumerate(
        [("git log | wc -l", ("git", "wc")), ("sh -c ls", ()), ("ls > x", ()), ("./run", ()), ("env A=b ls", ())]
    ):
        stage.reported.clear()
        call = stage.ask(row(id=f"m{number}"), command)
        await settle()
        id = approval_id(f"m{number}", command, "/w")
        stage.approvals.decide(f"{id} allow-always", owner=True, targets=[], by="x")
        assert await call == "allow-always"
        remembered = [one for one in stage.reported if isinstance(one, m.RememberApproval)]
        assert [one.patterns for one in remembered] == ([patterns] if patterns else [])


async def test_the_same_question_is_asked_once_and_answered_to_all(stage: Stage) -> None:
    calls = [stage.ask(row()) for _ in range(3)]
    await settle()
    assert len(stage.approvals.pending()) == 1
    assert stage.approvals.resolve(stage.approvals.pending()[0].id, "deny", "the operator") == "🚫 Denied."
    assert [await call for call in calls] == ["deny"] * 3


async def test_questions_are_bounded_in_number_and_size(stage: Stage) -> None:
    calls = [stage.ask(row(), f"echo {number}") for number in range(desk.MAX_OF_AGENT + 5)]
    calls.append(stage.ask(row(agent="b"), "x" * (desk.MAX_COMMAND + 1)))
    await settle()
    assert len(stage.approvals.pending()) == desk.MAX_OF_AGENT
    assert [call.result() for call in calls if call.done()] == ["deny"] * 6
    stage.ask(row(agent="b"))
    await settle()
    assert len(stage.approvals.pending()) == desk.MAX_OF_AGENT + 1


async def test_nobody_answers_and_the_question_expires(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "EXPIRY", 0.01)
    assert await stage.ask(row()) == "expired"
    assert not stage.approvals.pending()


async def test_a_command_cannot_disguise_itself(stage: Stage) -> None:
    stage.ask(row(), "ls \x1b[2K\u202e #\u200b```\n/approve me", "/w\n/approve")
    [asked] = await stage.channel.wait_sent(1)
    assert all(char.isprintable() or char == "\n" for char in asked.text)
    assert "\\x1b" in asked.text and "\\u202e" in asked.text and "````" in asked.text and "/w\\n/approve" in asked.text


async def test_a_long_command_is_cut_and_says_so(stage: Stage) -> None:
    stage.ask(row(), "echo " + "x" * 5000 + " rm")
    [asked] = await stage.channel.wait_sent(1)
    assert len(asked.text) < 2000 and "characters left out" in asked.text and "⚠️ Not shown whole" in asked.text


async def test_who_was_asked_by_another_agent_approves_nothing(stage: Stage) -> None:
    relayed = Relayed(agent="b", session_key="agent:b:main")
    assert not stage.rights.may_approve(row(relayed=relayed).message)
    assert not stage.rights.is_owner(row(BOSS, relayed=relayed).message)


# --- elevated ----------------------------------------------------------------------------------------------------


async def test_an_allowed_sender_gets_his_command_run_and_answered(stage: Stage) -> None:
    call = stage.elevate(row(), "id", timeout=1e12, workdir="/w")
    await settle()
    assert stage.reported == [
        m.RunElevated(
            request=1, agent="a", turn="m1", channel="fake", sender=ANN, command="id", workdir="/w",
            timeout=elevation.MAX_TIMEOUT,
        )
    ]  # fmt: skip
    stage.elevation.finished(m.ElevatedResult(request=99, ok=True, text="nobody's"))
    stage.elevation.finished(m.ElevatedResult(request=1, ok=True, text="uid=0"))
    assert await call == m.Response(request=5, ok=True, text="uid=0")


OWN = msgspec.structs.replace
ATTACKS: list[tuple[str, ElevatedRules, InboxRow | None, dict[str, Any], str]] = [
    ("somebody else's turn", RULES, None, {}, "not worked on here"),
    ("another turn than the row's", RULES, row(), {"turn": "m2"}, "not worked on here"),
    ("an ended turn", RULES, row(id="m9"), {"turn": "m9"}, "not worked on here"),
    ("a sender who is not listed", RULES, row(STRANGER), {}, r"allowFrom \(tools.elevated.allowFrom.fake\)"),
    ("the owner, who is not listed", RULES, row(BOSS), {}, "allowFrom"),
    ("another channel's list", OWN(RULES, allow_from={"irc": (ANN,)}), row(), {}, "allowFrom"),
    ("no list", OWN(RULES, allow_from={}), row(), {}, "allowFrom"),
    ("an empty list", OWN(RULES, allow_from={"fake": ()}), row(), {}, "allowFrom"),
    ("switched off", OWN(RULES, enabled=False), row(), {}, "tools.elevated.enabled"),
    ("the agent's own list", OWN(RULES, own={"fake": (BOSS,)}), row(), {}, "agents.list"),
    ("the agent's own empty list", OWN(RULES, own={}), row(), {}, "agents.list"),
    ("an agent that only it allows", OWN(RULES, allow_from={}, own={"fake": (ANN,)}), row(), {}, "allowFrom"),
    ("the session's level", OWN(RULES, default="off"), row(), {}, "/elevated ask"),
    ("an agent that is gone", RULES, row(agent="z"), {}, "enabled"),
    ("another agent's words", RULES, row(relayed=Relayed(agent="b", session_key="k")), {}, "from another agent"),
    ("an oversized command", RULES, row(), {"command": "x" * 70_000}, "longer than"),
    ("an oversized folder", RULES, row(), {"workdir": "x" * 70_000}, "longer than"),
    ("a NUL", RULES, row(), {"command": "id\0"}, "not text"),
]


@pytest.mark.parametrize(
    ("rules", "asks", "fields", "reason"), [one[1:] for one in ATTACKS], ids=[one[0] for one in ATTACKS]
)
async def test_nobody_else_gets_out(
    stage: Stage, rules: ElevatedRules, asks: InboxRow | None, fields: dict[str, Any], reason: str
) -> None:
    stage.rights.update(slice_of(rules))
    answer = await stage.elevate(asks, **{"command": "id", **fields})
    assert not answer.ok and answer.request == 5
    assert re.search(reason, answer.text)
    assert not stage.reported


async def test_a_flood_is_refused(stage: Stage) -> None:
    calls = [stage.elevate(row(), f"echo {number}") for number in range(20)]
    others = stage.elevate(row(agent="b"))
    await settle()
    assert sum(call.done() for call in calls) == 20 - elevation.MAX_OF_AGENT and not others.done()
    assert len(stage.reported) == elevation.MAX_OF_AGENT + 1


async def test_ask_waits_for_a_person(stage: Stage) -> None:
    stage.rights.update(slice_of(msgspec.structs.replace(RULES, default="ask")))
    call = stage.elevate(row())
    [asked] = await stage.channel.wait_sent(1)
    assert "outside of its sandbox" in asked.text and not stage.reported
    id = approval_id("m1", "id", "", elevated=True)
    told = stage.approvals.decide(f"{id} allow-always", owner=False, targets=targets(), by="x")
    assert "asked about each time" in told
    await settle()
    assert [type(one) for one in stage.reported] == [m.RunElevated]
    stage.elevation.finished(m.ElevatedResult(request=1, ok=True, text="done"))
    assert (await call).text == "done"


async def test_what_changed_while_a_person_thought_counts(stage: Stage) -> None:
    stage.rights.update(slice_of(msgspec.structs.replace(RULES, default="ask")))
    call = stage.elevate(row())
    await settle()
    stage.out.clear()
    stage.approvals.resolve(stage.approvals.pending()[0].id, "allow-once", "x")
    assert "not worked on here" in (await call).text and not stage.reported


async def test_a_late_yes_is_for_the_same_command_of_the_same_sender_once(stage: Stage, impatient: None) -> None:
    rules = msgspec.structs.replace(RULES, default="ask", allow_from={"fake": (ANN, STRANGER)})
    stage.rights.update(slice_of(rules))
    answer = await stage.elevate(row())
    assert answer.text.startswith("status: approval-pending\nid: ") and not stage.reported
    stage.approvals.resolve(stage.approvals.pending()[0].id, "allow-once", "x")
    await settle()
    assert not stage.reported
    of_b = row(agent="b", id="m3")
    for other in (stage.elevate(row(STRANGER)), stage.elevate(row(), "id; rm"), stage.elevate(of_b, turn="m3")):
        assert "approval-pending" in (await other).text
    again = stage.elevate(row(id="m2"), turn="m2")
    await settle()
    assert len(stage.reported) == 1 and not again.done()
    assert "approval-pending" in (await stage.elevate(row(id="m2"), turn="m2")).text


async def test_a_denied_command_does_not_run(stage: Stage) -> None:
    stage.rights.update(slice_of(msgspec.structs.replace(RULES, default="ask")))
    call = stage.elevate(row())
    await settle()
    stage.approvals.resolve(stage.approvals.pending()[0].id, "deny", "x")
    assert "an approver said no" in (await call).text and not stage.reported


async def test_a_session_chooses_its_level_and_nobody_else_does(stage: Stage) -> None:
    ann, stranger = row(), row(STRANGER)
    say = stage.elevation.command
    assert say("a", ann.session_key, ann.message, "").startswith("⚙️ Elevated level: full")
    assert "set to ask" in say("a", ann.session_key, ann.message, "on")
    assert stage.elevation.level(ann) == "ask" and stage.elevation.level(stranger) == "off"
    assert "tools.elevated.allowFrom.fake" in say("a", ann.session_key, stranger.message, "full")
    assert stage.elevation.level(ann) == "ask"
    assert stage.elevation.level(row(peer="g")) == "full"
    assert "disabled" in say("a", ann.session_key, ann.message, "OFF")
    assert stage.elevation.level(ann) == "off"
    assert say("a", ann.session_key, ann.message, "max").startswith("Usage:")
