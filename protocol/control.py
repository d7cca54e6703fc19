"""What an operator may ask: the CLI (and the control page) on one side, supervisor and router on the other.

The CLI connects to `run/control.sock` and speaks `protocol.pipe` frames. Requests of `ToSupervisor` are answered by
the supervisor. `Attach` hands the very connection over to the router, which says `Attached`; from then on the CLI
talks to the router (`ToRouter`), so no chat text passes the supervisor.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.codec import Decoder
from protocol.probes import Finding, ProbeTarget


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    pass


class Failure(_Message, frozen=True, kw_only=True):
    """The request could not be carried out; shown as a UserError."""

    message: str
    where: str = ""
    hint: str = ""


# --- asked of the supervisor -------------------------------------------------------------------------------------


class GetStatus(_Message, frozen=True, kw_only=True):
    """Answered by GatewayStatus."""


class Restart(_Message, frozen=True, kw_only=True):
    """Validate the configuration, then roll the workers of `agents` (all when empty). Progress*, then Finished."""

    agents: tuple[str, ...] = ()


class Stop(_Message, frozen=True, kw_only=True):
    """Drain and end the gateway. Finished is said when it is about to exit."""


class Attach(_Message, frozen=True, kw_only=True):
    """Connect me to the router."""


class GetUsage(_Message, frozen=True, kw_only=True):
    """Answered by Usage: what the cliproxy counted."""


class ListSandboxes(_Message, frozen=True, kw_only=True):
    """Answered by Sandboxes."""


class RecreateSandboxes(_Message, frozen=True, kw_only=True):
    """Remove the containers of these names; they come back when they are needed. Progress*, then Finished."""

    names: tuple[str, ...]


class InspectPlace(_Message, frozen=True, kw_only=True):
    """What really runs for this session of the agent, whatever the configuration says. Answered by PlaceFacts."""

    agent: str
    session_key: str


class StartWorkers(_Message, frozen=True, kw_only=True):
    """Start the workers of these agents (all when empty) that can run without a message. Answered by Finished at once;
    GetStatus tells what becomes of them."""

    agents: tuple[str, ...] = ()


ToSupervisor = (
    GetStatus | Restart | Stop | Attach | GetUsage | ListSandboxes | RecreateSandboxes | InspectPlace | StartWorkers
)


class ProcessStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One supervised process. Times are seconds since the epoch, 0 for "never".

    `pid` is 0 for what does not run, and for what runs where pids mean nothing here: `where` names its container then.
    """

    name: str
    kind: Literal["supervisor", "router", "cliproxy", "zygote", "worker"]
    state: str
    pid: int = 0
    where: str = ""
    generation: int = 0
    agent: str = ""
    started_at: float = 0.0
    ready_at: float = 0.0
    restarts: int = 0
    reason: str = ""
    retry_at: float = 0.0

    @property
    def runs(self) -> bool:
        return bool(self.pid or self.where)


class GatewayStatus(_Message, frozen=True, kw_only=True):
    version: str
    pid: int
    started_at: float
    config: str
    config_problem: str
    host: str
    port: int
    processes: tuple[ProcessStatus, ...]


class Progress(_Message, frozen=True, kw_only=True):
    """A line for people while a long request runs."""

    text: str


class Finished(_Message, frozen=True, kw_only=True):
    text: str = ""


class Usage(_Message, frozen=True, kw_only=True):
    """`json` is a JSON object made by the cliproxy's ledger."""

    json: str


class SandboxRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One container of ours. `session_key` is its scope key, times are milliseconds since the epoch, 0 for unknown.

    The matches compare it with what the configuration wants now; None where nobody knows that.
    """

    name: str
    id: str
    session_key: str
    created_at_ms: int
    last_used_at_ms: int
    image: str
    config_hash: str
    running: bool
    status: str
    agents: tuple[str, ...] = ()
    image_match: bool | None = None
    config_match: bool | None = None


class Sandboxes(_Message, frozen=True, kw_only=True):
    rows: tuple[SandboxRow, ...]


class Namespace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kernel namespace of a worker as /proc says it: `own` when the supervisor is not in it."""

    kind: str
    id: str
    own: bool


class PlaceFacts(_Message, frozen=True, kw_only=True):
    """What is seen of one place. `state` is the worker's, empty when none was ever made; `pid` is on the host, 0 where
    nothing runs; `uid` -1 for unknown. `container` is the live id, empty where there is no container."""

    agent: str
    place: str
    state: str = ""
    reason: str = ""
    pid: int = 0
    uid: int = -1
    namespaces: tuple[Namespace, ...] = ()
    container_name: str = ""
    container: str = ""
    container_status: str = ""
    config_match: bool | None = None
    problem: str = ""


FromSupervisor = GatewayStatus | Progress | Finished | Usage | Sandboxes | PlaceFacts | Failure


# --- asked of the router, after Attach ---------------------------------------------------------------------------


class GetChannels(_Message, frozen=True, kw_only=True):
    """Answered by Channels. With `probe` every login is tried on its platform now, `timeout` seconds each."""

    probe: bool = False
    timeout: float = 10.0


class Ask(_Message, frozen=True, kw_only=True):
    """A message from the operator to one agent's session; empty key means its main session.

    Answered by Heard* and then Answered, or Failure.
    """

    agent: str
    text: str
    session_key: str = ""
    timeout: float = 600.0


class ListPairing(_Message, frozen=True, kw_only=True):
    """Answered by Pairings; empty channel means all."""

    channel: str = ""
    account: str = ""


