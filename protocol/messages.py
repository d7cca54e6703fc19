"""Every message between our processes: one union per direction of each link.

Raise PROTOCOL_VERSION when a field or message is added, removed or changes its meaning: old and new processes then
refuse each other at Hello instead of guessing. Unknown tags and fields are errors (`codec`), never ignored.

Who may say what, and when, is the order of the sections below; anything else ends that link.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.codec import Decoder
from protocol.config import ToolList
from protocol.envelope import Inbound
from protocol.probes import Finding as Finding
from protocol.probes import ProbeTarget as ProbeTarget
from protocol.sandbox import HOST
from protocol.slices import AgentLink, RouterSlice, Walls, WorkerSlice
from protocol.slices_proxy import ProxySlice

PROTOCOL_VERSION = 3

#: Largest message a worker may send, in bytes: a worker is treated as hostile (ARCHITECTURE 1).
MAX_WORKER_MESSAGE = 1024 * 1024

#: How far a sender may leave the sandbox: not at all, with an approval for each command, without one (SPEC 5.7).
Elevated = Literal["off", "ask", "full"]
#: What an approver said of a command; `expired` when nobody said anything in time.
Decision = Literal["allow-once", "allow-always", "deny", "expired"]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    pass


# --- router -> worker, on the agent's link -----------------------------------------------------------------------


class Welcome(_Message, frozen=True, kw_only=True):
    """Answer to Hello: the worker may talk. `router` names this life of the router."""

    version: int
    router: str


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the sender of one message may have the agent do. Decided by the router, checked there again.

    `layers` are those of the group or channel and of the sender (RULES 3.6); they only take away.
    """

    owner: bool = False
    elevated: Elevated = "off"
    layers: tuple[ToolList, ...] = ()


class Deliver(_Message, frozen=True, kw_only=True):
    """One message for the agent. Answered by Accepted, then Say any number of times, then Done."""

    id: str
    session_key: str
    message: Inbound
    grant: Grant = Grant()


class SayAck(_Message, frozen=True, kw_only=True):
    """Say(id, seq) is in the outbox on disk."""

    id: str
    seq: int


class DoneAck(_Message, frozen=True, kw_only=True):
    """Done(id) is on disk; the worker may forget the id."""

    id: str


class Cancel(_Message, frozen=True, kw_only=True):
    """Stop this turn; it still ends with Done."""

    id: str


class Drain(_Message, frozen=True, kw_only=True):
    """Finish what runs, take nothing new, say Drained and exit 0."""


class Ping(_Message, frozen=True, kw_only=True):
    """Answered by Pong at once: proves that the event loop turns."""

    n: int


class GetHistory(_Message, frozen=True, kw_only=True):
    """Ask for the visible end of one session's transcript. Answered by History with the same request number."""

    request: int
    session_key: str
    limit: int


class Response(_Message, frozen=True, kw_only=True):
    """Answer to Request and Elevate. `text` is what the model is shown; not `ok` when it was refused or failed."""

    request: int
    ok: bool
    text: str


class ApprovalDecided(_Message, frozen=True, kw_only=True):
    """Answer to ApprovalWanted."""

    request: int
    decision: Decision


class Probe(_Message, frozen=True, kw_only=True):
    """Try these attacks from where you are (`openclaw doctor --isolation`). Answered by Probed."""

    request: int
    targets: tuple[ProbeTarget, ...]


RouterToWorker = (
    Welcome | Deliver | SayAck | DoneAck | Cancel | Drain | Ping | GetHistory | Response | ApprovalDecided | Probe
)


# --- worker -> router, on the agent's link -----------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True):
    """First message of every connection. `running` are ids whose turn goes on, `done` ids whose Done got no DoneAck."""

    version: int
    generation: int
    running: tuple[str, ...] = ()
    done: tuple[str, ...] = ()


class Accepted(_Message, frozen=True, kw_only=True):
    """The message is in the transcript on disk (or was there already)."""

    id: str


class Say(_Message, frozen=True, kw_only=True):
    """Text for the person who wrote message `id`. (id, seq) is the key: said twice, sent once."""

    id: str
    seq: int
    text: str


class Partial(_Message, frozen=True, kw_only=True):
    """Live text of the answer to `id`, lossy: `text` continues at character `offset` of Say number `seq`."""

    id: str
    seq: int
    offset: int
    text: str


class Activity(_Message, frozen=True, kw_only=True):
    """What the turn is doing now, lossy, for people who watch: `model` or `tool` with a short label."""

    id: str
    doing: Literal["model", "tool"]
    label: str = ""


class Done(_Message, frozen=True, kw_only=True):
    """The turn of `id` has ended; every Say of it was said before."""

    id: str
    outcome: Literal["answered", "silent", "failed", "cancelled"]
    error: str = ""


class Drained(_Message, frozen=True, kw_only=True):
    """Nothing runs any more; the process exits now."""


