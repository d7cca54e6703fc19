"""`python -m router.routes`: answers one question about a configuration, for `openclaw routes`.

One JSON object on stdin (`protocol.routes.Question`), one on stdout. It opens no port and no connection and changes
nothing; approvals of pairing and recent messages are only read. Exit code 0 also for a question that makes no sense:
then the answer says so. 2 is our fault.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from protocol.accounts import account_ids, default_account_id
from protocol.codec import MAX_MESSAGE, encode
from protocol.errors import ProtocolViolation, UserError
from protocol.ids import normalize_account_id, normalize_channel
from protocol.routes import Answer, Described, Diff, Explain, Explained, Lint, PeerOf, Question, Refused, questions
from router.lint import close, lint


def answer(question: Question) -> Answer:
    """The answer; Refused where the operator must say it differently."""
    try:
        match question:
            case Explain():
                return _explain(question)
            case Lint():
                return lint(question.config)
            case Diff():
                from router.compare import compare
                from router.recent import read_spool

                return compare(question, read_spool(question.spool), _approvals(question.credentials))
    except UserError as error:
        return Refused(message=error.message, where=error.where or "", hint=error.hint or "")


def _explain(question: Explain) -> Explained:
    from router import entry
    from router.explain import explain

    described, why = _checked(question)
    try:
        message = entry.inbound(described, normalize_account_id(described.account))
    except ValueError as error:
        raise UserError(str(error), where="--peer", hint="--peer direct:ID, group:ID or channel:ID") from None
    approved = _approvals(question.credentials)(message.channel, message.account)
    return explain(question.config, message, approved, account_why=why)


def _checked(question: Explain) -> tuple[Described, str]:
    """The message with channel and account filled in, and where the account is from. Raises UserError."""
    config, message = question.config, question.message
    channel = normalize_channel(message.channel)
    configured = channel in config.channels
    if not configured and channel not in config.known_channels:
        known = [*config.channels, *config.known_channels]
        hint = close(channel, known) or "openclaw channels list"
        raise UserError(f'unknown channel "{message.channel}"', where="--channel", hint=hint)
    if message.peer is None and message.sender is None:
        raise UserError("a message comes from somebody", where="--peer", hint="--peer direct:ID")
    section = config.channels.get(channel) if configured else {}
    section = section if isinstance(section, dict) else {}
    account, why = _account(message, channel, section, configured)
    peer = message.peer or PeerOf(kind="direct", id=message.sender.id if message.sender else "")
    return msgspec.structs.replace(message, channel=channel, account=account, peer=peer), why


def _account(message: Described, channel: str, section: dict[str, object], configured: bool) -> tuple[str, str]:
    if not (message.account or "").strip():
        return default_account_id(section), "the default account of the channel; --account names another"
    account, known = normalize_account_id(message.account), account_ids(section)
    if configured and account not in known:
        hint = close(account, known) or f"--account {'|'.join(known)}"
        raise UserError(f'channel {channel} has no account "{message.account}"', where="--account", hint=hint)
    return account, ""


class _Approvals:
    """Who was let in by pairing; nobody where there is no folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __call__(self, channel: str, account: str) -> frozenset[str]:
        if not self._folder:
            return frozenset()
        from router.pairing_store import PairingStore

        try:
            return frozenset(PairingStore(Path(self._folder)).approved(channel, account))
        except (OSError, ValueError):
            return frozenset()


def _approvals(folder: str) -> _Approvals:
    return _Approvals(folder)


def main() -> int:
    try:
        question = questions.decode(sys.stdin.buffer.read(MAX_MESSAGE + 1))
    except ProtocolViolation as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.buffer.write(encode(answer(question)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