class ApprovePairing(_Message, frozen=True, kw_only=True):
    """Answered by Approved or Failure."""

    channel: str
    code: str
    account: str = ""
    notify: bool = False


class RejectPairing(_Message, frozen=True, kw_only=True):
    """Forget a request, so that its code is worth nothing. Answered by Rejected or Failure."""

    channel: str
    code: str
    account: str = ""


class RevokePairing(_Message, frozen=True, kw_only=True):
    """Take the approval of a person away; an empty account means all of the channel. Answered by Revoked or Failure."""

    channel: str
    id: str
    account: str = ""


class GetQueue(_Message, frozen=True, kw_only=True):
    """Answered by Queue: what waits, what is uncertain, what is dead."""

    limit: int = 50


class AgentTargets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the workers of one agent are to try."""

    agent: str
    targets: tuple[ProbeTarget, ...]


class ProbeWorkers(_Message, frozen=True, kw_only=True):
    """Have living workers attack from where they are, `timeout` seconds each. Answered by WorkerProbed*, ProbesDone."""

    wanted: tuple[AgentTargets, ...]
    timeout: float = 120.0


class ListApprovals(_Message, frozen=True, kw_only=True):
    """Answered by Approvals: the commands that wait for somebody to allow them."""


class DecideApproval(_Message, frozen=True, kw_only=True):
    """Answered by Decided or Failure."""

    id: str
    decision: Literal["allow-once", "allow-always", "deny"]


PairingAsk = ListPairing | ApprovePairing | RejectPairing | RevokePairing
ToRouter = (
    GetChannels
    | Ask
    | ListPairing
    | ApprovePairing
    | RejectPairing
    | RevokePairing
    | GetQueue
    | ProbeWorkers
    | ListApprovals
    | DecideApproval
)


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One command that waits, and the message in whose name an agent wants to run it. Times since the epoch."""

    id: str
    agent: str
    channel: str
    sender: str
    command: str
    workdir: str
    elevated: bool
    asked_at: float
    expires_at: float


class Approvals(_Message, frozen=True, kw_only=True):
    """The oldest first."""

    pending: tuple[Approval, ...]


class Decided(_Message, frozen=True, kw_only=True):
    """What came of it, for people."""

    text: str


class Attached(_Message, frozen=True, kw_only=True):
    """The router has the connection."""


class AccountStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One channel account. Times are seconds since the epoch, 0 for "never"."""

    channel: str
    account: str
    enabled: bool
    configured: bool
    running: bool
    connected: bool
    login: str = ""
    error: str = ""
    inbound_at: float = 0.0
    outbound_at: float = 0.0
    probe_ok: bool | None = None


class Channels(_Message, frozen=True, kw_only=True):
    accounts: tuple[AccountStatus, ...]


class Heard(_Message, frozen=True, kw_only=True):
    """Live text of the answer, may be shown while it grows."""

    text: str


class Waiting(_Message, frozen=True, kw_only=True):
    """The answer takes longer, for this reason; the message stays in its queue."""

    text: str


class Answered(_Message, frozen=True, kw_only=True):
    """The whole answer; `outcome` as in messages.Done."""

    texts: tuple[str, ...]
    outcome: str
    error: str = ""
    session_key: str = ""
    duration: float = 0.0


class PairingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    channel: str
    account: str
    id: str
    code: str
    created_at: float
    meta: dict[str, str] = {}


class Pairings(_Message, frozen=True, kw_only=True):
    requests: tuple[PairingRequest, ...]


class Approved(_Message, frozen=True, kw_only=True):
    channel: str
    account: str
    id: str


class Rejected(_Message, frozen=True, kw_only=True):
    channel: str
    account: str
    id: str


class Revoked(_Message, frozen=True, kw_only=True):
    """`accounts` are those where the person had been let in."""

    channel: str
    accounts: tuple[str, ...]
    id: str


class QueueRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One message that is not finished. `box` tells inbox from outbox."""

    box: Literal["in", "out"]
    id: str
    agent: str
    channel: str
    account: str
    state: str
    created_at: float
    attempts: int
    reason: str = ""


class Queue(_Message, frozen=True, kw_only=True):
    counts: dict[str, int]
    rows: tuple[QueueRow, ...]


class WorkerProbed(_Message, frozen=True, kw_only=True):
    """What one worker came to; `problem` says why it tried nothing."""

    agent: str
    place: str
    generation: int
    findings: tuple[Finding, ...] = ()
    problem: str = ""


class ProbesDone(_Message, frozen=True, kw_only=True):
    """Everybody who lives has answered or was given up."""


PairingReply = Pairings | Approved | Rejected | Revoked | Failure
FromRouter = (
    Attached
    | Approvals
    | Decided
    | Channels
    | Heard
    | Waiting
    | Answered
    | Pairings
    | Approved
    | Rejected
    | Revoked
    | Queue
    | WorkerProbed
    | ProbesDone
    | Failure
)

to_supervisor: Decoder[ToSupervisor] = Decoder(ToSupervisor)
from_supervisor: Decoder[FromSupervisor] = Decoder(FromSupervisor)
to_router: Decoder[ToRouter] = Decoder(ToRouter)
from_router: Decoder[FromRouter] = Decoder(FromRouter)
pairing_ask: Decoder[PairingAsk] = Decoder(PairingAsk)
pairing_reply: Decoder[PairingReply] = Decoder(PairingReply)
