"""Two machines of one process, one the other's standby, over loopback TCP."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from ftd.dataplane.core import LEAVE_ACK, CycleConfig, LinkConfig, Machine, Primary, Standby
from ftd.dataplane.events import Event, EventKind
from ftd.vm.microvm import machine as microvm
from ftd.vm.microvm.guests.build import image_path
from tests.kvm.dataplane.relay import Relay, tcp_pair

MIB: Final = 1 << 20
PAGE_BYTES: Final = 4096
COUNTERS_ADDRESS: Final = 0x6000
COUNTERS_BYTES_PER_VCPU: Final = 64
DEADLINE_S: Final = 60.0
VM_ID: Final = bytes(range(16))
# No test is about silence, and the machine may be busy.
HEARTBEAT_INTERVAL_MS: Final = 200
HEARTBEAT_TIMEOUT_MS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A machine, and how it is protected."""

    tracker: str = "bitmap"
    vcpus: int = 1
    irqchip: bool = False
    hot_pages_max: int = 0
    memory_bytes: int = 16 * MIB
    epoch_pages_max: int = 1024
    parts_max: int = 4
    epochs_in_flight: int = 4
    heartbeat_interval_ms: int = HEARTBEAT_INTERVAL_MS
    heartbeat_timeout_ms: int = HEARTBEAT_TIMEOUT_MS
    watchdog_ms: int = 0
    rate_hz: int = 500
    """0: checkpoints by hand."""

    def machine(self) -> Machine:
        return microvm.make(
            memory_bytes=self.memory_bytes,
            vcpus=self.vcpus,
            irqchip=self.irqchip,
            tracker=self.tracker,
            epoch_pages_max=self.epoch_pages_max,
        )

    def booted(self, guest: str, args: Sequence[int] = ()) -> Machine:
        """A machine that runs one of the bare guests."""
        machine = self.machine()
        microvm.load(machine, image_path(guest).read_bytes(), list(args))
        machine.run()
        return machine

    def link(self, data: socket.socket, heartbeat: socket.socket) -> LinkConfig:
        return LinkConfig(
            vm_id=VM_ID,
            generation=1,
            data=data,
            heartbeat=heartbeat,
            heartbeat_interval_ms=self.heartbeat_interval_ms,
            heartbeat_timeout_ms=self.heartbeat_timeout_ms,
            watchdog_ms=self.watchdog_ms,
            epoch_pages_max=self.epoch_pages_max,
            parts_max=self.parts_max,
        )

    def cycle(self) -> CycleConfig:
        return CycleConfig(
            period_ns=10**9 // self.rate_hz if self.rate_hz else 0,
            epochs_in_flight=self.epochs_in_flight,
            hot_pages_max=self.hot_pages_max,
        )


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Looks until it holds. Raises AssertionError after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.001)


def counter_of(machine: Machine, index: int, vcpu: int = 0) -> int:
    """One of the guest's own counters (guests/boot.h)."""
    at = COUNTERS_ADDRESS + COUNTERS_BYTES_PER_VCPU * vcpu + 8 * index
    (value,) = struct.unpack_from("<Q", machine.memory, at)
    return int(value)


def rounds_of(machine: Machine) -> list[int]:
    """Rounds that each vCPU of a toucher has made."""
    return [counter_of(machine, 0, vcpu) for vcpu in range(machine.vcpus)]


def assert_goes_on(machine: Machine, rounds: int = 3) -> None:
    """Every vCPU of the toucher makes rounds, and its own check finds no lost page."""
    before = rounds_of(machine)

    def all_went_on() -> bool:
        return broken_vcpu(machine) is not None or all(
            now >= was + rounds for now, was in zip(rounds_of(machine), before, strict=True)
        )

    wait_until(all_went_on, f"{rounds} more rounds after {before}; {machine.take_events()}")
    assert broken_vcpu(machine) is None, f"a lost page: {broken_vcpu(machine)}"


def broken_vcpu(machine: Machine) -> str | None:
    """What a toucher in verify mode found wrong."""
    for vcpu in range(machine.vcpus):
        if counter_of(machine, 1, vcpu):
            address, expected, found = (counter_of(machine, index, vcpu) for index in (2, 3, 4))
            return f"vCPU {vcpu} found {found} instead of {expected} at {address:#x}"
    return None


