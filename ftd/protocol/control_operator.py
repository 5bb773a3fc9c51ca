"""What ftctl asks of the ftd on its own host."""

from typing import Final

from ftd import limits
from ftd.protocol.control import Message, Method, Name, Nothing, VmParams, WorkerStatus, method_table
from ftd.protocol.control_drill import DRILL_OPERATOR_METHODS
from ftd.protocol.maintenance import MaintenanceParams, MaintenanceReport


class ForceParams(VmParams, frozen=True, kw_only=True):
    """`force`: do it although the arbiter says no. The operator answers for the other copy being dead."""

    force: bool = False


class VmEntry(Message, frozen=True, kw_only=True):
    """A VM of this host's configuration, or one that runs here although the configuration lost it."""

    vm: str
    configured: bool
    peer: str | None
    memory_bytes: int
    vcpus: int
    console: str | None
    role: str | None = None
    state: str | None = None
    """None: no worker; "unresponsive": a worker that does not answer."""
    pid: int | None = None


class VmList(Message, frozen=True, kw_only=True):
    """Answer to `vm_list`."""

    vms: list[VmEntry]


class VmStarted(Message, frozen=True, kw_only=True):
    """Answer to `vm_start`."""

    pid: int
    console: str | None


class StatusParams(Message, frozen=True, kw_only=True):
    """None: all VMs."""

    vm: str | None = None


class HostInfo(Message, frozen=True, kw_only=True):
    """The daemon and its host."""

    name: str
    version: str
    pid: int
    memory_available_bytes: int
    peers: list[str]
    maintenance: tuple[str, ...] = ()
    """Hosts onto which this ftd puts nothing."""


class Unresponsive(Message, frozen=True, kw_only=True):
    """A worker that runs but does not answer."""

    vm: str
    pid: int
    message: str


class WantedProtection(Message, frozen=True, kw_only=True):
    """A VM that is to be protected, from `enter` to `leave`."""

    vm: str
    waits_for: str = ""
    """Why it is not just now; empty: it is, or does not run here."""


class StatusReport(Message, frozen=True, kw_only=True):
    """Answer to `status`."""

    host: HostInfo
    workers: list[WorkerStatus]
    unresponsive: list[Unresponsive]
    protection: tuple[WantedProtection, ...] = ()


class ConfirmOffParams(Message, frozen=True, kw_only=True):
    """The operator has made sure that the host is off."""

    host: Name


class VersionInfo(Message, frozen=True, kw_only=True):
    """Answer to `version`."""

    version: str
    protocol_version: int
    host: str


_LONG_S: Final = limits.WORKER_LONG_DEADLINE_S + limits.WORKER_READY_DEADLINE_S

VM_START: Final = Method("vm_start", ForceParams, VmStarted, limits.WORKER_READY_DEADLINE_S * 2)
VM_STOP: Final = Method("vm_stop", VmParams, Nothing, _LONG_S)
VM_LIST: Final = Method("vm_list", Nothing, VmList, limits.WORKER_READY_DEADLINE_S)
ENTER: Final = Method("enter", VmParams, Nothing, _LONG_S)
LEAVE: Final = Method("leave", VmParams, Nothing, _LONG_S)
SWITCHOVER: Final = Method("switchover", VmParams, Nothing, 2 * _LONG_S)
FAILOVER: Final = Method("failover", ForceParams, Nothing, limits.WORKER_READY_DEADLINE_S * 2)
STATUS: Final = Method("status", StatusParams, StatusReport, limits.WORKER_READY_DEADLINE_S)
CONFIRM_OFF: Final = Method("confirm_off", ConfirmOffParams, Nothing, limits.CONTROL_FRAME_DEADLINE_S)
MAINTENANCE: Final = Method(
    "maintenance", MaintenanceParams, MaintenanceReport, limits.MAINTENANCE_DEADLINE_S
)
VERSION: Final = Method("version", Nothing, VersionInfo, limits.CONTROL_FRAME_DEADLINE_S)
OPERATOR_METHODS: Final = method_table(
    *(
        VM_START,
        VM_STOP,
        VM_LIST,
        ENTER,
        LEAVE,
        SWITCHOVER,
        FAILOVER,
        STATUS,
        MAINTENANCE,
        CONFIRM_OFF,
        VERSION,
    ),
    *DRILL_OPERATOR_METHODS,
)
