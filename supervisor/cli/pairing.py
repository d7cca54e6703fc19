"""`openclaw pairing`: who asks to talk to an agent, and letting them in (SPEC 3.6)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from protocol import control as c
from protocol.codec import encode
from protocol.errors import ProtocolViolation, UserError
from protocol.ids import normalize_account_id, normalize_channel
from supervisor.cli import client, context, output
from supervisor.cli.child import run_module
from supervisor.cli.nouns import Json, noun
from supervisor.config.channels import LABELS
from supervisor.config.walk import suggest

app = noun("List and approve people who want to talk to an agent.", no_args_is_help=True)
APPS = {"pairing": app}

Account = Annotated[str, typer.Option("--account", help="Account id.")]
First = Annotated[str, typer.Argument(metavar="CHANNEL", help="Channel id; with --channel what follows it.")]
Channel = Annotated[str, typer.Option("--channel", help="Channel id.")]
#: What a person is called on a platform; `<channel>UserId` elsewhere (SPEC 3.6).
_ID_NAMES = {
    "whatsapp": "whatsappSenderId",
    "imessage": "imessageSenderId",
    "signal": "signalNumber",
    "irc": "ircUser",
}


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="[CHANNEL]")] = "",
    channel: Channel = "",
    account: Account = "",
    json: Json = False,
) -> None:
    """Show the requests that wait."""
    wanted = _channel(name or channel)
    found: c.Pairings = _ask(c.ListPairing(channel=wanted, account=_account(account)), c.Pairings)
    if json:
        output.document_of({"channel": wanted or None, "requests": [_as_json(one) for one in found.requests]})
    elif not found.requests:
        output.data(f"No pending {wanted} pairing requests." if wanted else "No pending pairing requests.")
    else:
        output.data(f"Pairing requests ({len(found.requests)})")
        print(_table(found.requests, wanted))


@app.command()
def approve(
    first: First,
    second: Annotated[str, typer.Argument(metavar="CODE")] = "",
    channel: Channel = "",
    account: Account = "",
    notify: Annotated[bool, typer.Option("--notify", help="Tell the person.")] = False,
    json: Json = False,
) -> None:
    """Let a person in by the code they were given."""
    wanted, code = _named("approve", "code", first, second, channel)
    ask = c.ApprovePairing(channel=wanted, code=code.upper(), account=_account(account), notify=notify)
    done: c.Approved = _ask(ask, c.Approved)
    if json:
        output.document_of({"channel": done.channel, "account": done.account, "id": done.id})
    else:
        output.data(f"Approved {done.channel} sender {done.id}.")


@app.command()
def reject(
    first: First,
    second: Annotated[str, typer.Argument(metavar="CODE")] = "",
    channel: Channel = "",
    account: Account = "",
    json: Json = False,
) -> None:
    """Forget a request; its code is worth nothing then."""
    wanted, code = _named("reject", "code", first, second, channel)
    done: c.Rejected = _ask(c.RejectPairing(channel=wanted, code=code.upper(), account=_account(account)), c.Rejected)
    if json:
        output.document_of({"channel": done.channel, "account": done.account, "id": done.id})
    else:
        output.data(f"Rejected {done.channel} sender {done.id}.")


@app.command()
def revoke(
    first: First,
    second: Annotated[str, typer.Argument(metavar="ID")] = "",
    channel: Channel = "",
    account: Account = "",
    json: Json = False,
) -> None:
    """Take back that a person was let in; the configuration's allowFrom is left alone."""
    wanted, person = _named("revoke", "id", first, second, channel)
    done: c.Revoked = _ask(c.RevokePairing(channel=wanted, id=person, account=_account(account)), c.Revoked)
    if json:
        output.document_of({"channel": done.channel, "accounts": list(done.accounts), "id": done.id})
    else:
        output.data(f"Revoked {done.channel} sender {done.id} ({', '.join(done.accounts)}).")


def _named(command: str, what: str, first: str, second: str, channel: str) -> tuple[str, str]:
    """Channel and code: both in order, or the channel by option and the code alone."""
    wanted, named = _channel(channel or first), (second or (first if channel else "")).strip()
    if not wanted or not named:
        raise UserError(f"usage: openclaw pairing {command} <channel> <{what}>", hint="openclaw pairing list")
    return wanted, named


def _account(name: str) -> str:
    return normalize_account_id(name) if name else ""


def _ask(request: c.PairingAsk, kind: type[Any]) -> Any:
    """The router's answer; without a gateway that of the router's own code, on the same files."""
    paths = context.current().paths
    try:
        with client.attached(paths) as line:
            return line.ask(request, c.from_router, kind)
    except client.NotRunning:
        done = run_module("router.pairing_desk", str(paths.credentials), stdin=encode(request))
    reply = _reply(done.stdout)
    if isinstance(reply, c.Failure):
        raise UserError(reply.message, where=reply.where or None, hint=reply.hint or None)
    if isinstance(request, c.ApprovePairing) and request.notify:
        output.say("The person is not told: no gateway runs.\nhint: openclaw gateway start")
    return reply


def _reply(data: bytes) -> c.PairingReply:
    try:
        return c.pairing_reply.decode(data)
    except ProtocolViolation as error:
        raise UserError(f"the pairing files cannot be read: {error}", hint="openclaw doctor") from None


def _channel(name: str) -> str:
    wanted = normalize_channel(name)
    if wanted and wanted not in LABELS:
        raise UserError(f'Unknown channel "{name}".', hint=suggest(wanted, list(LABELS)) or "openclaw pairing list")
    return wanted


def _as_json(one: c.PairingRequest) -> dict[str, object]:
    return {
        "channel": one.channel,
        "id": one.id,
        "code": one.code,
        "createdAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.created_at)),
        "meta": {**one.meta, "accountId": one.account},
    }


def _table(requests: Sequence[c.PairingRequest], channel: str) -> str:
    now = time.time()
    id_name = _ID_NAMES.get(channel, f"{channel}UserId") if channel else "Id"
    rows = [
        [one.code, one.channel, one.account, one.id, _meta(one), output.age(one.created_at, now)] for one in requests
    ]
    return output.table(["Code", "Channel", "Account", id_name, "Meta", "Requested"], rows)


def _meta(one: c.PairingRequest) -> str:
    return " ".join(f"{key}={value}" for key, value in one.meta.items())
