"""Hosts and processes: what they run, when they stop, what their clocks say.

A process has threads (*lanes*). A stopped process does nothing; what came due meanwhile is done when it goes
on, in an order of the threads that nobody can foresee. An interpreter that is busy holds back one lane only.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.sim.clockwork import MS, Clockwork

if TYPE_CHECKING:
    from tests.sim.disk import Disk
    from tests.sim.fencing import Fencing
    from tests.sim.network import Network, Socket


class Lane(enum.Enum):
    """The threads of docs/ARCHITECTURE.md; THREAD is any of trio's helper threads."""

    INTERPRETER = "interpreter"
    HEARTBEAT = "heartbeat"
    IO = "io"
    SENDER = "sender"
    VCPU = "vcpu"
    RECEIVER = "receiver"
    THREAD = "thread"


THAW_JITTER_US = 3 * MS
"""Threads of a process that goes on run again within this time, in any order."""


class Host:
    """A machine with a kernel and clocks."""

    def __init__(self, clockwork: Clockwork, network: Network, name: str) -> None:
        self.clockwork = clockwork
        self.network = network
        self.name = name
        self.up = True
        self.frozen = False
        self.rate = 1.0 + clockwork.random.uniform(-5e-4, 5e-4)
        self.offset_us = clockwork.random.randrange(10**11, 10**12)
        self.wall_offset_us = 0
        self.crash_at_step = ""
        """Step of a write to the arbiter's record at which this host is to lose power; empty: none."""

    def boottime_us(self) -> int:
        """CLOCK_BOOTTIME: drifts, goes on while the host is frozen, is never set."""
        return int(self.clockwork.now_us * self.rate) + self.offset_us

    def wall_us(self) -> int:
        """The time of day: jumps when somebody sets it."""
        return self.boottime_us() + self.wall_offset_us


class Process:
    """One worker process."""

    def __init__(self, host: Host, disk: Disk, fail: Callable[[BaseException], None]) -> None:
        self.host = host
        self.disk = disk
        self.clockwork = host.clockwork
        self.label = host.name
        self.alive = True
        self.sockets: list[Socket] = []
        self.fencing: Fencing | None = None
        """What its host has in place of an arbiter; None: there is an arbiter."""
        self.coroutines: dict[Coroutine[Any, Any, object], None] = {}
        self.fail = fail
        self.at_end: Callable[[], None] = lambda: None
        self._stops = 0
        self._held_back: list[tuple[Lane, Callable[[], object]]] = []
        self._interpreter_busy = False
        self._interpreter_due: list[Callable[[], object]] = []

    @property
    def answers(self) -> bool:
        """Neither stopped nor too busy to."""
        return self.alive and not self._stops and not self._interpreter_busy

    def later(self, delay_us: int, do: Callable[[], object], lane: Lane) -> None:
        """In ``delay_us`` of this host's clock a thread does ``do``, if it can run then."""
        self.clockwork.after(int(delay_us / self.host.rate) + 1, partial(self._run, do, lane))

    def soon(self, do: Callable[[], object], lane: Lane) -> None:
        """As ``later``, as soon as the thread is scheduled."""
        self.clockwork.after(self.clockwork.random.randrange(10, 200), partial(self._run, do, lane))

    def _run(self, do: Callable[[], object], lane: Lane) -> None:
        if not self.alive:
            return
        if self._stops:
            self._held_back.append((lane, do))
            return
        if lane is Lane.INTERPRETER and self._interpreter_busy:
            self._interpreter_due.append(do)
            return
        do()

    def hold_interpreter(self) -> None:
        """No Python code of this process runs; its native threads do."""
        self._interpreter_busy = True

    def free_interpreter(self) -> None:
        """What came due meanwhile is done, in its order."""
        self._interpreter_busy = False
        due, self._interpreter_due = self._interpreter_due, []
        for do in due:
            self.clockwork.after(0, partial(self._run, do, Lane.INTERPRETER))

    def stop(self) -> None:
        """As SIGSTOP, or a host that is paused. Stops add up."""
        self._stops += 1

    def go_on(self) -> None:
        """Takes one stop back."""
        self._stops -= 1
        if self._stops:
            return
        held_back, self._held_back = self._held_back, []
        wakes = {lane: self.clockwork.random.randrange(THAW_JITTER_US) for lane in Lane}
        for lane, do in held_back:
            self.clockwork.after(wakes[lane], partial(self._run, do, lane))

    def end(self, *, power_lost: bool = False) -> None:
        """SIGKILL, or an exit: the kernel closes what was open, unless it died as well."""
        if not self.alive:
            return
        self.alive = False
        self._held_back.clear()
        self._interpreter_due.clear()
        for coroutine in list(self.coroutines):
            coroutine.close()
        self.coroutines.clear()
        for socket in self.sockets:
            socket.abandon() if power_lost else socket.close()
        self.at_end()
