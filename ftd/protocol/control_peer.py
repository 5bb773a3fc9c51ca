"""What one ftd asks of the ftd of its peer host. The asking one is the host that has the guest."""

from typing import Annotated, Final

from msgspec import Meta

from ftd import limits
from ftd.protocol.control import (
    Count,
    Digest,
    GuestArg,
    Mac,
    Message,
    Method,
    Name,
    Nothing,
    Port,
    Token,
    Tracker,
    VmId,
    method_table,
)
from ftd.protocol.control_drill import DRILL_PEER_METHODS
from ftd.protocol.maintenance import MaintenanceParams, MaintenanceReport


class HelloParams(Message, frozen=True, kw_only=True):
    """Who calls, and which control protocol it speaks."""

    host: Name
    protocol_version: int


class GuestShape(Message, frozen=True, kw_only=True):
    """What a guest sees of its machine; it must be the same on both hosts."""

    memory_bytes: Count
    vcpus: Count
    irqchip: bool
    image_sha256: Digest
    args: list[GuestArg]
    mac: Mac | None = None
    """None: no network."""
    mtu: Count = 0
    initrd_sha256: Digest | None = None
    cmdline: str | None = None
    """Of Linux; None: a bare guest."""
    disk_bytes: Count = 0
    """0: no disk."""


class PrepareStandbyParams(Message, frozen=True, kw_only=True):
    """Asks the peer for a standby worker. All parameters of the data pair are the primary's."""

    host: Name
    vm: Name
    vm_id: VmId
    generation: Annotated[int, Meta(ge=1)]
    shape: GuestShape
    tracker: Tracker
    token: Token
    wanted: bool
    """Protection is to be kept up: the standby's host, too, protects the VM again after it took it over."""
    heartbeat_interval_ms: Annotated[int, Meta(ge=1, le=limits.HEARTBEAT_INTERVAL_MS_MAX)]
    heartbeat_timeout_ms: Annotated[int, Meta(ge=1, le=limits.HEARTBEAT_TIMEOUT_MS_MAX)]
    epoch_pages_max: Annotated[int, Meta(ge=limits.EPOCH_PAGES_MIN, le=limits.EPOCH_PAGES_MAX)]
    parts_max: Annotated[int, Meta(ge=1, le=limits.PARTS_MAX)]
    epoch_disk_bytes: Annotated[int, Meta(ge=0, le=limits.EPOCH_DISK_KIB_MAX << 10)] = 0


class StandbyPrepared(Message, frozen=True, kw_only=True):
    """Where the standby worker waits for its primary."""

    address: str
    port: Port


class DiscardStandbyParams(Message, frozen=True, kw_only=True):
    """Takes a `prepare_standby` back; the token shows that it was the caller's."""

    vm: Name
    token: Token


class HasCopyParams(Message, frozen=True, kw_only=True):
    """Before a start: has the other host anything of the VM?"""

    vm: Name


class CopyReport(Message, frozen=True, kw_only=True):
    """The state of its copy; None: it has none."""

    state: str | None


class ReleaseStandbyParams(Message, frozen=True, kw_only=True):
    """``host`` asks the one that runs ``vm`` to do without its standby there, and to look for another."""

    host: Name
    vm: Name


class StandbyReleased(Message, frozen=True, kw_only=True):
    """``others``: hosts that may have the next one."""

    others: list[Name]


PEER_HELLO: Final = Method("peer_hello", HelloParams, HelloParams, limits.CONTROL_FRAME_DEADLINE_S)
PREPARE_STANDBY: Final = Method(
    "prepare_standby", PrepareStandbyParams, StandbyPrepared, limits.WORKER_READY_DEADLINE_S + 30
)
DISCARD_STANDBY: Final = Method(
    "discard_standby", DiscardStandbyParams, Nothing, limits.WORKER_STOP_DEADLINE_S
)
RELEASE_STANDBY: Final = Method(
    "release_standby", ReleaseStandbyParams, StandbyReleased, limits.WORKER_LONG_DEADLINE_S
)
HAS_COPY: Final = Method("has_copy", HasCopyParams, CopyReport, limits.CONTROL_FRAME_DEADLINE_S)
PEER_MAINTENANCE: Final = Method(
    "peer_maintenance", MaintenanceParams, MaintenanceReport, limits.MAINTENANCE_DEADLINE_S
)
PEER_METHODS: Final = method_table(
    *(PEER_HELLO, PREPARE_STANDBY, DISCARD_STANDBY, RELEASE_STANDBY, HAS_COPY, PEER_MAINTENANCE),
    *DRILL_PEER_METHODS,
)