class Pong(_Message, frozen=True, kw_only=True):
    n: int


class HistoryEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One visible line of a transcript. `at` in seconds since the epoch; `id` of the inbound it belongs to, if any."""

    role: Literal["user", "assistant", "tool"]
    text: str
    at: float
    id: str = ""
    sender: str = ""
    channel: str = ""


class History(_Message, frozen=True, kw_only=True):
    request: int
    entries: tuple[HistoryEntry, ...]


class Request(_Message, frozen=True, kw_only=True):
    """A tool of turn `turn` that reaches beyond the worker: other sessions, messages, other agents.

    `arguments` is JSON text as the model wrote it. The router decides again whether this agent may, for this sender.
    """

    request: int
    turn: str
    tool: str
    arguments: str


class ApprovalWanted(_Message, frozen=True, kw_only=True):
    """May this command of turn `turn` run? Answered by ApprovalDecided, at the latest when it expires."""

    request: int
    turn: str
    command: str
    workdir: str


class Elevate(_Message, frozen=True, kw_only=True):
    """Run this command outside of the sandbox, through the supervisor's broker. `timeout` in seconds."""

    request: int
    turn: str
    command: str
    workdir: str
    timeout: float


class Probed(_Message, frozen=True, kw_only=True):
    """Answer to Probe, one finding for each target."""

    request: int
    findings: tuple[Finding, ...]


WorkerToRouter = (
    Hello
    | Accepted
    | Say
    | Partial
    | Activity
    | Done
    | Drained
    | Pong
    | History
    | Request
    | ApprovalWanted
    | Elevate
    | Probed
)


# --- supervisor -> router, on the router's pipe ------------------------------------------------------------------


class GenerationStarted(_Message, frozen=True, kw_only=True):
    """A worker process exists; its Hello is to be accepted on this link."""

    link: AgentLink
    generation: int


class RouterBoot(_Message, frozen=True, kw_only=True):
    """First message. `generations` are the workers alive now."""

    version: int
    slice: RouterSlice
    generations: tuple[GenerationStarted, ...] = ()


class RouterUpdate(_Message, frozen=True, kw_only=True):
    """The configuration changed: apply exactly the difference."""

    slice: RouterSlice


class GenerationEnded(_Message, frozen=True, kw_only=True):
    """A worker process is gone. `crashed` is false for a worker that we stopped or drained."""

    agent: str
    generation: int
    crashed: bool
    reason: str
    place: str = HOST


class DrainWorker(_Message, frozen=True, kw_only=True):
    """A newer generation is ready: stop delivering to this one and send it Drain."""

    agent: str
    generation: int
    place: str = HOST


class AgentTrouble(_Message, frozen=True, kw_only=True):
    """The worker cannot be started until `retry_at` (seconds since the epoch): quarantined, with the reason."""

    agent: str
    reason: str
    retry_at: float
    place: str = HOST


class ElevatedResult(_Message, frozen=True, kw_only=True):
    """Answer to RunElevated: output and ending of the command as the model is shown them; `ok` false for a failure."""

    request: int
    ok: bool
    text: str


class OperatorHandover(_Message, frozen=True, kw_only=True):
    """One connected control socket comes along as a descriptor: the operator talks to the router itself from here."""


class RouterStop(_Message, frozen=True, kw_only=True):
    """Close the channels, let the outbox finish for at most `grace` seconds, exit 0."""

    grace: float


SupervisorToRouter = (
    RouterBoot
    | RouterUpdate
    | GenerationStarted
    | GenerationEnded
    | DrainWorker
    | AgentTrouble
    | ElevatedResult
    | OperatorHandover
    | RouterStop
)


# --- router -> supervisor ----------------------------------------------------------------------------------------


class RouterReady(_Message, frozen=True, kw_only=True):
    """The HTTP port listens, every link is bound, the spool is loaded."""

    host: str
    port: int


class WorkerReady(_Message, frozen=True, kw_only=True):
    """Hello and Welcome were exchanged with this generation."""

    agent: str
    generation: int
    place: str = HOST


class WorkerWanted(_Message, frozen=True, kw_only=True):
    """A message of this session waits, and no worker is at the place where its agent works on it."""

    agent: str
    place: str = HOST
    session_key: str = ""


class WorkerUnused(_Message, frozen=True, kw_only=True):
    """The worker of one session has had nothing to do for a while and may rest."""

    agent: str
    place: str


class RunElevated(_Message, frozen=True, kw_only=True):
    """Run this command on the host, outside of any sandbox: an allowed sender asked for it. `timeout` in seconds.

    Answered by ElevatedResult; written to the audit log before it is run.
    """

    request: int
    agent: str
    turn: str
    channel: str
    sender: str
    command: str
    workdir: str
    timeout: float


class RememberApproval(_Message, frozen=True, kw_only=True):
    """An approver said "always": these programs of that agent need no question any more."""

    agent: str
    patterns: tuple[str, ...]


