"""The output gate, after ftd/dataplane/output.c."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ftd.replication.epochs import OutputGate


class Output:
    """What the guest has put out and nobody has seen yet. ``clock`` is CLOCK_BOOTTIME in microseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._held: OutputGate[int] = OutputGate()
        self._may_leave: deque[int] = deque()
        self.direct = True
        self.shut = False
        self.doubt_since_us = 0
        self.last_beat_us = 0
        self.gap_max_us = 0

    def append(self, epoch: int, item: int) -> None:
        """The guest puts ``item`` out in the running ``epoch``."""
        if self.direct:
            self._may_leave.append(item)
        else:
            self._held.hold(epoch, item)

    def acknowledged(self, epoch: int) -> None:
        """Output up to the end of ``epoch`` may leave."""
        self._may_leave.extend(self._held.release(epoch))

    def gate(self) -> None:
        """From here on output waits for acknowledgements."""
        self.direct = False

    def ungate(self) -> None:
        """Protection has ended: everything may leave."""
        self._may_leave.extend(self._held.release_all())
        self.last_beat_us = self.doubt_since_us = 0
        self.shut = False
        self.direct = True

    def in_doubt(self) -> bool:
        """Whether this side has to prove first that it is still the active one."""
        if self.doubt_since_us:
            return True
        now_us = self._clock()
        if not self.last_beat_us or now_us - self.last_beat_us <= self.gap_max_us:
            return False
        self.doubt_since_us = now_us
        return True

    def next(self) -> int | None:
        """What leaves now; judged anew for each write."""
        if not self._may_leave or self.shut or self.in_doubt():
            return None
        return self._may_leave.popleft()

    def drained(self) -> bool:
        """Nothing that may leave is left."""
        return not self._may_leave

    def beat(self, now_us: int) -> bool:
        """The heartbeat thread runs; True: it had not for too long."""
        gap = bool(self.last_beat_us) and now_us - self.last_beat_us > self.gap_max_us
        if gap:
            self.doubt_since_us = now_us
        self.last_beat_us = now_us
        return gap

    def proof(self, stamp_us: int) -> None:
        """A peer that is still a standby echoed a heartbeat of that time."""
        if self.doubt_since_us and stamp_us >= self.doubt_since_us:
            self.doubt_since_us = 0
