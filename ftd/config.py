"""The configuration of one host: its file, one file per VM, and what must hold between them."""

import uuid
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from msgspec.structs import asdict, fields, replace

from ftd import config_net, limits
from ftd.config_fencing import check_no_arbiter, fences
from ftd.config_linux import LinuxGuest, linux_guest, sha256_of
from ftd.config_reader import read_toml
from ftd.config_schema import (
    ArbiterSection,
    DiskSection,
    HostFile,
    HostSection,
    LogSection,
    PeerSection,
    ReplicationSection,
    VmFile,
)
from ftd.errors import ConfigError
from ftd.protocol.control import FenceSpec, NetSpec, Tracker
from ftd.timing import timing_error

GUEST_IMAGES: Final = Path(__file__).parent / "vm/microvm/guests"
ARBITER_FILES: Final = ("ca_file", "cert_file", "key_file")
VM_ID_NAMESPACE: Final = uuid.UUID("5d0f6b1e-6f0a-4c43-9d0b-0f2f5b7f7a11")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a TCP connection goes. IPv6 addresses are written in brackets: `[::1]:7600`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises ValueError when `text` is not `address:port`."""
        host, separator, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not separator or not host or (":" in host and not bracketed):
            raise ValueError(f"{text!r} is not address:port (an IPv6 address needs brackets)")
        if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
            raise ValueError(f"{text!r}: {port!r} is no port from 1 to 65535")
        return cls(host[1:-1] if bracketed else host, int(port))


def vm_id_of(name: str) -> bytes:
    """Follows from the name, so that both hosts agree on it without having met."""
    return uuid.uuid5(VM_ID_NAMESPACE, name).bytes


@dataclass(frozen=True, slots=True)
class VmConfig:
    """One VM as both of its hosts know it; paths are resolved, the host's defaults are filled in."""

    path: Path
    name: str
    peers: tuple[str, ...]
    """Hosts that may have its standby, best first; never this one."""
    reprotect: bool
    memory_bytes: int
    vcpus: int
    irqchip: bool
    tracker: Tracker
    image: Path
    """Flat image of a bare guest, or Linux kernel."""
    args: tuple[int, ...]
    linux: LinuxGuest | None
    console: str | None
    net: NetSpec | None
    serial: str | None
    disk: Path | None
    replication: ReplicationSection

    @property
    def peer(self) -> str | None:
        """The first choice; None: there is none."""
        return next(iter(self.peers), None)

    @property
    def vm_id(self) -> bytes:
        """What the VM is known by beyond names."""
        return vm_id_of(self.name)

    def image_sha256(self) -> bytes:
        """Digest of the image as it is now. Raises ConfigError when it cannot be read."""
        return sha256_of(self.path, "guest.kernel" if self.linux else "guest.image", self.image)

    def initrd_sha256(self) -> bytes | None:
        """Digest of the initrd, if there is one. Raises ConfigError when it cannot be read."""
        initrd = self.linux.initrd if self.linux else None
        return sha256_of(self.path, "guest.initrd", initrd) if initrd else None


@dataclass(frozen=True, slots=True)
class Config:
    """A host's whole configuration, checked."""

    path: Path
    host: HostSection
    control_listen: Address
    peers: dict[str, Address]
    fences: dict[str, FenceSpec]
    """By host: what turns it off, where that is configured."""
    arbiter: ArbiterSection
    arbiter_endpoints: tuple[Address, ...]
    log: LogSection
    vms: dict[str, VmConfig]

    @property
    def runtime_dir(self) -> Path:
        """Sockets; gone after a reboot, kept over a restart of ftd."""
        return Path(self.host.runtime_dir)

    @property
    def control_socket(self) -> Path:
        """What ftctl connects to."""
        return self.runtime_dir / "ctl.sock"

    @property
    def workers_dir(self) -> Path:
        """Socket, spec and log of each worker."""
        return self.runtime_dir / "workers"

    def disk_record(self, vm: str) -> Path:
        """What this host knows of a VM's disk image (ftd/disk_record.py)."""
        return Path(self.host.state_dir) / "disks" / f"{vm}.json"

    @property
    def wishes_dir(self) -> Path:
        """Which VMs are to be protected; kept over a reboot."""
        return Path(self.host.state_dir) / "protection"

    @property
    def maintenance_dir(self) -> Path:
        """Which hosts are in maintenance; kept over a reboot."""
        return Path(self.host.state_dir) / "maintenance"

    @property
    def fencing_dir(self) -> Path:
        """Proofs that hosts were off, and generations where there is no arbiter."""
        return Path(self.host.state_dir) / "fencing"

    @property
    def arbiter_directory(self) -> Path:
        """Where the local arbiter keeps its generations."""
        return Path(self.arbiter.directory.replace("{state_dir}", self.host.state_dir))


