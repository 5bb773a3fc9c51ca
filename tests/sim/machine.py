"""The guest and its machine, after ftd/dataplane/vm.c and vcpu.c, with the face of core.Machine."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ftd.dataplane.core import CycleConfig, LinkConfig
from ftd.dataplane.events import Event, EventKind, LostReason
from ftd.protocol.processor import Processor
from ftd.protocol.state_blob import pack_state
from tests.sim.clockwork import MS
from tests.sim.output import Output
from tests.sim.primary import Primary
from tests.sim.process import Lane, Process
from tests.sim.standby import Standby
from tests.sim.trio_stand_in import Task

if TYPE_CHECKING:
    from tests.sim.outside import Outside

MEMORY_PAGES = 10
PAGE_BYTES = 4096
_NODE = struct.Struct("<Q")
_PAGE = struct.Struct("<QQ")
_SECTIONS = ("machine", "serial", "console", "vcpu0")


class EventQueue:
    """News for the worker's main thread: true while there are any."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._watcher: Task | None = None

    def __bool__(self) -> bool:
        return bool(self._events)

    def post(self, event: Event) -> None:
        """Wakes whoever watches."""
        self._events.append(event)
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            watcher.wake()

    def watch(self, task: Task) -> None:
        """Wake ``task`` when there is something; at once if there is."""
        if self._events:
            task.wake()
        else:
            self._watcher = task

    def take(self) -> list[Event]:
        """All, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events


PROCESSOR = Processor(vendor="", features={}, xsave_bytes=4096, msrs=[], tsc_khz=1_000_000, scales_tsc=False)


class Machine:
    """A guest's memory, its one vCPU and its output. The guest's state is the newest node of its history."""

    vcpus = 1
    tracker = "simulated"
    disk = None
    processor = PROCESSOR

    def __init__(self, process: Process, outside: Outside) -> None:
        self.process = process
        self.outside = outside
        self.event_fd = EventQueue()
        self.memory = [bytes(PAGE_BYTES)] * MEMORY_PAGES
        self.dirty: dict[int, None] = {}
        self.node = 0
        self.output = Output(process.host.boottime_us)
        self.primary: Primary | None = None
        self.standby: Standby | None = None
        self.runs = False
        self.parked = False
        self.held_back = False
        """By a first synchronisation that would not end otherwise."""
        self.label = process.host.name
        self.generation: Callable[[], int] = lambda: 0
        """Of the copy, as its decision core has it."""
        self._step_due = False
        self._restored = False

    # What the worker calls.

    def run(self) -> None:
        """Starts the vCPU."""
        if self._restored:
            assert self.standby is not None
            self.outside.activated(self, self.standby)
        self.runs = True
        self.schedule_step()

    def pause(self) -> None:
        """The vCPU is out of the guest when it returns."""
        self.parked = True

    def resume(self) -> None:
        """Lets a stopped vCPU run."""
        self.parked = False
        self.schedule_step()

    def kill(self) -> None:
        """No guest instruction and no output after it returns."""
        self.runs = False
        self.output.shut = True

    def take_events(self) -> list[Event]:
        """All news since the last call."""
        return self.event_fd.take()

    def start_primary(self, link: LinkConfig, cycle: CycleConfig) -> Primary:
        """Starts the first synchronisation."""
        self.primary = Primary(self, link, cycle)
        return self.primary

    def start_standby(self, link: LinkConfig) -> Standby:
        """Starts receiving into this machine's memory."""
        self.standby = Standby(self, link)
        return self.standby

    def restore_section(self, name: str, data: bytes) -> None:
        """One section of a state blob."""
        if name == "vcpu0":
            (self.node,) = _NODE.unpack(data)
            self._restored = True

    @property
    def sections(self) -> list[str]:
        """Names of the sections of a state blob."""
        return list(_SECTIONS)

    def capture(self) -> bytes:
        """The state blob of a guest that stands."""
        node = _NODE.pack(self.node)
        return pack_state({name: node if name == "vcpu0" else b"" for name in _SECTIONS})

    def post(self, kind: EventKind, *, reason: int = 0, epoch: int = 0, detail: int = 0) -> None:
        """News for the worker."""
        if kind is EventKind.PEER_LOST:
            self.outside.peer_lost(self, LostReason(reason))
        self.event_fd.post(Event(kind, reason, epoch, detail))

    # The guest.

    @property
    def guest_moves(self) -> bool:
        """Whether the guest executes instructions."""
        return self.runs and not self.parked and not self.held_back

    def schedule_step(self) -> None:
        """The guest does something soon, unless it is about to already."""
        if not self._step_due:
            self._step_due = True
            delay_us = self.process.clockwork.random.randrange(4 * MS, 24 * MS)
            self.process.later(delay_us, self._step, Lane.VCPU)

    def _step(self) -> None:
        self._step_due = False
        if not self.guest_moves:
            return
        random = self.process.clockwork.random
        self.node = self.outside.guest_step(self)
        pages = MEMORY_PAGES * 7 // 10 if random.random() < 0.15 else random.randrange(1, 3)
        first = random.randrange(MEMORY_PAGES)
        for index in range(first, first + pages):
            page = index % MEMORY_PAGES
            self.memory[page] = _PAGE.pack(self.node, page).ljust(PAGE_BYTES, b"\0")
            self.dirty[page] = None
        epoch = self.primary.account.sealed + 1 if self.primary is not None else 0
        self.output.append(epoch, self.node)
        if self.output.direct:
            self.wake_io()
        self.schedule_step()

    def end_by_itself(self) -> None:
        """The guest shuts down."""
        if self.guest_moves:
            self.runs = False
            self.post(EventKind.GUEST_STOPPED, detail=8)

    # The io thread.

    def wake_io(self) -> None:
        """There may be something to let out."""
        self.process.soon(self.release_output, Lane.IO)

    def release_output(self) -> None:
        """Lets out what may leave, after ftd/dataplane/io.c."""
        self.output.held = False
        while (node := self.output.next()) is not None:
            self.outside.see(self, node)
        if self.output.held:
            self.process.later(10 * MS, self.release_output, Lane.IO)
        if self.primary is not None:
            self.primary.check_drained()
