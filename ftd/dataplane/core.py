"""The data plane's Python face: checks lengths before each call and return codes after it.

Calls release the interpreter lock. Those that wait for vCPUs or threads say so; a trio program makes them in
a thread.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from ftd._dataplane import ffi, lib
from ftd.dataplane.errors import DataplaneError
from ftd.dataplane.events import Event, EventKind
from ftd.protocol.processor import CpuidEntry, Processor, features_of, vendor_of

VM_ID_BYTES: Final = 16
VIRTIO_BASE: Final = 0xD0000000
VIRTIO_WINDOW_BYTES: Final = 0x1000
DISK_ID_BYTES: Final = 20
DISK_BLOCK_BYTES: Final = 1 << 16
"""A bit of the map of a disk."""
_BLOCKS_PER_WORD: Final = 64
GFNS_AT_ONCE: Final = 1 << 16
TRACKER_IDS: Final = {
    "ring": lib.FTD_TRACKER_RING,
    "bitmap": lib.FTD_TRACKER_BITMAP,
    "mt": lib.FTD_TRACKER_MT,
}
MAC_BYTES: Final = 6
NET_IPV4_MAX: Final = 4
NET_IPV6_MAX: Final = 8
LEAVE_ACK: Final = 10
HANDOVER_DONE: Final = 12
_HISTOGRAMS: Final = {"pause_ns": "pause_hist", "ack_ns": "ack_hist", "harvest_ns": "harvest_hist"}


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """A pair of connected sockets, handshake done, and what was agreed in it."""

    vm_id: bytes
    generation: int
    data: socket.socket
    heartbeat: socket.socket
    heartbeat_interval_ms: int
    heartbeat_timeout_ms: int
    epoch_pages_max: int
    parts_max: int
    epoch_disk_bytes: int = 0
    """Most disk writes of an epoch; 0 for a machine without a disk."""
    pair: int = 0
    """Number that stands in every frame, of 32 bits: `protocol.frames.pair_number`."""
    watchdog_ms: int = 0
    """Active side: output waits while the newest echo is older. 0: half of the timeout."""

    @property
    def watchdog(self) -> int:
        """The same in ms, with the default filled in."""
        return self.watchdog_ms or self.heartbeat_timeout_ms // 2


@dataclass(frozen=True, kw_only=True)
class CycleConfig:
    """How checkpoints are paced. ``period_ns`` 0: by hand, with harvest, copy and seal."""

    period_ns: int
    epochs_in_flight: int
    hot_pages_max: int
    run_min_ns: int = 20_000


@dataclass(frozen=True, kw_only=True)
class NetDevice:
    """A network device: 6 bytes of address, and the longest packet in bytes."""

    mac: bytes
    mtu: int


def host_trackers(path: str = "/dev/kvm") -> frozenset[str]:
    """Names of the trackers that this host's KVM offers. Raises DataplaneError when there is none."""
    error, mask = ffi.new("ftd_error *"), ffi.new("uint32_t *")
    _check(lib.ftd_kvm_check(path.encode(), mask, error), error)
    return frozenset(name for name, number in TRACKER_IDS.items() if mask[0] >> number & 1)


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC32C of ``data``, continued from ``crc``."""
    return int(lib.ftd_crc32c(crc, ffi.from_buffer(data), len(data)))


def fault_points() -> tuple[str, ...]:
    """Names of all points at which `arm_fault` can kill this process."""
    names: list[str] = []
    while (name := lib.ftd_fault_name(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode())
    return tuple(names)


def arm_fault(point: str, nth: int) -> bool:
    """This process dies by SIGKILL at the nth passage of the point. False: there is no such point."""
    return bool(lib.ftd_fault_arm(point.encode(), nth) == 0)


def corrupt_stream() -> None:
    """One byte of the next epoch is flipped on its way, after its checksum was taken."""
    lib.ftd_fault_corrupt()


def _check(result: Any, error: Any) -> Any:
    if result == ffi.NULL if isinstance(result, ffi.CData) else result < 0:
        raise DataplaneError(error.code, ffi.string(error.text).decode(errors="replace"))
    return result


@dataclass(frozen=True)
class Disk:
    """An image or block device that is open for reading and writing; the guest is told at most 20
    bytes of ``name``."""

    fd: int
    size_bytes: int
    name: str = ""


class Machine:
    """A KVM virtual machine: memory, vCPUs, devices. Not started when it is made."""

    def __init__(
        self,
        *,
        memory_bytes: int,
        vcpus: int,
        irqchip: bool,
        tracker: str,
        epoch_pages_max: int,
        net: NetDevice | None = None,
        disk: Disk | None = None,
    ) -> None:
        """Takes the disk's descriptor over, also when it fails. Raises DataplaneError."""
        self._error = ffi.new("ftd_error *")
        config = ffi.new(
            "ftd_vm_config *",
            {
                "memory_bytes": memory_bytes,
                "vcpus": vcpus,
                "irqchip": int(irqchip),
                "tracker": TRACKER_IDS[tracker],
                "epoch_pages_max": epoch_pages_max,
                **({"disk_fd": disk.fd, "disk_bytes": disk.size_bytes, "disk_id": _id(disk)} if disk else {}),
            },
        )
        if net is not None:
            if len(net.mac) != MAC_BYTES:
                raise ValueError(f"a MAC has {MAC_BYTES} bytes, not {len(net.mac)}")
            config.mac, config.mtu = net.mac, net.mtu
        self._vm = _check(lib.ftd_vm_create(config, self._error), self._error)
        self._counters = lib.ftd_vm_counters(self._vm)
        self._processor = self._describe()
        self.memory_bytes = memory_bytes
        self.vcpus = vcpus
        self.tracker = tracker
        self.disk = disk

    @property
    def memory(self) -> memoryview:
        """The guest's RAM, without the hole below 4 GiB. Not valid after close()."""
        return memoryview(ffi.buffer(lib.ftd_vm_memory(self._handle()), self.memory_bytes))

    @property
    def memory_fd(self) -> int:
        """The memfd behind the guest's RAM; the machine's own."""
        return int(lib.ftd_vm_memory_fd(self._handle()))

    @property
    def processor(self) -> Processor:
        """What of this host the guest depends on."""
        return replace(self._processor, tsc_khz=lib.ftd_vm_tsc_khz(self._handle()))

    def _describe(self) -> Processor:
        raw = ffi.new("ftd_processor *")
        try:
            _check(lib.ftd_vm_processor(self._vm, raw, self._error), self._error)
        except DataplaneError:
            self.close()
            raise
        cpuid = [
            CpuidEntry(*(int(getattr(entry, name)) for name in CpuidEntry._fields))
            for entry in raw.cpuid[0 : raw.cpuid_count]
        ]
        return Processor(
            vendor=vendor_of(cpuid),
            features=features_of(cpuid),
            xsave_bytes=raw.xsave_bytes,
            msrs=list(raw.msrs[0 : raw.msr_count]),
            tsc_khz=raw.tsc_khz,
            scales_tsc=bool(raw.scales_tsc),
        )

    def reserve(self) -> None:
        """Allocates and maps all memory now; takes about a second for each 1 to 4 GiB."""
        _check(lib.ftd_vm_reserve(self._handle(), self._error), self._error)

    @property
    def event_fd(self) -> int:
        """Readable while `take_events` has something; the machine's own."""
        return int(lib.ftd_vm_event_fd(self._handle()))

    def _handle(self) -> Any:
        if self._vm is None:
            raise ValueError("the machine is closed")
        return self._vm

    def boot_vcpu(self, index: int, *, rip: int, rsp: int, rdi: int, rsi: int, cr3: int) -> None:
        """First registers of a vCPU: 64-bit mode at CPL 3."""
        _check(lib.ftd_vm_boot_vcpu(self._handle(), index, rip, rsp, rdi, rsi, cr3, self._error), self._error)

    def boot_linux(self, *, rip: int, zero_page: int, cr3: int, gdt: int, gdt_bytes: int) -> None:
        """First registers of vCPU 0: 64-bit mode at CPL 0. The other vCPUs wait for its SIPI."""
        result = lib.ftd_vm_boot_linux(self._handle(), rip, zero_page, cr3, gdt, gdt_bytes, self._error)
        _check(result, self._error)

    @property
    def virtio_windows(self) -> list[tuple[int, int]]:
        """Guest physical address and interrupt line of each virtio device that the machine has."""
        windows: list[tuple[int, int]] = []
        index = 0
        while (line := lib.ftd_vm_virtio_irq(self._handle(), index)) >= 0:
            if line:
                windows.append((VIRTIO_BASE + index * VIRTIO_WINDOW_BYTES, line))
            index += 1
        return windows

    @property
    def sections(self) -> list[str]:
        """Names of the sections of this machine's state blobs, in the order in which they are restored."""
        names: list[str] = []
        while (name := lib.ftd_vm_section_name(self._handle(), len(names))) != ffi.NULL:
            names.append(ffi.string(name).decode())
        return names

    def restore_section(self, name: str, data: bytes) -> None:
        """One section of a state blob. Before run() only."""
        result = lib.ftd_vm_restore_section(
            self._handle(), name.encode(), ffi.from_buffer(data), len(data), self._error
        )
        _check(result, self._error)

    def run(self) -> None:
        """Starts the vCPUs."""
        _check(lib.ftd_vm_run(self._handle(), self._error), self._error)

    def pause(self) -> None:
        """Stops the vCPUs; returns when none is in the guest. Waits for vCPUs."""
        _check(lib.ftd_vm_pause(self._handle(), self._error), self._error)

    def resume(self) -> None:
        """Lets stopped vCPUs run."""
        _check(lib.ftd_vm_resume(self._handle(), self._error), self._error)

    def kill(self) -> None:
        """No guest instruction and no output after it returns. Waits for vCPUs."""
        lib.ftd_vm_kill(self._handle())

    def close(self) -> None:
        """Kills and frees. The machine's primary or standby must have ended."""
        if self._vm is not None:
            vm, self._vm = self._vm, None
            lib.ftd_vm_destroy(vm)

    def console_listen(self, listener: socket.socket) -> None:
        """Takes a listening socket over for the console. While the machine runs."""
        listener.setblocking(False)
        _check(lib.ftd_vm_console_listen(self._handle(), listener.detach(), self._error), self._error)

    def serial_listen(self, listener: socket.socket) -> None:
        """Takes a listening socket over for the serial port. While the machine runs."""
        listener.setblocking(False)
        _check(lib.ftd_vm_serial_listen(self._handle(), listener.detach(), self._error), self._error)

    def serial_sink(self, fd: int) -> None:
        """Takes a file descriptor over for the serial port's output. While the machine runs."""
        _check(lib.ftd_vm_serial_sink(self._handle(), fd, self._error), self._error)

    def net_attach(self, fd: int) -> None:
        """Takes a tap over for the network device, and drops what waits in it. Before run() only."""
        _check(lib.ftd_vm_net_attach(self._handle(), fd, self._error), self._error)

    def net_send(self, frame: bytes) -> None:
        """One frame as if the guest had sent it: it passes the output gate. While the machine runs."""
        error = ffi.new("ftd_error *")  # its own: another call may be waiting in a thread
        _check(lib.ftd_vm_net_send(self._handle(), ffi.from_buffer(frame), len(frame), error), error)

    def net_addresses(self) -> list[bytes]:
        """The guest's own addresses as far as it has shown them: 4 bytes each for IPv4, 16 for IPv6."""
        ipv4, ipv6 = bytearray(4 * NET_IPV4_MAX), bytearray(16 * NET_IPV6_MAX)
        lib.ftd_vm_net_addresses(self._handle(), ffi.from_buffer(ipv4), ffi.from_buffer(ipv6))
        found = [bytes(ipv4[at : at + 4]) for at in range(0, len(ipv4), 4)]
        found += [bytes(ipv6[at : at + 16]) for at in range(0, len(ipv6), 16)]
        return [address for address in found if any(address)]

    def watch_disk(self) -> None:
        """From here on what the guest writes is noted, for the next pair to send; anew with each call."""
        _check(lib.ftd_vm_disk_watch(self._handle(), self._error), self._error)

    def mark_disk(self, first: int, blocks: Sequence[int]) -> None:
        """These blocks differ on the standby. ``first``, a multiple of 64, is not above any of them.

        From one thread at a time; another may use the machine meanwhile.
        """
        if first % _BLOCKS_PER_WORD:
            raise ValueError(f"{first} is no multiple of {_BLOCKS_PER_WORD}")
        bits = 0
        for block in blocks:
            bits |= 1 << (block - first)
        count = -(-bits.bit_length() // _BLOCKS_PER_WORD)
        words = ffi.from_buffer("uint64_t[]", bits.to_bytes(count * 8, "little"))
        error = ffi.new("ftd_error *")
        at = first // _BLOCKS_PER_WORD
        _check(lib.ftd_vm_disk_differs(self._handle(), at, words, count, error), error)

    def unwatch_disk(self) -> None:
        """Ends watching, unless a pair has taken over what was noted."""
        lib.ftd_vm_disk_unwatch(self._handle())

    def take_events(self) -> list[Event]:
        """All news since the last call, oldest first."""
        taken, event = [], ffi.new("ftd_event *")
        while lib.ftd_vm_next_event(self._handle(), event):
            taken.append(Event(EventKind(event.kind), event.reason, event.epoch, event.detail))
        return taken

    def counter(self, name: str) -> int:
        """One counter of api.h's ftd_counters."""
        return int(getattr(self._counters, name))

    def counters(self) -> dict[str, int]:
        """All scalar counters; refused frames by their number as ``refused_N``."""
        values: dict[str, int] = {}
        for name, field in ffi.typeof("ftd_counters").fields:
            if field.type.kind == "primitive":
                values[name] = int(getattr(self._counters, name))
        values.update((f"refused_{i}", int(n)) for i, n in enumerate(self._counters.refused) if n)
        return values

    def histogram(self, name: str) -> list[int]:
        """All buckets of ``pause_ns``, ``ack_ns`` or ``harvest_ns``; ftd/metrics.py has the scale."""
        return list(ffi.unpack(getattr(self._counters, _HISTOGRAMS[name]), 2048))

    def start_primary(self, link: LinkConfig, cycle: CycleConfig) -> Primary:
        """Starts the first synchronisation. Takes the sockets over, also when it fails. Waits for vCPUs."""
        config = ffi.new("ftd_cycle_config *")
        config.period_ns = cycle.period_ns
        config.epochs_in_flight = cycle.epochs_in_flight
        config.hot_pages_max = cycle.hot_pages_max
        config.run_min_ns = cycle.run_min_ns
        link_config = _link(link)
        handle = lib.ftd_primary_start(self._handle(), link_config, config, self._error)
        return Primary(_check(handle, self._error))

    def start_standby(self, link: LinkConfig) -> Standby:
        """Starts receiving into this machine's memory. Takes the sockets over, also when it fails."""
        return Standby(_check(lib.ftd_standby_start(self._handle(), _link(link), self._error), self._error))


def _id(disk: Disk) -> bytes:
    return disk.name.encode()[:DISK_ID_BYTES].ljust(DISK_ID_BYTES, b"\0")


def _link(link: LinkConfig) -> Any:
    if len(link.vm_id) != VM_ID_BYTES:
        raise ValueError(f"a VM id has {VM_ID_BYTES} bytes, not {len(link.vm_id)}")
    config = ffi.new("ftd_link_config *")
    config.vm_id = link.vm_id
    config.generation = link.generation
    config.pair = link.pair
    config.heartbeat_interval_ms = link.heartbeat_interval_ms
    config.heartbeat_timeout_ms = link.heartbeat_timeout_ms
    config.watchdog_ms = link.watchdog
    config.epoch_pages_max = link.epoch_pages_max
    config.parts_max = link.parts_max
    config.epoch_disk_bytes = link.epoch_disk_bytes
    config.data_fd, config.heartbeat_fd = link.data.detach(), link.heartbeat.detach()
    os.set_blocking(config.data_fd, True)
    return config


class Primary:
    """Active side of a pair. Of no more use after end()."""

    def __init__(self, handle: Any) -> None:
        self._primary = handle
        self._error = ffi.new("ftd_error *")

    def leave(self) -> None:
        """Asks the standby to let go: LEAVE_ACKED, or PEER_LOST, follows. Waits for vCPUs."""
        _check(lib.ftd_primary_leave(self._primary, self._error), self._error)

    def drain(self) -> None:
        """Stops the guest with a last epoch: DRAINED, or PEER_LOST, follows. Waits for vCPUs."""
        _check(lib.ftd_primary_drain(self._primary, self._error), self._error)

    def handover(self) -> None:
        """After DRAINED: HANDED_OVER, or PEER_LOST, follows."""
        _check(lib.ftd_primary_handover(self._primary, self._error), self._error)

    @property
    def acked(self) -> int:
        """Newest epoch that the standby has acknowledged."""
        return int(lib.ftd_primary_acked(self._primary))

    def end(self, *, release_output: bool, resume_guest: bool) -> None:
        """Ends protection and frees the pair. Waits for vCPUs and threads."""
        primary, self._primary = self._primary, None
        lib.ftd_primary_end(primary, int(release_output), int(resume_guest))

    def harvest(self) -> list[int]:
        """Guest frames written since the last harvest, hot set applied. Paced by hand only, guest stopped."""
        gfns, count = ffi.new("uint64_t[]", GFNS_AT_ONCE), ffi.new("uint32_t *")
        result = lib.ftd_primary_harvest(self._primary, gfns, GFNS_AT_ONCE, count, self._error)
        _check(result, self._error)
        return list(ffi.unpack(gfns, min(count[0], GFNS_AT_ONCE)))

    def copy(self) -> None:
        """Copies what was harvested, and re-arms it."""
        _check(lib.ftd_primary_copy(self._primary, self._error), self._error)

    def seal(self, state: bytes) -> int:
        """Completes the epoch with a state blob and sends it; its number. The guest may run on after it."""
        epoch = ffi.new("uint64_t *")
        result = lib.ftd_primary_seal(self._primary, ffi.from_buffer(state), len(state), epoch, self._error)
        _check(result, self._error)
        return int(epoch[0])


class Standby:
    """Standby side of a pair."""

    def __init__(self, handle: Any) -> None:
        self._standby = handle

    @property
    def epoch(self) -> int:
        """Newest committed epoch; 0: none."""
        return int(lib.ftd_standby_epoch(self._standby))

    def stop(self) -> None:
        """No acknowledgement and no heartbeat after it; what had arrived whole is committed. Waits."""
        lib.ftd_standby_stop(self._standby)

    def state(self) -> bytes:
        """State blob of the newest committed epoch. After stop()."""
        length = ffi.new("uint64_t *")
        state = lib.ftd_standby_state(self._standby, length)
        return bytes(ffi.buffer(state, length[0]))

    def answer(self, frame_type: int) -> bool:
        """Sends LEAVE_ACK or HANDOVER_DONE. False: the primary is gone."""
        return bool(lib.ftd_standby_answer(self._standby, frame_type) == 0)

    def close(self) -> None:
        """stop(), and the primary sees its connections closed."""
        lib.ftd_standby_close(self._standby)

    def outwait(self) -> None:
        """After stop(): returns when the primary can let no output go. Waits, for the timeout at most."""
        lib.ftd_standby_outwait(self._standby)

    def free(self) -> None:
        """Gives staging memory back: takes milliseconds. The machine keeps its own memory."""
        if self._standby is not None:
            standby, self._standby = self._standby, None
            lib.ftd_standby_free(standby)
