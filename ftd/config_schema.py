"""What may stand in the configuration files, section by section. `ftd/config.py` reads them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ftd import limits
from ftd.protocol.control import GuestArg, Interface, LogLevel, Name, Tracker

CheckpointRate = Annotated[int, Meta(ge=1, le=limits.CHECKPOINT_RATE_HZ_MAX)]
EpochPages = Annotated[int, Meta(ge=limits.EPOCH_PAGES_MIN, le=limits.EPOCH_PAGES_MAX)]
Parts = Annotated[int, Meta(ge=1, le=limits.PARTS_MAX)]
EpochsInFlight = Annotated[int, Meta(ge=1, le=limits.EPOCHS_IN_FLIGHT_MAX)]
EpochDiskKib = Annotated[int, Meta(ge=limits.EPOCH_DISK_KIB_MIN, le=limits.EPOCH_DISK_KIB_MAX)]
HotPages = Annotated[int, Meta(ge=0, le=limits.HOT_PAGES_MAX)]
IntervalMs = Annotated[int, Meta(ge=1, le=limits.HEARTBEAT_INTERVAL_MS_MAX)]
TimeoutMs = Annotated[int, Meta(ge=1, le=limits.HEARTBEAT_TIMEOUT_MS_MAX)]
WatchdogMs = Annotated[int, Meta(ge=0, le=limits.HEARTBEAT_TIMEOUT_MS_MAX)]
ArbiterTimeoutMs = Annotated[int, Meta(ge=limits.ARBITER_TIMEOUT_MS_MIN, le=limits.ARBITER_TIMEOUT_MS_MAX)]
ConnectTimeout = Annotated[int, Meta(ge=1, le=limits.CONNECT_TIMEOUT_S_MAX)]
MemoryMib = Annotated[int, Meta(ge=limits.MEMORY_STEP_MIB, le=limits.MEMORY_MIB_MAX)]
Vcpus = Annotated[int, Meta(ge=1, le=limits.VCPUS_MAX)]
GuestArgs = Annotated[list[GuestArg], Meta(max_length=limits.GUEST_ARGS_MAX)]
Text = Annotated[str, Meta(min_length=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a configuration file."""


class HostSection(Section, frozen=True, kw_only=True):
    """`[host]`"""

    name: Name
    control_listen: Text
    """`address:port` on which this ftd answers its peers."""
    data_address: Text
    """Address, without a port, to which a peer's workers connect for data."""
    runtime_dir: Text = "/run/ftd"
    state_dir: Text = "/var/lib/ftd"
    standby_memory_max_mib: Annotated[int, Meta(ge=0)] = 0
    """Of all standbys together; 0: no limit beyond what the host has available."""


class PeerSection(Section, frozen=True, kw_only=True):
    """`[peers.NAME]`"""

    address: Text
    """`address:port` of its control_listen."""
    fence: list[Text] = []
    """The command that turns it off, then its options, `name=value`."""
    fence_delay_s: Annotated[int, Meta(ge=0, le=limits.FENCE_DELAY_S_MAX)] = 0
    fence_timeout_s: Annotated[int, Meta(ge=1, le=limits.FENCE_TIMEOUT_S_MAX)] = 60


class ArbiterSection(Section, frozen=True, kw_only=True):
    """`[arbiter]`"""

    kind: Literal["local", "etcd", "none"] = "local"
    unattended_failover: bool = True
    """`none`: fence commands decide; false: an operator does."""
    directory: Text = "{state_dir}/arbiter"
    """`local`: seen by both hosts."""
    endpoints: Annotated[tuple[Text, ...], Meta(max_length=limits.ARBITER_ENDPOINTS_MAX)] = ()
    """`etcd`, as all that follows: `address:port` of each member, the nearest first."""
    prefix: Text = "/ftd/"
    """Of keys; the same on both hosts."""
    timeout_ms: Annotated[int, Meta(ge=limits.ARBITER_TIMEOUT_MS_MIN, le=limits.ARBITER_TIMEOUT_MS_MAX)] = (
        3000
    )
    ca_file: Text | None = None
    """With it TLS is spoken."""
    cert_file: Text | None = None
    key_file: Text | None = None


