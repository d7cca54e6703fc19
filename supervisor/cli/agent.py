"""`openclaw agent`: one message to an agent, through the gateway (SPEC 3.13)."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from protocol import control as c
from protocol.errors import UserError
from protocol.ids import normalize_agent_id
from supervisor.cli import client, context, output
from supervisor.cli.nouns import Json, noun
from supervisor.config import agents as rules
from supervisor.config.load import Loaded
from supervisor.config.walk import suggest

app = noun("Run one agent turn through the gateway.")
APPS = {"agent": app}
_MAX_TEXT = 32_000


@app.command()
def agent(
    message: Annotated[str, typer.Option("-m", "--message", help="The message; - reads it from stdin.")],
    agent_id: Annotated[str, typer.Option("--agent", help="Agent id.")] = "",
    session_key: Annotated[str, typer.Option("--session-key", "--session-id", help="Not its main session.")] = "",
    to: Annotated[str, typer.Option("--to", hidden=True)] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the answer.")] = 600.0,
    json: Json = False,
) -> int:
    """Send one message to an agent and print its answer."""
    loaded = context.current().load()
    if to:
        raise UserError("--to is not implemented in this build", hint='openclaw agent --agent main -m "…"')
    if not agent_id and not session_key:
        text = "Pass --to <E.164>, --session-id, or --agent to choose a session"
        raise UserError(text, hint='openclaw agent --agent main -m "…"')
    wanted = _agent(loaded, agent_id, session_key)
    text = _text(message)
    ask = c.Ask(agent=wanted, text=text, session_key=session_key, timeout=timeout)
    answer = _ask(ask, live=not json and sys.stderr.isatty())
    if json:
        output.document_of(_as_json(answer, wanted))
    else:
        for said in answer.texts:
            output.data(said)
        if answer.error:
            output.say(f"error: {answer.error}")
    return 0 if answer.outcome in ("answered", "silent") else 1


def _agent(loaded: Loaded, agent_id: str, session_key: str) -> str:
    parts = session_key.split(":")
    name = agent_id or (parts[1] if len(parts) > 2 and parts[0] == "agent" else rules.default_agent_id(loaded.config))
    known = rules.agent_ids(loaded.config)
    if normalize_agent_id(name) not in known:
        text = f'Unknown agent id "{name}". Use "openclaw agents list" to see configured agents.'
        raise UserError(text, hint=suggest(name, known) or "openclaw agents list")
    return normalize_agent_id(name)


def _text(message: str) -> str:
    text = sys.stdin.read(_MAX_TEXT + 1) if message == "-" else message
    if not text.strip():
        raise UserError("the message is empty", hint='openclaw agent --agent main -m "hello"')
    if len(text) > _MAX_TEXT:
        raise UserError(f"the message is longer than {_MAX_TEXT} characters")
    return text


def _ask(ask: c.Ask, *, live: bool) -> c.Answered:
    paths = context.current().paths
    shown, told = False, set[str]()

    def hear(reply: Any) -> None:
        nonlocal shown
        if live and isinstance(reply, c.Heard) and not shown:
            shown = True
            output.say("…")
        elif isinstance(reply, c.Waiting) and reply.text not in told:
            told.add(reply.text)
            output.say(f"agent {ask.agent} cannot be started: {reply.text}\nthe message waits in its queue …")

    with client.attached(paths) as line:
        line.wait_for(ask.timeout + client.QUICK)
        answered: c.Answered = line.ask(ask, c.from_router, c.Answered, hear=hear)
        return answered


def _as_json(answer: c.Answered, agent_id: str) -> dict[str, Any]:
    failed = answer.error != ""
    return {
        "status": "error" if failed else "ok",
        "summary": answer.error if failed else "completed",
        "outcome": answer.outcome,
        "agentId": agent_id,
        "sessionKey": answer.session_key,
        "result": {
            "payloads": [{"text": text} for text in answer.texts],
            "meta": {"durationMs": round(answer.duration * 1000)},
        },
    }