def differing_pages(one: Machine, other: Machine) -> list[int]:
    """Numbers of the pages in which two machines' memory differs."""
    left, right = bytes(one.memory), bytes(other.memory)
    if left == right:
        return []
    starts = range(0, len(left), PAGE_BYTES)
    return [at // PAGE_BYTES for at in starts if left[at : at + PAGE_BYTES] != right[at : at + PAGE_BYTES]]


class Pair:
    """A running machine, its standby, and the news of both so far."""

    def __init__(
        self,
        setup: Setup,
        active: Machine,
        data: tuple[socket.socket, socket.socket],
        standby_tracker: str | None = None,
        beats: tuple[socket.socket, socket.socket] | None = None,
    ) -> None:
        self.setup = setup
        self.active = active
        self.passive = replace(setup, tracker=standby_tracker or setup.tracker).machine()
        self.news: list[Event] = []
        self.standby_news: list[Event] = []
        self._activated = False
        beats = beats or tcp_pair()
        self._standby: Standby | None = self.passive.start_standby(setup.link(data[1], beats[1]))
        self._primary: Primary | None = active.start_primary(setup.link(data[0], beats[0]), setup.cycle())

    @property
    def primary(self) -> Primary:
        assert self._primary is not None
        return self._primary

    @property
    def standby(self) -> Standby:
        assert self._standby is not None
        return self._standby

    def wait_for(self, kind: EventKind, *, on_standby: bool = False, deadline_s: float = DEADLINE_S) -> Event:
        """The first event of this kind. Raises AssertionError if the pair is lost before it comes."""
        machine, news = (self.passive, self.standby_news) if on_standby else (self.active, self.news)

        def has_come() -> bool:
            news.extend(machine.take_events())
            kinds = {event.kind for event in news}
            assert kind in kinds or not kinds & {EventKind.PEER_LOST, EventKind.GUEST_STOPPED}, news
            return kind in kinds

        wait_until(has_come, f"{kind.name}; news: {news}", deadline_s)
        return next(event for event in news if event.kind == kind)

    def wait_for_epochs(self, count: int) -> None:
        """So many more are acknowledged."""
        target = self.primary.acked + count
        wait_until(lambda: self.primary.acked >= target, f"{count} more epochs after {target - count}")

    def drain(self) -> None:
        """Stops the guest; its last epoch is committed."""
        self.primary.drain()
        last = self.wait_for(EventKind.DRAINED).epoch
        wait_until(lambda: self.standby.epoch == last, f"epoch {last} committed")

    def leave(self) -> None:
        """As an operator ends protection: the standby lets go and the guest runs on alone."""
        self.primary.leave()
        self.wait_for(EventKind.LEAVE, on_standby=True)
        self.standby.stop()
        assert self.standby.answer(LEAVE_ACK)
        self.wait_for(EventKind.LEAVE_ACKED)
        self.end(release_output=True, resume_guest=True)

    def end(self, *, release_output: bool, resume_guest: bool) -> None:
        primary, self._primary = self._primary, None
        if primary:
            primary.end(release_output=release_output, resume_guest=resume_guest)

    def activate(self) -> Machine:
        """The standby's machine, running from the newest complete epoch. It is the caller's to close."""
        self.standby.stop()
        microvm.restore(self.passive, self.standby.state())
        self.passive.run()
        self._activated = True
        return self.passive

    def close(self) -> None:
        """Frees both sides; kills the active machine."""
        self.active.kill()
        self.end(release_output=False, resume_guest=False)
        self.free_standby()
        self.active.close()

    def free_standby(self) -> None:
        standby, self._standby = self._standby, None
        if standby:
            standby.free()
        if not self._activated:
            self.passive.close()


@contextmanager
def protected(
    setup: Setup,
    active: Machine,
    relay: Relay | None = None,
    deadline_s: float = DEADLINE_S,
    standby_tracker: str | None = None,
) -> Iterator[Pair]:
    """The machine under protection; it and its standby are closed afterwards."""
    pair = Pair(setup, active, (relay.near, relay.far) if relay else tcp_pair(), standby_tracker)
    try:
        pair.wait_for(EventKind.PROTECTED, deadline_s=deadline_s)
        yield pair
    finally:
        pair.close()
