"""Every message between our processes: one union per direction of each link.

Raise PROTOCOL_VERSION when a field or message is added, removed or changes its meaning: old and new processes then
refuse each other at Hello instead of guessing. Unknown tags and fields are errors (`codec`), never ignored.

Who may say what, and when, is the order of the sections below; anything else ends that link.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.codec import Decoder
from protocol.envelope import Inbound
from protocol.slices import RouterSlice, WorkerSlice
from protocol.slices_proxy import ProxySlice

PROTOCOL_VERSION = 2

#: Largest message a worker may send, in bytes: a worker is treated as hostile (ARCHITECTURE 1).
MAX_WORKER_MESSAGE = 1024 * 1024


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    pass


# --- router -> worker, on the agent's link -----------------------------------------------------------------------


class Welcome(_Message, frozen=True, kw_only=True):
    """Answer to Hello: the worker may talk. `router` names this life of the router."""

    version: int
    router: str


class Deliver(_Message, frozen=True, kw_only=True):
    """One message for the agent. Answered by Accepted, then Say any number of times, then Done."""

    id: str
    session_key: str
    message: Inbound


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


RouterToWorker = Welcome | Deliver | SayAck | DoneAck | Cancel | Drain | Ping | GetHistory


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


WorkerToRouter = Hello | Accepted | Say | Partial | Activity | Done | Drained | Pong | History


# --- supervisor -> router, on the router's pipe ------------------------------------------------------------------


class RouterBoot(_Message, frozen=True, kw_only=True):
    """First message. `generations` are the workers alive now, (agentId, generation)."""

    version: int
    slice: RouterSlice
    generations: tuple[tuple[str, int], ...] = ()


class RouterUpdate(_Message, frozen=True, kw_only=True):
    """The configuration changed: apply exactly the difference."""

    slice: RouterSlice


class GenerationStarted(_Message, frozen=True, kw_only=True):
    """A worker process exists; its Hello is to be accepted."""

    agent: str
    generation: int


class GenerationEnded(_Message, frozen=True, kw_only=True):
    """A worker process is gone. `crashed` is false for a worker that we stopped or drained."""

    agent: str
    generation: int
    crashed: bool
    reason: str


class DrainWorker(_Message, frozen=True, kw_only=True):
    """A newer generation is ready: stop delivering to this one and send it Drain."""

    agent: str
    generation: int


class AgentTrouble(_Message, frozen=True, kw_only=True):
    """The agent cannot be started until `retry_at` (seconds since the epoch): quarantined, with the reason."""

    agent: str
    reason: str
    retry_at: float


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


class WorkerWanted(_Message, frozen=True, kw_only=True):
    """A message waits for an agent without a worker."""

    agent: str


class WorkerSilent(_Message, frozen=True, kw_only=True):
    """Connected, but did not answer Ping in time."""

    agent: str
    generation: int


class WorkerDrained(_Message, frozen=True, kw_only=True):
    agent: str
    generation: int


class WorkerMisbehaved(_Message, frozen=True, kw_only=True):
    """The worker broke the protocol; its connection is refused from now on."""

    agent: str
    generation: int
    reason: str


class AgentIdle(_Message, frozen=True, kw_only=True):
    """An agent of `RouterSlice.leaving` has no unfinished message, and will get none: its worker may go.

    `version` is that of the slice: an agent may leave, come back and leave again while this is on its way.
    """

    agent: str
    version: int


RouterToSupervisor = (
    RouterReady | WorkerReady | WorkerWanted | WorkerSilent | WorkerDrained | WorkerMisbehaved | AgentIdle
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

    `orphanage` is the pid that must become the worker's parent (the supervisor, a child subreaper, prctl(2)).
    """

    request: int
    title: str
    orphanage: int


SupervisorToZygote = ZygoteSpawn


class ZygoteReady(_Message, frozen=True, kw_only=True):
    pass


class ZygoteSpawned(_Message, frozen=True, kw_only=True):
    """`pid` is 0 when the fork failed, with the reason in `error`."""

    request: int
    pid: int
    error: str = ""


ZygoteToSupervisor = ZygoteReady | ZygoteSpawned


class WorkerBoot(_Message, frozen=True, kw_only=True):
    """The only message on a worker's boot pipe; the supervisor then closes it."""

    version: int
    generation: int
    slice: WorkerSlice


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
