"""What is said on control connections: every message with its fields, every method with its two types.

    ftctl --OPERATOR_METHODS--> ftd --PEER_METHODS--> ftd of the peer host
           (control_operator)    |   (control_peer)    |
                          WORKER_METHODS        WORKER_METHODS
                                 v                     v
                              worker                worker

Each table is all that a socket of that kind answers. This module has what the three share, and the worker's
table. `ftd/protocol/envelope.py` has the frames around them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from ftd import limits

# Hosts of different control protocols refuse each other by name (`peer_hello`), before anything else is said.
PROTOCOL_VERSION: Final = 2

# Exit code of a worker whose guest asked for a reboot: ftd starts the VM again.
EXIT_REBOOT: Final = 70

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9._-]*\Z", max_length=limits.NAME_LENGTH_MAX)]
VmId = Annotated[bytes, Meta(min_length=limits.VM_ID_BYTES, max_length=limits.VM_ID_BYTES)]
Token = Annotated[bytes, Meta(min_length=limits.TOKEN_BYTES, max_length=limits.TOKEN_BYTES)]
Mac = Annotated[bytes, Meta(min_length=6, max_length=6)]
Interface = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")]
"""Name of a network interface: the kernel's limit is 15 bytes."""
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Count = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]
GuestArg = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Tracker = Literal["auto", "mt", "ring", "bitmap"]
Role = Literal["active", "standby"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all that travels: immutable, and a field that the receiver does not know is refused."""


P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[P, R]):
    """A request's name, the types of its parameters and result, and how long a caller waits."""

    name: str
    params: type[P]
    result: type[R]
    deadline_s: float = limits.WORKER_STATUS_DEADLINE_S


Methods = Mapping[str, Method[Any, Any]]


def method_table(*methods: Method[Any, Any]) -> Methods:
    """All methods of one kind of socket."""
    return MappingProxyType({method.name: method for method in methods})


class Nothing(Message, frozen=True, kw_only=True):
    """No parameters, or nothing to tell but that it was done."""


class VmParams(Message, frozen=True, kw_only=True):
    """The VM that a request is about. Any string: one that no VM has gets the answer that there is none."""

    vm: str


class LinuxSpec(Message, frozen=True, kw_only=True):
    """What is booted with a Linux kernel. Paths are absolute."""

    initrd: str | None
    initrd_sha256: Digest | None
    cmdline: str


class GuestSpec(Message, frozen=True, kw_only=True):
    """What the microvm boots. A standby needs it only to be compared with its primary's."""

    image: str
    """Absolute path of the flat image, or of the Linux kernel."""
    image_sha256: Digest
    args: list[GuestArg]
    linux: LinuxSpec | None = None
    """None: a bare guest."""


class NetSpec(Message, frozen=True, kw_only=True):
    """A guest's network: what it sees (`mac`, `mtu`), and where this host connects it."""

    bridge: Interface
    tap: Interface
    mac: Mac
    mtu: Annotated[int, Meta(ge=limits.MTU_MIN, le=limits.MTU_MAX)]
    create_bridge: bool = False


class DiskSpec(Message, frozen=True, kw_only=True):
    """The VM's disk on this host."""

    path: str
    size_bytes: Annotated[int, Meta(ge=1)]
    record: str
    """File that says what the image holds."""


class EndpointSpec(Message, frozen=True, kw_only=True):
    """Where one member of an etcd cluster answers its clients."""

    host: str
    port: Port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EtcdTlsSpec(Message, frozen=True, kw_only=True):
    """Files in PEM: who may vouch for the members, and, if they ask for it, what this host shows."""

    ca_file: str
    cert_file: str | None = None
    key_file: str | None = None


class EtcdSpec(Message, frozen=True, kw_only=True):
    """A cluster, and where in it the records are."""

    endpoints: Annotated[list[EndpointSpec], Meta(min_length=1)]
    prefix: str
    timeout_ms: Annotated[int, Meta(ge=1)]
    """Of one question, over all members together."""
    tls: EtcdTlsSpec | None = None
    """None: in clear."""


class FenceSpec(Message, frozen=True, kw_only=True):
    """A command that turns a host off, by the conventions of the fence-agents package."""

    host: Name
    command: str
    options: list[str]
    """`name=value`, for its standard input."""
    delay_s: Count
    timeout_s: Annotated[int, Meta(ge=1)]


class FencingSpec(Message, frozen=True, kw_only=True):
    """What decides where there is no arbiter. ``device`` None: an operator's word."""

    peer: Name
    device: FenceSpec | None


class ArbiterSpec(Message, frozen=True, kw_only=True):
    """Which arbiter is asked for generations: ``etcd`` for kind "etcd", ``fencing`` for "none", else what is
    in ``directory``."""

    kind: Literal["local", "etcd", "none"]
    directory: str
    etcd: EtcdSpec | None = None
    fencing: FencingSpec | None = None

    def __post_init__(self) -> None:
        if (self.kind == "etcd") != (self.etcd is not None):
            raise ValueError("an arbiter of kind 'etcd', and only that, has a cluster")
        if (self.kind == "none") != (self.fencing is not None):
            raise ValueError("kind 'none', and only that, has fencing")


class WorkerSpec(Message, frozen=True, kw_only=True):
    """All that `python -m ftd.worker --spec FILE` needs. FILE holds this struct as msgpack."""

    vm: Name
    vm_id: VmId
    host: Name
    role: Role
    generation: Count
    """Standby: the primary's. Active: ignored, the arbiter gives it."""
    memory_bytes: Count
    vcpus: Count
    irqchip: bool
    tracker: Tracker
    guest: GuestSpec
    console: str | None
    """`unix:/path` or `tcp:address:port`."""
    serial: str | None = None
    """The same, for the serial port."""
    net: NetSpec | None = None
    checkpoint_rate_hz: Count
    epoch_pages_max: Count
    parts_max: Count
    epochs_in_flight: Count
    hot_pages_max: Count
    epoch_disk_bytes: Count = 0
    disk: DiskSpec | None = None
    low_latency: bool = True
    heartbeat_interval_ms: Count
    heartbeat_timeout_ms: Count
    watchdog_ms: int = 0
    """0: half of heartbeat_timeout_ms."""
    connect_timeout_s: Count
    socket_path: str
    data_listen: str | None = None
    """Standby: the address (without a port) on which it waits for its primary's data pair."""
    token: Token | None = None
    """Standby: what the primary's HELLO must show."""
    peer: Name | None = None
    """Standby: the host that its primary runs on."""
    arbiter: ArbiterSpec
    force: bool = False
    """Start although the arbiter names another host as the active one."""
    log_level: LogLevel = "info"


class ReadyReport(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The one message on the ready pipe: `{"port": int}` (0: listens for no data), or what went wrong."""

    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    error: dict[Literal["kind", "message"], str] | None = None


class SyncProgress(Message, frozen=True, kw_only=True):
    """How far a first synchronisation is."""

    round: Count
    sent_bytes: Count
    total_bytes: Count
    pending_pages: Count
    disk_sent_bytes: Count = 0
    disk_total_bytes: Count = 0
    disk_pending_bytes: Count = 0


class LinkEnds(Message, frozen=True, kw_only=True):
    """One TCP connection to the other host's worker."""

    here: EndpointSpec
    there: EndpointSpec


LOSS_SEEN: Final = "loss seen"
"""The data plane reported it. The core hears of it as PeerLost, once this side stands still."""
GUEST_RUNS: Final = "guest runs"
"""vCPUs run, and output leaves."""


class StateChange(Message, frozen=True, kw_only=True):
    """Something that happened to a copy: an event of its decision core that changed its state, or a step."""

    on: str
    """The event's name, or a step: LOSS_SEEN, GUEST_RUNS."""
    before: str
    after: str
    """States of docs/STATES.md; equal for a step."""
    realtime_ns: int
    """CLOCK_REALTIME: comparable with logs."""
    boottime_ns: int
    """CLOCK_BOOTTIME: differences on one host hold, whatever its clock is set to."""


class WorkerStatus(Message, frozen=True, kw_only=True):
    """One VM on one host, at one moment."""

    vm: str
    vm_id: str
    host: str
    pid: int
    role: Role
    state: str
    """As in docs/ARCHITECTURE.md."""
    generation: int
    epoch: int
    tracker: str
    memory_bytes: int
    vcpus: int
    console: str | None = None
    peer: str | None = None
    paired: bool = False
    """It has a data pair."""
    reason: str = ""
    """Why it is in this state; empty when nothing went wrong."""
    sync: SyncProgress | None = None
    stamp_ns: int
    """CLOCK_MONOTONIC of this sample: rates are differences of two samples."""
    boottime_ns: int = 0
    """CLOCK_BOOTTIME of this sample: on one scale with `history`."""
    counters: dict[str, int] = {}
    histograms: dict[str, list[tuple[int, int]]] = {}
    """Sparse, by `ftd.metrics`: `pause_ns`, `ack_ns`."""
    history: tuple[StateChange, ...] = ()
    """The newest `limits.HISTORY_ENTRIES_MAX`, oldest first."""
    link: tuple[LinkEnds, ...] = ()
    """Connections of the pair that is or was last up: data, heartbeat."""


class EnterWorkerParams(Message, frozen=True, kw_only=True):
    """Where the standby of this VM listens."""

    peer: Name
    address: str
    port: Port
    token: Token


class FailoverWorkerParams(Message, frozen=True, kw_only=True):
    """`force`: an operator answers for the other copy being dead, the arbiter is overruled."""

    force: bool


class FaultParams(Message, frozen=True, kw_only=True):
    """Die at the `nth` passage of a fault point. Refused unless FTD_ENABLE_FAULTS=1 is in the environment."""

    point: str
    nth: Annotated[int, Meta(ge=1)]


WORKER_STATUS: Final = Method("status", Nothing, WorkerStatus)
WORKER_ENTER: Final = Method("enter", EnterWorkerParams, Nothing, limits.WORKER_LONG_DEADLINE_S)
WORKER_LEAVE: Final = Method("leave", Nothing, Nothing, limits.WORKER_LONG_DEADLINE_S)
WORKER_SWITCHOVER: Final = Method("switchover", Nothing, Nothing, limits.WORKER_LONG_DEADLINE_S)
WORKER_FAILOVER: Final = Method("failover", FailoverWorkerParams, Nothing, limits.WORKER_READY_DEADLINE_S)
WORKER_STOP: Final = Method("stop", Nothing, Nothing, limits.WORKER_STOP_DEADLINE_S)
WORKER_FAULT: Final = Method("fault", FaultParams, Nothing)
WORKER_CORRUPT: Final = Method("corrupt", Nothing, Nothing)
"""A drill's fault: one byte of the next epoch is flipped on its way to the standby."""
WORKER_METHODS: Final = method_table(
    *(WORKER_STATUS, WORKER_ENTER, WORKER_LEAVE, WORKER_SWITCHOVER, WORKER_FAILOVER, WORKER_STOP),
    *(WORKER_FAULT, WORKER_CORRUPT),
)
