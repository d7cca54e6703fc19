"""`openclaw pairing`: who asks to talk to an agent, and letting them in (SPEC 3.6)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from protocol import control as c
from protocol.errors import UserError
from protocol.ids import normalize_account_id, normalize_channel
from supervisor.cli import client, context, output
from supervisor.cli.nouns import Json, missing, noun
from supervisor.config.channels import LABELS
from supervisor.config.walk import suggest

app = noun("List and approve people who want to talk to an agent.", no_args_is_help=True)
APPS = {"pairing": app}
missing(app, "pairing", "reject", "revoke")

Account = Annotated[str, typer.Option("--account", help="Account id.")]
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
    with client.attached(context.current().paths) as line:
        ask = c.ListPairing(channel=wanted, account=normalize_account_id(account) if account else "")
        found: c.Pairings = line.ask(ask, c.from_router, c.Pairings)
    if json:
        output.document_of({"channel": wanted or None, "requests": [_as_json(one) for one in found.requests]})
    elif not found.requests:
        output.data(f"No pending {wanted} pairing requests." if wanted else "No pending pairing requests.")
    else:
        output.data(f"Pairing requests ({len(found.requests)})")
        print(_table(found.requests, wanted))


@app.command()
def approve(
    first: Annotated[str, typer.Argument(metavar="CHANNEL", help="Channel id, or the code with --channel.")],
    second: Annotated[str, typer.Argument(metavar="CODE")] = "",
    channel: Channel = "",
    account: Account = "",
    notify: Annotated[bool, typer.Option("--notify", help="Tell the person.")] = False,
    json: Json = False,
) -> None:
    """Let a person in by the code they were given."""
    wanted, code = (_channel(channel or first), second or (first if channel else ""))
    if not code or not wanted:
        raise UserError("usage: openclaw pairing approve <channel> <code>", hint="openclaw pairing list")
    ask = c.ApprovePairing(
        channel=wanted,
        code=code.strip().upper(),
        account=normalize_account_id(account) if account else "",
        notify=notify,
    )
    with client.attached(context.current().paths) as line:
        done: c.Approved = line.ask(ask, c.from_router, c.Approved)
    if json:
        output.document_of({"channel": done.channel, "account": done.account, "id": done.id})
    else:
        output.data(f"Approved {done.channel} sender {done.id}.")


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
