"""A bare KVM machine in Python, to test the guests without ftd's own machine.

Written from the boot protocol alone: one thread, in which the vCPUs run in turns, a serial port, a virtio
console.
"""

import ctypes
import fcntl
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.kvm.guests.virtio_console import VirtioConsole

KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_GET_SUPPORTED_CPUID = 0xC008AE05
KVM_CREATE_VCPU = 0xAE41
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_TSS_ADDR = 0xAE47
KVM_RUN = 0xAE80
KVM_GET_REGS = 0x8090AE81
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84
KVM_SET_CPUID2 = 0x4008AE90
REGS_BYTES = 0x90
SREGS_BYTES = 0x138

EXIT_IO = 2
EXIT_MMIO = 6
SLICE_S = 0.002

MIB = 1 << 20
GIB = 1 << 30
ENTRY = 0x100000
BOOT_BLOCK = 0x7000
BOOT_MAGIC = int.from_bytes(b"FTDBOOT1", "little")
COUNTERS = 0x6000
PML4, PDPT, PD = 0x10000, 0x11000, 0x12000
PRESENT_WRITE_USER, LARGE = 7, 0x80
CONSOLE_BASE = 0xD0000000


class GuestStoppedError(Exception):
    """The vCPU left for a reason that a healthy guest never gives; the message holds KVM's exit reason."""


@dataclass
class Vcpu:
    fd: int
    run: mmap.mmap


@dataclass
class Machine:
    """A machine with `image` loaded and its vCPUs at the entry. Use through `machine()`."""

    memory: mmap.mmap
    vcpus: list[Vcpu]
    console: VirtioConsole
    serial: bytearray = field(default_factory=bytearray)

    def run(self, until: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Lets the vCPUs run in turns until `until()` holds, looked at after each turn, or TimeoutError."""
        deadline = time.monotonic() + timeout_s
        with _slices():
            while not until():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not there in {timeout_s} s; serial: {bytes(self.serial)!r}")
                for vcpu in self.vcpus:
                    self._run_slice(vcpu)
                self.console.poll()

    def counter(self, index: int, vcpu: int = 0) -> int:
        return self.word(COUNTERS + 64 * vcpu + 8 * index)

    def word(self, address: int) -> int:
        return int.from_bytes(self.memory[address : address + 8], "little")

    def put_word(self, address: int, value: int) -> None:
        self.memory[address : address + 8] = value.to_bytes(8, "little")

    def _run_slice(self, vcpu: Vcpu) -> None:
        while True:
            try:
                fcntl.ioctl(vcpu.fd, KVM_RUN, 0)
            except InterruptedError:
                return
            (reason,) = struct.unpack_from("=I", vcpu.run, 8)
            if reason == EXIT_IO:
                self._port_access(vcpu.run)
            elif reason == EXIT_MMIO:
                self._mmio_access(vcpu.run)
            else:
                regs = struct.unpack("=18Q", fcntl.ioctl(vcpu.fd, KVM_GET_REGS, bytes(REGS_BYTES)))
                raise GuestStoppedError(f"exit reason {reason}, rip {regs[16]:#x}")

    def _port_access(self, run: mmap.mmap) -> None:
        out, size, port, count, offset = struct.unpack_from("=BBHIQ", run, 32)
        assert (size, count) == (1, 1)
        if out and port == 0x3F8:
            self.serial.append(run[offset])
        elif not out:
            run[offset] = 0x20 if port == 0x3FD else 0

    def _mmio_access(self, run: mmap.mmap) -> None:
        address, data, length, is_write = struct.unpack_from("=Q8sIB", run, 32)
        assert length == 4
        offset = address - CONSOLE_BASE
        if is_write:
            self.console.write(offset, int.from_bytes(data[:4], "little"))
        else:
            struct.pack_into("=I", run, 40, self.console.read(offset))


@contextmanager
def machine(image: Path, args: list[int], memory_bytes: int = 16 * MIB, vcpus: int = 1) -> Iterator[Machine]:
    """Boots `image` with `args` as its boot arguments; memory is zero elsewhere. Needs a usable /dev/kvm."""
    memory = mmap.mmap(-1, memory_bytes, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    _map_memory(memory)
    code = image.read_bytes()
    memory[ENTRY : ENTRY + len(code)] = code
    struct.pack_into("=4Q", memory, BOOT_BLOCK, BOOT_MAGIC, memory_bytes, vcpus, 0)
    struct.pack_into(f"={len(args)}Q", memory, BOOT_BLOCK + 32, *args)
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    made: list[Vcpu] = []
    try:
        fcntl.ioctl(vm, KVM_SET_TSS_ADDR, 0x7FFB0000)  # anywhere without memory
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, memory_bytes, address))
        made = [_make_vcpu(kvm, vm, index) for index in range(vcpus)]
        yield Machine(memory, made, VirtioConsole(memory))
    finally:
        for vcpu in made:
            vcpu.run.close()
            os.close(vcpu.fd)
        os.close(vm)
        os.close(kvm)


def _map_memory(memory: mmap.mmap) -> None:
    struct.pack_into("=Q", memory, PML4, PDPT | PRESENT_WRITE_USER)
    for gib in range(4):
        struct.pack_into("=Q", memory, PDPT + 8 * gib, PD + 0x1000 * gib | PRESENT_WRITE_USER)
    for address in [*range(0, len(memory), 2 * MIB), CONSOLE_BASE]:
        struct.pack_into("=Q", memory, PD + 8 * (address // (2 * MIB)), address | LARGE | PRESENT_WRITE_USER)


def _make_vcpu(kvm: int, vm: int, index: int) -> Vcpu:
    fd = fcntl.ioctl(vm, KVM_CREATE_VCPU, index)
    run = mmap.mmap(fd, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0))
    cpuid = bytearray(struct.pack("=II", 256, 0) + bytes(40 * 256))
    fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid)
    fcntl.ioctl(fd, KVM_SET_CPUID2, cpuid)
    sregs = bytearray(fcntl.ioctl(fd, KVM_GET_SREGS, bytes(SREGS_BYTES)))
    code = struct.pack("=QIH10B", 0, 0xFFFFFFFF, 0x33, 11, 1, 3, 0, 1, 1, 1, 0, 0, 0)
    data = struct.pack("=QIH10B", 0, 0xFFFFFFFF, 0x2B, 3, 1, 3, 1, 1, 0, 1, 0, 0, 0)
    sregs[0:144] = code + data * 5
    # cr0 PE|PG, cr2, cr3, cr4 PAE|OSFXSR|OSXMMEXCPT, cr8, efer LME|LMA
    struct.pack_into("=6Q", sregs, 224, 0x80000001, 0, PML4, 0x620, 0, 0x500)
    fcntl.ioctl(fd, KVM_SET_SREGS, bytes(sregs))
    regs = [0] * 18
    regs[4], regs[5], regs[6] = BOOT_BLOCK, index, 0x80000 - 0x4000 * index
    regs[16], regs[17] = ENTRY, 0x3002
    fcntl.ioctl(fd, KVM_SET_REGS, struct.pack("=18Q", *regs))
    return Vcpu(fd, run)


@contextmanager
def _slices() -> Iterator[None]:
    """Interrupts KVM_RUN every SLICE_S of processor time: guests spin, and one thread serves them all."""

    def nothing(signum: int, frame: FrameType | None) -> None:
        """The signal's work is done when the ioctl returns EINTR."""

    before = signal.signal(signal.SIGPROF, nothing)
    signal.setitimer(signal.ITIMER_PROF, SLICE_S, SLICE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
