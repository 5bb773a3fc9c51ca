"""Two machines in one process, joined over loopback: the data plane without a worker around it."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ftd.dataplane.core import CycleConfig, LinkConfig, Machine, Primary, Standby
from ftd.dataplane.events import Event, EventKind
from ftd.vm.microvm import machine as microvm
from ftd.vm.microvm.guests import image_path

DEADLINE_S: Final = 30.0
VM_ID: Final = bytes(range(16))
COUNTERS: Final = 0x6000
PAGE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is protected, and how."""

    guest: str = "toucher"
    args: tuple[int, ...] = (10, 100, 40, 0, 1)
    memory_mib: int = 32
    vcpus: int = 1
    irqchip: bool = False
    tracker: str = "ring"
    hot_pages_max: int = 0
    rate_hz: int = 1000
    epoch_pages_max: int = 1024
    parts_max: int = 4
    epochs_in_flight: int = 4

    def machine(self) -> Machine:
        return microvm.make(
            memory_bytes=self.memory_mib << 20,
            vcpus=self.vcpus,
            irqchip=self.irqchip,
            tracker=self.tracker,
            epoch_pages_max=self.epoch_pages_max,
        )

    def cycle(self) -> CycleConfig:
        return CycleConfig(
            period_ns=1_000_000_000 // self.rate_hz if self.rate_hz else 0,
            epochs_in_flight=self.epochs_in_flight,
            hot_pages_max=self.hot_pages_max,
        )

    def link(self, data: socket.socket, heartbeat: socket.socket) -> LinkConfig:
        return LinkConfig(
            vm_id=VM_ID,
            generation=1,
            data=data,
            heartbeat=heartbeat,
            heartbeat_interval_ms=50,
            heartbeat_timeout_ms=20_000,
            epoch_pages_max=self.epoch_pages_max,
            parts_max=self.parts_max,
        )


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition. Fails when it does not come true in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.002)


@dataclass
class Joined:
    """A protected machine and its standby."""

    setup: Setup
    active: Machine
    waiting: Machine
    primary: Primary | None = None
    standby: Standby | None = None
    seen: dict[Machine, list[Event]] = field(default_factory=dict)

    def protect(self) -> None:
        """Starts the pair; returns when epoch 1 was acknowledged."""
        self.start()
        self.expect(self.active, EventKind.PROTECTED)

    def start(self) -> None:
        """Starts the pair."""
        data, far_data = connected()
        heartbeat, far_heartbeat = connected()
        self.standby = self.waiting.start_standby(self.setup.link(far_data, far_heartbeat))
        self.primary = self.active.start_primary(self.setup.link(data, heartbeat), self.setup.cycle())

    def expect(self, machine: Machine, kind: EventKind) -> Event:
        """The first event of a kind; others are kept."""
        events = self.seen.setdefault(machine, [])

        def arrived() -> bool:
            events.extend(machine.take_events())
            return any(event.kind is kind for event in events)

        until(arrived, f"{kind.name}; there were {[event.kind.name for event in events]}")
        return next(event for event in events if event.kind is kind)

    def acked(self) -> int:
        return self.active.counter("epochs_acked")

    def pass_epochs(self, count: int) -> None:
        """Waits until so many more epochs were acknowledged."""
        goal = self.acked() + count
        until(lambda: self.acked() >= goal, f"epoch {goal}")

    def drain(self) -> None:
        """Stops the guest with a last epoch, which the standby then has."""
        assert self.primary is not None
        assert self.standby is not None
        self.primary.drain()
        self.expect(self.active, EventKind.DRAINED)
        self.standby.stop()

    def take_over(self) -> None:
        """The primary ends, if it has not; the standby runs the guest."""
        assert self.standby is not None
        if self.primary is not None:
            self.primary.end(release_output=False, resume_guest=False)
            self.primary = None
        self.active.kill()
        self.standby.stop()
        microvm.restore(self.waiting, self.standby.state())
        self.waiting.run()

    def rounds(self, machine: Machine) -> list[int]:
        """What the guest counts, a vCPU each."""
        return [self.word(machine, COUNTERS + 64 * index) for index in range(self.setup.vcpus)]

    def word(self, machine: Machine, address: int) -> int:
        return int(struct.unpack_from("<Q", machine.memory, address)[0])

    def lost_pages(self, machine: Machine) -> list[int]:
        """Addresses at which the guest itself found a page that was not as it left it."""
        marks = [COUNTERS + 64 * index for index in range(self.setup.vcpus)]
        return [self.word(machine, mark + 16) for mark in marks if self.word(machine, mark + 8)]

    def close(self) -> None:
        if self.primary is not None:
            self.primary.end(release_output=False, resume_guest=False)
        if self.standby is not None:
            self.standby.free()
        self.active.close()
        self.waiting.close()


@contextmanager
def joined(setup: Setup) -> Iterator[Joined]:
    """The guest runs, unprotected."""
    active = setup.machine()
    pair = Joined(setup, active, setup.machine())
    try:
        microvm.load(active, image_path(setup.guest).read_bytes(), setup.args)
        active.run()
        yield pair
    finally:
        pair.close()


def different_pages(one: Machine, other: Machine) -> list[int]:
    """Numbers of the pages that differ."""
    a, b = one.memory, other.memory
    if a == b:
        return []
    return [at // PAGE for at in range(0, len(a), PAGE) if a[at : at + PAGE] != b[at : at + PAGE]]
