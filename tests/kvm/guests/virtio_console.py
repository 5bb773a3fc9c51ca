"""The device side of a virtio-mmio console, to test drivers against.

Written from the specification (virtio 1.2, 4.2 and 5.3); it asserts what a driver must do and counts
accesses.
"""

import mmap
import struct
from dataclasses import dataclass, field

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8
QUEUE_MAX = 64
DESC_NEXT, DESC_WRITE = 1, 2


@dataclass
class Queue:
    size: int = 0
    ready: int = 0
    address: dict[int, int] = field(default_factory=lambda: {0x80: 0, 0x90: 0, 0xA0: 0})
    seen: int = 0  # next entry of the available ring


@dataclass
class VirtioConsole:
    """Bytes for the guest go in by `feed`; what it wrote collects in `output`."""

    memory: mmap.mmap
    output: bytearray = field(default_factory=bytearray)
    pending: bytearray = field(default_factory=bytearray)
    queues: list[Queue] = field(default_factory=lambda: [Queue(), Queue()])
    status: int = 0
    device_id: int = 3
    accepted: dict[int, int] = field(default_factory=dict)
    offers_version_1: bool = True
    chunk_bytes: int = 1 << 16  # the device never puts more into one buffer than this
    accesses: int = 0
    notifications: int = 0
    _queue_select: int = 0
    _features_select: int = 0
    _driver_features_select: int = 0

    def feed(self, data: bytes) -> None:
        self.pending += data

    def poll(self) -> None:
        """Moves bytes both ways as far as the rings allow."""
        if not self.status & DRIVER_OK:
            return
        while (head := self._take(1)) is not None:
            address, length, flags = self._descriptor(self.queues[1], head)
            assert not flags & DESC_WRITE
            self.output += self.memory[address : address + length]
            self._give_back(self.queues[1], head, 0)
        while self.pending and (head := self._take(0)) is not None:
            address, length, flags = self._descriptor(self.queues[0], head)
            assert flags & DESC_WRITE
            chunk = bytes(self.pending[: min(length, self.chunk_bytes)])
            del self.pending[: len(chunk)]
            self.memory[address : address + len(chunk)] = chunk
            self._give_back(self.queues[0], head, len(chunk))

    def read(self, offset: int) -> int:
        self.accesses += 1
        queue = self.queues[self._queue_select]
        version_1 = int(self._features_select == 1 and self.offers_version_1)
        values = {0x00: 0x74726976, 0x04: 2, 0x08: self.device_id, 0x10: version_1, 0x34: QUEUE_MAX}
        return {**values, 0x44: queue.ready, 0x70: self.status}[offset]

    def write(self, offset: int, value: int) -> None:
        self.accesses += 1
        queue = self.queues[self._queue_select]
        if offset == 0x14:
            self._features_select = value
        elif offset == 0x20:
            self.accepted[self._driver_features_select] = value
        elif offset == 0x24:
            self._driver_features_select = value
        elif offset == 0x30:
            self._queue_select = value
        elif offset == 0x38:
            assert self.status & FEATURES_OK
            assert value <= QUEUE_MAX
            assert value & (value - 1) == 0
            queue.size = value
        elif offset == 0x44:
            assert not self.status & DRIVER_OK
            queue.ready = value
        elif offset == 0x50:
            assert self.status & DRIVER_OK
            self.notifications += 1
            self.poll()
        elif offset == 0x70:
            self._set_status(value)
        elif offset & ~4 in queue.address:
            shift = 32 if offset & 4 else 0
            queue.address[offset & ~4] |= value << shift
        else:
            raise AssertionError(f"driver wrote register {offset:#x}")

    def _set_status(self, value: int) -> None:
        assert value == 0 or value & self.status == self.status, "a driver only adds status bits"
        if value & FEATURES_OK and self.accepted != {0: 0, 1: 1}:
            value &= ~FEATURES_OK
        if value & DRIVER_OK:
            assert all(queue.ready and queue.size for queue in self.queues)
        self.status = value

    def _take(self, number: int) -> int | None:
        queue = self.queues[number]
        ring = queue.address[0x90]
        (index,) = struct.unpack_from("=H", self.memory, ring + 2)
        if index == queue.seen:
            return None
        assert (index - queue.seen) % 0x10000 <= queue.size
        (head,) = struct.unpack_from("=H", self.memory, ring + 4 + 2 * (queue.seen % queue.size))
        queue.seen = (queue.seen + 1) % 0x10000
        return int(head)

    def _descriptor(self, queue: Queue, head: int) -> tuple[int, int, int]:
        assert head < queue.size
        address, length, flags, _ = struct.unpack_from("=QIHH", self.memory, queue.address[0x80] + 16 * head)
        assert not flags & DESC_NEXT
        return address, length, flags

    def _give_back(self, queue: Queue, head: int, length: int) -> None:
        ring = queue.address[0xA0]
        (index,) = struct.unpack_from("=H", self.memory, ring + 2)
        struct.pack_into("=II", self.memory, ring + 4 + 8 * (index % queue.size), head, length)
        struct.pack_into("=H", self.memory, ring + 2, (index + 1) % 0x10000)
