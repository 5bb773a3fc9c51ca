"""Which epochs are sealed, sent, acknowledged, and whose output may leave.

    released <= acknowledged <= sent <= sealed,   sealed - acknowledged <= in flight at most

The data plane keeps the same four positions on its own threads; this is the account that tests and the
simulator hold it to.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class EpochOrderError(ValueError):
    """An epoch was sealed, sent or acknowledged out of turn."""


class EpochAccount:
    """Positions of one protected VM; epoch numbers start at 1, position 0 means none yet."""

    def __init__(self, in_flight_max: int) -> None:
        if in_flight_max < 1:
            raise ValueError("at least one epoch must be allowed in flight")
        self.in_flight_max = in_flight_max
        self.sealed = 0
        self.sent = 0
        self.acknowledged = 0

    @property
    def can_seal(self) -> bool:
        """Whether there is an arena for the next epoch; if not, the guest waits."""
        return self.sealed - self.acknowledged < self.in_flight_max

    @property
    def released(self) -> int:
        """The newest epoch whose output may leave: output of epoch k waits for the acknowledgement of k."""
        return self.acknowledged

    def seal(self) -> int:
        """Seal the running epoch; returns its number."""
        if not self.can_seal:
            raise EpochOrderError(f"{self.in_flight_max} epochs are in flight already")
        self.sealed += 1
        return self.sealed

    def send(self) -> int:
        """Send the oldest unsent epoch; returns its number."""
        if self.sent == self.sealed:
            raise EpochOrderError(f"epoch {self.sealed + 1} is not sealed")
        self.sent += 1
        return self.sent

    def acknowledge(self, epoch: int) -> None:
        """The standby has everything up to ``epoch``. One acknowledgement may stand for several epochs."""
        if not self.acknowledged < epoch <= self.sent:
            raise EpochOrderError(
                f"epoch {epoch} acknowledged after {self.acknowledged}, with {self.sent} the last one sent"
            )
        self.acknowledged = epoch


class OutputGate(Generic[Item]):
    """Output in the order in which the guest made it, each item held until its epoch is acknowledged."""

    def __init__(self) -> None:
        self._held: deque[tuple[int, Item]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, epoch: int, item: Item) -> None:
        """Keep what the guest put out in the running ``epoch`` (the one after the last sealed)."""
        if self._held and epoch < self._held[-1][0]:
            raise EpochOrderError(f"output of epoch {epoch} after output of epoch {self._held[-1][0]}")
        self._held.append((epoch, item))

    def release(self, up_to_epoch: int) -> list[Item]:
        """Let the output of all epochs up to ``up_to_epoch`` go, oldest first."""
        released = []
        while self._held and self._held[0][0] <= up_to_epoch:
            released.append(self._held.popleft()[1])
        return released

    def release_all(self) -> list[Item]:
        """Let everything go: the copy is alone, by a generation that it won or after LEAVE_ACK."""
        return self.release(self._held[-1][0]) if self._held else []

    def drop_all(self) -> int:
        """Forget everything: another copy has the guest. Returns how many items were dropped."""
        dropped = len(self._held)
        self._held.clear()
        return dropped