class ReplicationSection(Section, frozen=True, kw_only=True):
    """`[replication]` of a host file: what a VM's file does not say."""

    checkpoint_rate_hz: CheckpointRate = 1000
    epoch_pages_max: EpochPages = 4096
    parts_max: Parts = 4
    epochs_in_flight: EpochsInFlight = 4
    epoch_disk_kib: EpochDiskKib = 1024
    """Most disk writes of one epoch."""
    hot_pages_max: HotPages = 1024
    """0: no hot set."""
    low_latency: bool = True
    """Keep the host's processors out of idle states while a VM is protected."""
    heartbeat_interval_ms: IntervalMs = 20
    heartbeat_timeout_ms: TimeoutMs = 500
    watchdog_ms: WatchdogMs = 0
    """Output waits while the standby's newest echo is older. 0: half of heartbeat_timeout_ms."""
    connect_timeout_s: ConnectTimeout = 10


class ReplicationOverrides(Section, frozen=True, kw_only=True, omit_defaults=True):
    """`[replication]` of a VM file: what is not said is taken from the host file."""

    checkpoint_rate_hz: CheckpointRate | None = None
    epoch_pages_max: EpochPages | None = None
    parts_max: Parts | None = None
    epochs_in_flight: EpochsInFlight | None = None
    epoch_disk_kib: EpochDiskKib | None = None
    hot_pages_max: HotPages | None = None
    low_latency: bool | None = None
    heartbeat_interval_ms: IntervalMs | None = None
    heartbeat_timeout_ms: TimeoutMs | None = None
    watchdog_ms: WatchdogMs | None = None
    connect_timeout_s: ConnectTimeout | None = None


class LogSection(Section, frozen=True, kw_only=True):
    """`[log]`"""

    level: LogLevel = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: readable on a terminal, JSON elsewhere."""


class HostFile(Section, frozen=True, kw_only=True):
    """The file that `ftd --config` names."""

    host: HostSection
    peers: dict[Name, PeerSection] = {}
    arbiter: ArbiterSection = ArbiterSection()
    replication: ReplicationSection = ReplicationSection()
    log: LogSection = LogSection()
    vm_dir: Text = "vms"
    """Folder of VM files, relative to this file."""


class GuestSection(Section, frozen=True, kw_only=True):
    """`[guest]`"""

    image: Text | None = None
    """Name of a bare guest of the package, or path of a flat image (relative to the VM file); `ledger` if
    neither this nor a kernel is said."""
    args: GuestArgs = []
    kernel: Text | None = None
    """Path of a Linux bzImage (relative to the VM file), in place of image and args."""
    initrd: Text | None = None
    cmdline: Text | None = None


class ConsoleSection(Section, frozen=True, kw_only=True):
    """`[console]`"""

    listen: Text
    """`unix:/path` or `tcp:address:port`."""


class NetSection(Section, frozen=True, kw_only=True):
    """`[net]`"""

    bridge: Interface
    create_bridge: bool = False
    """Make the bridge if there is none, and remove it with its last tap."""
    tap: Interface | None = None
    mac: Text | None = None
    mtu: Annotated[int, Meta(ge=limits.MTU_MIN, le=limits.MTU_MAX)] = 1500


class SerialSection(Section, frozen=True, kw_only=True):
    """`[serial]`"""

    listen: Text
    """`unix:/path` or `tcp:address:port`."""


class DiskSection(Section, frozen=True, kw_only=True):
    """`[disk]`"""

    path: Text
    """Of a raw image or a block device; each host has its own."""
    shared: bool = False


class VmFile(Section, frozen=True, kw_only=True):
    """One file of vm_dir."""

    name: Name
    peer: Name | None = None
    """May be left out where the host has one peer."""
    peers: list[Name] = []
    """In place of `peer`: hosts that may have the standby, best first. This host is passed over."""
    reprotect: bool = True
    """Protect it again by itself whenever it runs alone, from `enter` to `leave`."""
    memory_mib: MemoryMib
    vcpus: Vcpus = 1
    irqchip: bool = False
    tracker: Tracker = "auto"
    guest: GuestSection = GuestSection()
    console: ConsoleSection | None = None
    net: NetSection | None = None
    serial: SerialSection | None = None
    disk: DiskSection | None = None
    replication: ReplicationOverrides = ReplicationOverrides()