class WorkerSilent(_Message, frozen=True, kw_only=True):
    """Connected, but did not answer Ping in time."""

    agent: str
    generation: int
    place: str = HOST


class WorkerDrained(_Message, frozen=True, kw_only=True):
    agent: str
    generation: int
    place: str = HOST


class WorkerMisbehaved(_Message, frozen=True, kw_only=True):
    """The worker broke the protocol; its connection is refused from now on."""

    agent: str
    generation: int
    reason: str
    place: str = HOST


class AgentIdle(_Message, frozen=True, kw_only=True):
    """An agent of `RouterSlice.leaving` has no unfinished message, and will get none: its worker may go.

    `version` is that of the slice: an agent may leave, come back and leave again while this is on its way.
    """

    agent: str
    version: int


RouterToSupervisor = (
    RouterReady
    | WorkerReady
    | WorkerWanted
    | WorkerUnused
    | WorkerSilent
    | WorkerDrained
    | WorkerMisbehaved
    | AgentIdle
    | RunElevated
    | RememberApproval
)


# --- supervisor <-> cliproxy -------------------------------------------------------------------------------------


class ProxyBoot(_Message, frozen=True, kw_only=True):
    version: int
    slice: ProxySlice


class ProxyUpdate(_Message, frozen=True, kw_only=True):
    slice: ProxySlice


class ProxyStop(_Message, frozen=True, kw_only=True):
    """Finish running requests for at most `grace` seconds, exit 0."""

    grace: float


class ProxyStatusQuery(_Message, frozen=True, kw_only=True):
    request: int


SupervisorToProxy = ProxyBoot | ProxyUpdate | ProxyStop | ProxyStatusQuery


class ProxyReady(_Message, frozen=True, kw_only=True):
    pass


class ProxyStatus(_Message, frozen=True, kw_only=True):
    """`text` is JSON made by the ledger, free of keys."""

    request: int
    text: str


ProxyToSupervisor = ProxyReady | ProxyStatus


# --- supervisor <-> zygote, and the boot pipe of one worker ------------------------------------------------------


class ZygoteSpawn(_Message, frozen=True, kw_only=True):
    """Fork one worker. Descriptors: its boot pipe, then its log pipe (stdout and stderr).

    `orphanage` is the pid that must become the worker's parent (the supervisor, a child subreaper, prctl(2)); 0 in a
    container, where the zygote itself keeps its workers. `uid` and `gid` are what the worker becomes, 0 for "stay".
    """

    request: int
    title: str
    orphanage: int
    uid: int = 0
    gid: int = 0


class ZygoteSignal(_Message, frozen=True, kw_only=True):
    """In a container: send this signal to the worker of that request; SIGKILL goes to all it started, too."""

    request: int
    number: int


SupervisorToZygote = ZygoteSpawn | ZygoteSignal


class ZygoteReady(_Message, frozen=True, kw_only=True):
    """It can fork. An image may hold another build of the worker than ours: `version` tells."""

    version: int = PROTOCOL_VERSION


class ZygoteSpawned(_Message, frozen=True, kw_only=True):
    """`pid` is 0 when the fork failed, with the reason in `error`."""

    request: int
    pid: int
    error: str = ""


class ZygoteEnded(_Message, frozen=True, kw_only=True):
    """In a container: the worker of that request has ended, with its exit code or signal. `max_rss` in bytes.

    `oom` when the kernel killed it, or one beside it, for lack of memory.
    """

    request: int
    code: int = 0
    signal: int = 0
    oom: bool = False
    max_rss: int = 0


ZygoteToSupervisor = ZygoteReady | ZygoteSpawned | ZygoteEnded


class WorkerBoot(_Message, frozen=True, kw_only=True):
    """The only message on a worker's boot pipe; the supervisor then closes it."""

    version: int
    generation: int
    slice: WorkerSlice
    walls: Walls = Walls()


SupervisorToWorker = WorkerBoot


router_to_worker: Decoder[RouterToWorker] = Decoder(RouterToWorker)
worker_to_router: Decoder[WorkerToRouter] = Decoder(WorkerToRouter, limit=MAX_WORKER_MESSAGE)
supervisor_to_router: Decoder[SupervisorToRouter] = Decoder(SupervisorToRouter)
router_to_supervisor: Decoder[RouterToSupervisor] = Decoder(RouterToSupervisor)
supervisor_to_proxy: Decoder[SupervisorToProxy] = Decoder(SupervisorToProxy)
proxy_to_supervisor: Decoder[ProxyToSupervisor] = Decoder(ProxyToSupervisor)
supervisor_to_zygote: Decoder[SupervisorToZygote] = Decoder(SupervisorToZygote)
zygote_to_supervisor: Decoder[ZygoteToSupervisor] = Decoder(ZygoteToSupervisor)
supervisor_to_worker: Decoder[SupervisorToWorker] = Decoder(SupervisorToWorker)