def load(path: Path) -> Config:
    """Reads and checks the host file at `path` and all VM files that it leads to. Raises ConfigError."""
    file = read_toml(path, HostFile)
    _check_host(path, file)
    config = Config(
        path=path,
        host=file.host,
        control_listen=_address(path, "host.control_listen", file.host.control_listen),
        peers={name: _peer_address(path, name, peer) for name, peer in file.peers.items()},
        fences=fences(path, file),
        arbiter=file.arbiter,
        arbiter_endpoints=_arbiter_endpoints(path, file.arbiter),
        log=file.log,
        vms=_load_vms(path.parent / file.vm_dir, file),
    )
    for vm in config.vms.values():
        _check_vm(config, vm)
    config_net.check_distinct((vm.path, vm.net) for vm in config.vms.values())
    return config


def _load_vms(vm_dir: Path, file: HostFile) -> dict[str, VmConfig]:
    if not vm_dir.is_dir():
        raise ConfigError(f"vm_dir: {vm_dir} is not a folder")
    vms: dict[str, VmConfig] = {}
    for path in sorted(vm_dir.glob("*.toml")):
        vm = _resolve_vm(path, read_toml(path, VmFile), file)
        if vm.name in vms:
            raise ConfigError(f"{path}: name: {vms[vm.name].path} describes a VM {vm.name} already")
        vms[vm.name] = vm
    return vms


def _resolve_vm(path: Path, vm: VmFile, file: HostFile) -> VmConfig:
    overrides = {key: value for key, value in asdict(vm.replication).items() if value is not None}
    replication = replace(file.replication, **overrides)
    _check_replication(path, replication)
    if vm.memory_mib % limits.MEMORY_STEP_MIB:
        raise ConfigError(
            f"{path}: memory_mib: {vm.memory_mib} is not a multiple of {limits.MEMORY_STEP_MIB}"
        )
    return VmConfig(
        path=path,
        name=vm.name,
        peers=_candidates(path, vm, file),
        reprotect=vm.reprotect,
        memory_bytes=vm.memory_mib << 20,
        vcpus=vm.vcpus,
        irqchip=vm.irqchip,
        tracker=vm.tracker,
        image=_image_path(path, vm.guest.kernel, vm.guest.image or "ledger"),
        args=tuple(vm.guest.args),
        linux=linux_guest(path, vm),
        console=_listens(path, "console", vm.console.listen if vm.console else None, file),
        serial=_listens(path, "serial", vm.serial.listen if vm.serial else None, file),
        net=config_net.resolve(path, vm.net, vm.name, vm_id_of(vm.name)) if vm.net else None,
        disk=_disk(path, vm.disk, file.host) if vm.disk else None,
        replication=replication,
    )


def _candidates(path: Path, vm: VmFile, file: HostFile) -> tuple[str, ...]:
    """Hosts that may have the standby. So that one file can serve all hosts, it may name this one as well,
    or, where there is one peer only, nobody."""
    if vm.peer is not None and vm.peers:
        raise ConfigError(f"{path}: peers: it takes `peer` or `peers`, not both")
    if len(set(vm.peers)) < len(vm.peers):
        raise ConfigError(f"{path}: peers: a host stands in it twice")
    if vm.peer is not None:
        return (vm.peer,)
    if vm.peers:
        return tuple(name for name in vm.peers if name != file.host.name)
    return tuple(file.peers) if len(file.peers) == 1 else ()


def _image_path(path: Path, kernel: str | None, image: str) -> Path:
    if kernel is not None:
        return (path.parent / kernel).resolve()
    if "/" in image:
        return (path.parent / image).resolve()
    bundled = GUEST_IMAGES / f"{image}.bin"
    if not bundled.is_file():
        known = (
            ", ".join(sorted(found.stem for found in GUEST_IMAGES.glob("*.bin"))) or "none: was ftd built?"
        )
        raise ConfigError(
            f"{path}: guest.image: no bare guest {image!r} (there are: {known}); a path has a /"
        )
    return bundled


