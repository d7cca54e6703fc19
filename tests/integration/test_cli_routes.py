# ruff: noqa: E501  # whole messages on one line are what a reader compares
"""`openclaw routes` as a person types it, without a gateway: the founding documents' examples, word for word."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from router.spool.tables import SCHEMA
from tests.integration.test_cli import Home, Result
from tests.support.gateway import Gateway

SEEDS = Path(__file__).parents[1] / "unit" / "supervisor" / "config" / "seeds"
NO_OTHERS = """\
  binding.peer.wildcard: no bindings
  binding.guild+roles: no bindings
  binding.guild: no bindings
  binding.team: no bindings
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def seed(home: Home, number: str) -> None:
    home.write((SEEDS / f"{number}.json5").read_text())


def test_a_peer_binding_beats_the_account_binding(home: Home) -> None:
    """The WhatsApp example: one group of the personal number goes to work."""
    seed(home, "06")
    found = home.run(
        "routes", "explain", "--channel", "whatsapp", "--account", "personal", "--peer", "group:1203630...@g.us", "--sender", "+1555"
    )  # fmt: skip
    assert found == Result(0, f"""\
Message   whatsapp/personal group:1203630...@g.us

Tiers, in this order:
  binding.peer: matches
    bindings[2] → work: every field holds
  binding.peer.parent: not reached (1 binding)
{NO_OTHERS}\
  binding.account: not reached (2 bindings)
  binding.channel: no bindings
  default: not reached

Agent     work: bindings[2] is the first that matches in the first tier that has one (binding.peer)
Session   agent:work:whatsapp:group:1203630...@g.us
          a group has a session of its own, whatever dmScope says
Reply     whatsapp/personal, the account it came in on
Access    allowed: the group and its sender are admitted
Mention   left unanswered: a mention is required; there is none
Tools     all
          for owners only: cron, gateway, nodes
Sandbox   off: on this machine, no container
""", "")  # fmt: skip


def test_another_group_of_the_same_number_stays_at_home(home: Home) -> None:
    """Why the peer binding and the other account's binding did not match is said field by field."""
    seed(home, "06")
    found = home.run(
        "routes", "explain", "--channel", "whatsapp", "--account", "personal", "--peer", "direct:+15550001"
    )
    assert found.code == 0 and found.out.splitlines()[3:14] == [
        "  binding.peer: no match",
        "    bindings[2] → work: peer kind group/channel ≠ direct",
        "  binding.peer.parent: no match, the message is in no thread",
        *NO_OTHERS.splitlines(),
        "  binding.account: matches",
        "    bindings[0] → home: every field holds",
        '    bindings[1] → work: accountId "biz", message is on "personal"',
        "  binding.channel: no bindings",
    ]


def test_the_split_of_one_number_by_sender(home: Home) -> None:
    """Access is the account's, and the path that decides it is named."""
    seed(home, "03")
    found = home.run("routes", "explain", "--channel", "whatsapp", "--peer", "direct:+15551230002")
    assert found.code == 0 and found.out.splitlines()[-10:] == [
        "Agent     mia: bindings[1] is the first that matches in the first tier that has one (binding.peer)",
        "Session   agent:mia:main",
        "          session.dmScope is not set: all direct chats share the agent's main session",
        "Reply     whatsapp/default, the account it came in on",
        "Access    allowed: the sender is in allowFrom",
        '          $.channels.whatsapp.dmPolicy = "allowlist"',
        "          $.channels.whatsapp.allowFrom (2 entries)",
        "Tools     all",
        "          for owners only: cron, gateway, nodes",
        "Sandbox   off: on this machine, no container",
    ]
    stranger = home.run("routes", "explain", "--channel", "whatsapp", "--peer", "direct:+15559999999").out
    assert "Access    ignored: the sender is not in allowFrom\n" in stranger


def test_the_family_agent_and_its_group(home: Home) -> None:
    """Mention patterns, tools and sandbox are the agent's."""
    seed(home, "09")
    words = ("routes", "explain", "--channel", "whatsapp", "--peer", "group:120363999999999999@g.us", "--sender", "+1")
    found = home.run(*words, "--text", "hello @family")
    assert found.code == 0 and found.out.splitlines()[-4:] == [
        "Access    closed: channel whatsapp is not configured: nothing comes in",
        "Mention   answered: the text matches a mention pattern of family",
        "Tools     exec, read, session_status, sessions_history, sessions_list, sessions_send, sessions_spawn",
        "Sandbox   all: in a container (the agent's own), workspace none",
    ]
    assert "Mention   left unanswered" in home.run(*words, "--text", "hello").out


