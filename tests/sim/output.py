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
        self._proof_us = 0
        self._proof_max_us = 0
        self.held = False
        """Something would have left but for doubt."""

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
        self.shut = False
        self.direct = True

    def in_doubt(self) -> bool:
        """Whether this side has to prove first that it is still the active one."""
        return not self.direct and self.proof_is_old()

    def watch(self, proof_max_us: int) -> None:
        """A pair begins: nothing is proved."""
        self._proof_us = 0
        self._proof_max_us = proof_max_us

    def proof(self, stamp_us: int) -> None:
        """A peer that is still a standby echoed a heartbeat of that time."""
        if stamp_us <= self._clock():
            self._proof_us = max(self._proof_us, stamp_us)

    def proof_is_old(self) -> bool:
        """The standby may be about to become active."""
        return self._clock() - self._proof_us > self._proof_max_us

    def next(self) -> int | None:
        """What leaves now; judged anew for each write."""
        if not self._may_leave or self.shut:
            return None
        if self.in_doubt():
            self.held = True
            return None
        return self._may_leave.popleft()

    def drained(self) -> bool:
        """Nothing that may leave is left."""
        return not self._may_leave
