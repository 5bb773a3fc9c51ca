"""From configuration to what a worker is started with, and from that to what both hosts must agree on."""

from ftd.config import Config, VmConfig
from ftd.disk_image import image_bytes
from ftd.limits import PAGE_BYTES
from ftd.protocol.control import (
    ArbiterSpec,
    DiskSpec,
    EndpointSpec,
    EtcdSpec,
    EtcdTlsSpec,
    FencingSpec,
    GuestSpec,
    LinuxSpec,
    WorkerSpec,
)
from ftd.protocol.control_peer import GuestShape, PrepareStandbyParams


def active_spec(config: Config, vm: VmConfig, socket_path: str, *, force: bool) -> WorkerSpec:
    """For a VM that is started here. Raises ControlError when an image cannot be read."""
    return _spec(config, vm, socket_path, image_bytes(vm.disk) if vm.disk else 0, force=force)


def _spec(config: Config, vm: VmConfig, socket_path: str, disk_bytes: int, *, force: bool) -> WorkerSpec:
    replication = vm.replication
    return WorkerSpec(
        vm=vm.name,
        vm_id=vm.vm_id,
        host=config.host.name,
        role="active",
        generation=0,
        memory_bytes=vm.memory_bytes,
        vcpus=vm.vcpus,
        irqchip=vm.irqchip,
        tracker=vm.tracker,
        guest=guest_spec(vm),
        console=vm.console,
        net=vm.net,
        serial=vm.serial,
        checkpoint_rate_hz=replication.checkpoint_rate_hz,
        epoch_pages_max=replication.epoch_pages_max,
        parts_max=replication.parts_max,
        epochs_in_flight=replication.epochs_in_flight,
        hot_pages_max=replication.hot_pages_max,
        epoch_disk_bytes=replication.epoch_disk_kib << 10 if vm.disk else 0,
        disk=_disk(config, vm, disk_bytes),
        low_latency=replication.low_latency,
        heartbeat_interval_ms=replication.heartbeat_interval_ms,
        heartbeat_timeout_ms=replication.heartbeat_timeout_ms,
        watchdog_ms=replication.watchdog_ms,
        connect_timeout_s=replication.connect_timeout_s,
        socket_path=socket_path,
        arbiter=arbiter_spec(config),
        force=force,
        log_level=config.log.level,
    )


def guest_spec(vm: VmConfig) -> GuestSpec:
    """What is booted, with digests. Raises ConfigError when a file cannot be read."""
    linux = None
    if vm.linux is not None:
        linux = LinuxSpec(
            initrd=str(vm.linux.initrd) if vm.linux.initrd else None,
            initrd_sha256=vm.initrd_sha256(),
            cmdline=vm.linux.cmdline,
        )
    return GuestSpec(image=str(vm.image), image_sha256=vm.image_sha256(), args=list(vm.args), linux=linux)


def standby_spec(config: Config, vm: VmConfig, socket_path: str, asked: PrepareStandbyParams) -> WorkerSpec:
    """For a VM whose primary, on another host, asked for a standby: the data pair is as the primary says."""
    base = _spec(config, vm, socket_path, asked.shape.disk_bytes, force=False)
    return WorkerSpec(
        **{
            **{name: getattr(base, name) for name in WorkerSpec.__struct_fields__},
            "role": "standby",
            "generation": asked.generation,
            "tracker": asked.tracker,
            "epoch_pages_max": asked.epoch_pages_max,
            "parts_max": asked.parts_max,
            "epoch_disk_bytes": asked.epoch_disk_bytes,
            "heartbeat_interval_ms": asked.heartbeat_interval_ms,
            "heartbeat_timeout_ms": asked.heartbeat_timeout_ms,
            "data_listen": config.host.data_address,
            "token": asked.token,
            "peer": asked.host,
        }
    )


def _disk(config: Config, vm: VmConfig, size_bytes: int) -> DiskSpec | None:
    if vm.disk is None or size_bytes == 0:
        return None
    return DiskSpec(path=str(vm.disk), size_bytes=size_bytes, record=str(config.disk_record(vm.name)))


def arbiter_spec(config: Config) -> ArbiterSpec:
    """For whoever asks the arbiter."""
    arbiter = config.arbiter
    directory = str(config.arbiter_directory)
    if arbiter.kind == "local":
        return ArbiterSpec(kind="local", directory=directory)
    if arbiter.kind == "none":
        [peer] = config.peers
        device = config.fences.get(peer) if arbiter.unattended_failover else None
        return ArbiterSpec(
            kind="none", directory=str(config.fencing_dir), fencing=FencingSpec(peer=peer, device=device)
        )
    tls = None
    if arbiter.ca_file is not None:
        tls = EtcdTlsSpec(ca_file=arbiter.ca_file, cert_file=arbiter.cert_file, key_file=arbiter.key_file)
    etcd = EtcdSpec(
        endpoints=[EndpointSpec(host=at.host, port=at.port) for at in config.arbiter_endpoints],
        prefix=arbiter.prefix,
        timeout_ms=arbiter.timeout_ms,
        tls=tls,
    )
    return ArbiterSpec(kind="etcd", directory=directory, etcd=etcd)


def guest_shape(spec: WorkerSpec) -> GuestShape:
    """What the guest sees. Taken from the worker that runs it: the configuration may have changed since."""
    return GuestShape(
        memory_bytes=spec.memory_bytes,
        vcpus=spec.vcpus,
        irqchip=spec.irqchip,
        image_sha256=spec.guest.image_sha256,
        args=spec.guest.args,
        mac=spec.net.mac if spec.net else None,
        mtu=spec.net.mtu if spec.net else 0,
        initrd_sha256=spec.guest.linux.initrd_sha256 if spec.guest.linux else None,
        cmdline=spec.guest.linux.cmdline if spec.guest.linux else None,
        disk_bytes=spec.disk.size_bytes if spec.disk else 0,
    )


def shape_differences(theirs: GuestShape, ours: GuestShape) -> list[str]:
    """One phrase for each thing that differs, in the words of a VM file."""
    pairs = [
        ("memory_mib", theirs.memory_bytes >> 20, ours.memory_bytes >> 20),
        ("vcpus", theirs.vcpus, ours.vcpus),
        ("irqchip", theirs.irqchip, ours.irqchip),
        ("guest.image (sha256)", _short(theirs.image_sha256), _short(ours.image_sha256)),
        ("guest.args", theirs.args, ours.args),
        ("net.mac", _mac(theirs), _mac(ours)),
        ("net.mtu", theirs.mtu, ours.mtu),
        ("guest.initrd (sha256)", _short(theirs.initrd_sha256), _short(ours.initrd_sha256)),
        ("guest.cmdline", theirs.cmdline, ours.cmdline),
        ("disk (bytes)", theirs.disk_bytes, ours.disk_bytes),
    ]
    return [f"{key} is {their} there and {our} here" for key, their, our in pairs if their != our]


def _mac(shape: GuestShape) -> str:
    return shape.mac.hex(":") if shape.mac else "none (no [net])"


def _short(digest: bytes | None) -> str:
    return digest.hex()[:16] if digest else "none"


def memory_needed_bytes(spec: WorkerSpec) -> int:
    """Guest memory and arenas: of these a standby stages an epoch in parts, a primary keeps several."""
    arenas = spec.parts_max if spec.role == "standby" else spec.parts_max + spec.epochs_in_flight
    logs = 1 if spec.role == "standby" else 1 + spec.epochs_in_flight
    return spec.memory_bytes + arenas * spec.epoch_pages_max * PAGE_BYTES + logs * spec.epoch_disk_bytes