def _listens(path: Path, section: str, listen: str | None, file: HostFile) -> str | None:
    if listen is None:
        return None
    listen = listen.replace("{runtime_dir}", file.host.runtime_dir)
    kind, _, where = listen.partition(":")
    if kind == "tcp":
        _address(path, f"{section}.listen", where)
    elif kind != "unix" or not where.startswith("/"):
        raise ConfigError(f"{path}: {section}.listen: {listen!r} is neither unix:/path nor tcp:address:port")
    elif len(where.encode()) > limits.UNIX_PATH_BYTES_MAX:
        raise ConfigError(
            f"{path}: {section}.listen: {where} is longer than {limits.UNIX_PATH_BYTES_MAX} bytes"
        )
    return listen


def _disk(path: Path, disk: DiskSection, host: HostSection) -> Path:
    if disk.shared:
        raise ConfigError(
            f"{path}: disk.shared: storage that both hosts see is not supported: nothing would keep an old "
            "primary from writing to it. Give each host an image of its own (shared = false)"
        )
    where = disk.path.replace("{runtime_dir}", host.runtime_dir).replace("{state_dir}", host.state_dir)
    if not Path(where).is_absolute():
        raise ConfigError(f"{path}: disk.path: {disk.path!r} is not an absolute path")
    return Path(where)


def _check_host(path: Path, file: HostFile) -> None:
    _check_replication(path, file.replication)
    _check_arbiter(path, file.arbiter)
    check_no_arbiter(path, file)
    if file.host.name in file.peers:
        raise ConfigError(f"{path}: peers.{file.host.name}: a host cannot be its own peer")
    try:
        unspecified = ip_address(file.host.data_address).is_unspecified
    except ValueError as error:
        raise ConfigError(f"{path}: host.data_address: {error}; it is an address without a port") from error
    if unspecified:
        raise ConfigError(f"{path}: host.data_address: a peer cannot connect to {file.host.data_address}")
    for key in ("runtime_dir", "state_dir"):
        if not Path(getattr(file.host, key)).is_absolute():
            raise ConfigError(f"{path}: host.{key}: {getattr(file.host, key)!r} is not an absolute path")


def _check_arbiter(path: Path, arbiter: ArbiterSection) -> None:
    # A key that has no effect would leave an operator with another arbiter than he believes to have.
    of_etcd = {*ARBITER_FILES, "endpoints", "prefix", "timeout_ms"}
    unused = {
        "local": of_etcd | {"unattended_failover"},
        "etcd": {"directory", "unattended_failover"},
        "none": of_etcd | {"directory"},
    }
    for field in fields(ArbiterSection):
        if field.name in unused[arbiter.kind] and getattr(arbiter, field.name) != field.default:
            raise ConfigError(f"{path}: arbiter.{field.name}: has no meaning for kind {arbiter.kind!r}")
    if arbiter.kind == "etcd" and not arbiter.endpoints:
        raise ConfigError(f"{path}: arbiter.endpoints: kind 'etcd' needs address:port of each member")
    if (arbiter.cert_file is None) != (arbiter.key_file is None):
        raise ConfigError(f"{path}: arbiter.cert_file: it takes both, cert_file and key_file, or neither")
    if arbiter.cert_file is not None and arbiter.ca_file is None:
        raise ConfigError(f"{path}: arbiter.ca_file: required with cert_file, to know the members by")
    for key in ARBITER_FILES:
        name = getattr(arbiter, key)
        if name is not None and not Path(name).is_absolute():
            raise ConfigError(f"{path}: arbiter.{key}: {name!r} is not an absolute path")


def _arbiter_endpoints(path: Path, arbiter: ArbiterSection) -> tuple[Address, ...]:
    return tuple(
        _address(path, f"arbiter.endpoints[{index}]", text) for index, text in enumerate(arbiter.endpoints)
    )


def _check_vm(config: Config, vm: VmConfig) -> None:
    for peer in vm.peers:
        if peer not in config.peers:
            known = ", ".join(sorted(config.peers)) or "none"
            raise ConfigError(f"{vm.path}: peer: {config.path} has no [peers.{peer}] (there are: {known})")
    socket = config.workers_dir / f"{vm.name}.sock"
    if len(str(socket).encode()) > limits.UNIX_PATH_BYTES_MAX:
        raise ConfigError(
            f"{vm.path}: name: the worker's socket {socket} would be longer than a Unix socket's path can be "
            f"({limits.UNIX_PATH_BYTES_MAX} bytes); shorten the name or host.runtime_dir"
        )


def _check_replication(path: Path, replication: ReplicationSection) -> None:
    if error := timing_error(replication):
        raise ConfigError(f"{path}: replication.{error}")


def _peer_address(path: Path, name: str, peer: PeerSection) -> Address:
    return _address(path, f"peers.{name}.address", peer.address)


def _address(path: Path, key: str, text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {key}: {error}") from error
