"""What operators may do with pairing: with a running router over its connection, without one by a child of the CLI.

`python -m router.pairing_desk FOLDER` reads one request of `protocol.control` on stdin and prints its reply. The store
is locked between processes, so it does not matter who else is at it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NoReturn

from protocol import control as c
from protocol.codec import encode
from protocol.errors import ProtocolViolation, UserError
from router.pairing_store import PairingStore


def answer(store: PairingStore, request: c.PairingAsk, now: float) -> c.PairingReply:
    """Carry a request out. Raises UserError."""
    match request:
        case c.ListPairing():
            return c.Pairings(requests=tuple(store.pending(request.channel, request.account, now)))
        case c.ApprovePairing():
            return store.approve(request.channel, request.code, request.account, now) or _no_such(request)
        case c.RejectPairing():
            found = store.reject(request.channel, request.code, request.account, now) or _no_such(request)
            return c.Rejected(channel=request.channel, account=found.account, id=found.id)
    accounts = store.revoke(request.channel, request.id, request.account)
    if not accounts:
        raise UserError(
            f"{request.channel} sender {request.id} is not approved by pairing",
            hint=f"openclaw config get channels.{request.channel}.allowFrom",
        )
    return c.Revoked(channel=request.channel, accounts=accounts, id=request.id)


def _no_such(request: c.ApprovePairing | c.RejectPairing) -> NoReturn:
    raise UserError(
        f"No pending pairing request found for code: {request.code}", hint=f"openclaw pairing list {request.channel}"
    )


def main(arguments: list[str]) -> int:
    """One request, one reply; also what is wrong is a reply."""
    try:
        request = c.pairing_ask.decode(sys.stdin.buffer.read())
        reply: c.PairingReply = answer(PairingStore(Path(arguments[0])), request, time.time())
    except UserError as error:
        reply = c.Failure(message=error.message, where=error.where or "", hint=error.hint or "")
    except (ProtocolViolation, ValueError, OSError) as error:
        reply = c.Failure(message=f"pairing: {error}"[:500])
    sys.stdout.buffer.write(encode(reply))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