def test_a_message_as_json_in_and_out(home: Home) -> None:
    """By the names of the router's own envelope; more fields than are needed are passed over."""
    seed(home, "05")
    message = {"channel": "telegram", "account": "alerts", "peer": {"kind": "direct", "id": "123456789"}, "at": 1.0}
    found = home.run("routes", "explain", "--json", "-", stdin=json.dumps(message))
    told = json.loads(found.out)
    assert (told["agent"], told["binding"], told["matchedBy"]) == ("alerts", 1, "binding.account")
    assert told["access"]["decidedBy"] == [
        '$.channels.telegram.accounts.alerts.dmPolicy = "allowlist"',
        "$.channels.telegram.accounts.alerts.allowFrom (1 entry)",
    ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--channel", "telegran", "--peer", "direct:1"), 'unknown channel "telegran"\n  at --channel\nhint: did you mean "telegram"?'),
        (("--channel", "telegram", "--account", "alert", "--peer", "direct:1"), 'channel telegram has no account "alert"\n  at --account\nhint: did you mean "alerts"?'),
        (("--channel", "telegram", "--peer", "user:1"), '"user:1" is no peer\n  at --peer\nhint: --peer direct:ID, group:ID or channel:ID'),
        (("--channel", "telegram"), "a message comes from somebody\n  at --peer\nhint: --peer direct:ID"),
        ((), "describe the message\n  at --channel\nhint: --channel telegram --peer direct:42"),
        (("nowhere.json",), "cannot read: No such file or directory\n  at nowhere.json"),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_is_refused(home: Home, words: tuple[str, ...], error: str) -> None:
    """What, where, and what to type."""
    seed(home, "05")
    assert home.run("routes", "explain", *words) == Result(1, "", f"error: {error}\n")


# --- lint --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [f"{one:02}" for one in range(1, 11)])
def test_the_founding_documents_have_nothing_to_complain_about(home: Home, number: str) -> None:
    """Notes at most: channels that are not configured in the snippet."""
    seed(home, number)
    assert home.run("routes", "lint").code == 0


BAD = """{
  agents: { list: [{ id: 'home', default: true }, { id: 'ann', tenant: 'a' }, { id: 'bob', tenant: 'b' }] },
  bindings: [
    { agentId: 'ann', match: { channel: 'telegram', accountId: 'ann' } },
    { agentId: 'bob', match: { channel: 'telegram', accountId: 'bob' } },
    { agentId: 'bob', match: { channel: 'telegram', accountId: 'ann' } },
    { agentId: 'ann', match: { channel: 'telegram', accountId: '*', peer: { kind: 'direct', id: '*' } } },
    { agentId: 'ann', match: { channel: 'telegram', peer: { kind: 'direct', id: 'tg:7' } } },
  ],
  channels: { telegram: { accounts: { ann: { botToken: '1:secret-a' }, bob: { botToken: '2:secret-b' }, new: { botToken: '3:c' } } } },
}"""


def test_every_finding_comes_with_a_message_that_proves_it(home: Home) -> None:
    """And exit code 1, for CI."""
    home.write(BAD)
    found = home.run("routes", "lint")
    assert found == Result(1, """\
error: $.bindings[2]: asks for the same as bindings[0], which gives it to ann and not to bob
  example: --channel telegram --account ann --peer direct:900000001 → ann by bindings[3]
  hint: remove the one that is wrong

error: $.bindings[4]: never matches: peer ids of telegram have no prefix "tg:" in bindings
  example: --channel telegram --account ann --peer direct:7 → ann by bindings[3]
  hint: peer.id: "7"

error: $.bindings[3]: with accountId "*" it gives messages on telegram/bob, which is tenant b's, to agent ann of tenant a
  example: --channel telegram --account bob --peer direct:900000001 → ann by bindings[3]
  hint: name the accounts of this tenant

note: $.channels.telegram.accounts.new: who is named by no binding of telegram/new is answered by the default agent home
  example: --channel telegram --account new --peer group:-100900000001 → home by the default
  hint: openclaw agents bind --agent home --bind telegram:new

5 bindings: 3 errors, 1 note (18 messages tried)
""", "")  # fmt: skip
    told = json.loads(home.run("routes", "lint", "--json").out)
    for finding in told["findings"]:
        replay(home, finding["example"])
    assert "secret" not in found.out + json.dumps(told)


def replay(home: Home, example: dict[str, Any]) -> None:
    """The example as a message of its own goes where the finding says."""
    message = {key: value for key, value in example["message"].items() if value}
    again = json.loads(home.run("routes", "explain", "--json", "-", stdin=json.dumps(message)).out)
    assert (again["agent"], again["binding"]) == (example["agent"], example["binding"])


# --- diff --------------------------------------------------------------------------------------------------------

OLD = "{agents: {list: [{id: 'home'}, {id: 'work', tools: {deny: ['exec']}}]}, bindings: [{agentId: 'home', match: {channel: 'telegram', accountId: '*'}}], channels: {telegram: {dmPolicy: 'open', allowFrom: ['*'], botToken: '1:x'}}}"
NEW = OLD.replace(
    "bindings: [", "bindings: [{agentId: 'work', match: {channel: 'telegram', peer: {kind: 'direct', id: '42'}}}, "
)


def test_diff_says_who_gets_another_agent_and_what_they_lose(home: Home) -> None:
    """For generated messages and for recent ones; nothing is applied."""
    home.write(OLD)
    (home.folder / "new.json5").write_text(NEW)
    recent = [
        {"channel": "telegram", "account": "default", "peer": {"kind": "direct", "id": one}, "text": "hi"}
        for one in ("42", "43")
    ]
    (home.folder / "recent.jsonl").write_text("\n".join(json.dumps(one) for one in recent))
    before = home.tree()
    found = home.run("routes", "diff", "new.json5", "--recent", "recent.jsonl")
    assert found == Result(0, """\
42 on telegram/default
  agent: home (bindings[0]) → work (bindings[0])
  loses: tool exec
  1 recent message

Changed: 1 of 3 generated messages, 1 of 2 recent ones
""", "")  # fmt: skip
    assert home.run("routes", "diff", "new.json5", "--exit-code").code == 1
    assert home.run("routes", "diff", str(home.config), "--exit-code") == Result(
        0, "Nothing changes: 0 of 2 generated messages\n", ""
    )
    assert home.tree() == before


def test_diff_reads_recent_messages_from_the_spool(home: Home) -> None:
    """Who wrote, never what."""
    home.write(OLD)
    (home.folder / "new.json5").write_text(NEW)
    folder = home.state / "state"
    folder.mkdir()
    with sqlite3.connect(folder / "spool.sqlite") as connection:
        connection.executescript(SCHEMA)
        data = json.dumps(
            {"channel": "telegram", "account": "default", "peer": {"kind": "direct", "id": "42"}, "text": "hush"}
        )
        connection.execute(
            "INSERT INTO inbox (n, agent, session_key, origin, channel, account, message_id, message, created_at)"
            " VALUES (1, 'home', 'k', 'o', 'telegram', 'default', '1', ?, 0)",
            (data,),
        )
    connection.close()
    found = home.run("routes", "diff", "new.json5", "--json")
    told = json.loads(found.out)
    assert (told["recent"], told["recentChanged"]) == (1, 1) and "hush" not in found.out
    assert told["changes"][0]["who"] == ["42 on telegram/default"]


def test_a_file_that_is_no_config_is_refused(home: Home) -> None:
    """As any other config would be."""
    home.write(OLD)
    (home.folder / "new.json5").write_text("{agents: {list: [{id: 'a', wrkspace: 1}]}}")
    found = home.run("routes", "diff", "new.json5")
    assert found.code == 1 and "wrkspace" in found.err and "new.json5" in found.err
    assert (
        home.run("routes", "diff").err
        == "error: no gateway has accepted a configuration yet\nhint: openclaw routes diff NEW.json5\n"
    )


def test_an_answer_comes_fast(home: Home) -> None:
    """The command and its child together: 0.25 s of work measured; twice that, and a second for a busy machine."""
    seed(home, "06")
    before = os.times()
    start = time.monotonic()
    home.run("routes", "lint")
    spent = os.times()
    assert spent.children_user + spent.children_system - before.children_user - before.children_system < 1.5
    assert time.monotonic() - start < 10


async def test_gateway_restart_says_what_the_file_changes() -> None:
    """On stderr, before it is applied."""
    agents = {"list": [{"id": "home"}, {"id": "work"}]}
    old: dict[str, Any] = {
        "gateway": {"reload": {"mode": "off"}},
        "agents": agents,
        "channels": {"irc": {"enabled": False}},
    }
    async with Gateway(old) as gateway:
        await gateway.start()
        gateway.write({**old, "bindings": [{"agentId": "work", "match": {"channel": "irc", "accountId": "*"}}]})
        done = await gateway.run("gateway", "restart")
        assert "agent: home (the default agent) → work (bindings[0])" in done.err
