"""The promises, as an observer who sees everything would hold a run to them.

They know what left a host, what was sealed, acknowledged and resumed, and which disturbances there were. They
know nothing of states, tables, or what was planned for the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.history import History


class PromiseBroken(Exception):
    """A checker saw what must never be."""


@dataclass(frozen=True)
class Checkpoint:
    """A guest as it stood when an epoch was sealed."""

    node: int
    memory: tuple[bytes, ...]


class Checkers:
    """One run's. ``pair`` numbers a pair of copies, ``copy`` names a copy, ``node`` is a state of a guest."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.last_seen = 0
        self._last_generation = 0
        self._owners: dict[int, str] = {}
        self._sealed: dict[tuple[int, int], Checkpoint] = {}
        self._acknowledged: dict[int, int] = {}
        self._arrived: dict[int, int] = {}
        self.newest_pair: Callable[[], int] = lambda: 0
        self._undisturbed: dict[int, None] = {}
        self._disturbed_up_to = 0
        self._disturbances = 0

    # One active copy; output commit.

    def seen(self, copy: str, generation: int, node: int) -> None:
        """Output of ``node`` is visible outside."""
        owner = self._owners.setdefault(generation, copy)
        if owner != copy:
            raise PromiseBroken(f"output of {owner} and of {copy} is visible in generation {generation}")
        if generation < self._last_generation:
            raise PromiseBroken(
                f"output of generation {generation} ({copy}) after that of generation {self._last_generation}"
            )
        if node <= self.last_seen or not self._history.contains(node, self.last_seen):
            raise PromiseBroken(
                f"output {node} of {copy} does not follow output {self.last_seen}, which was seen before it"
            )
        self._last_generation = generation
        self.last_seen = node

    # Whole epochs; nothing acknowledged is lost.

    def sealed(self, pair: int, epoch: int, checkpoint: Checkpoint) -> None:
        """``epoch`` of ``pair`` came into being."""
        self._sealed[pair, epoch] = checkpoint

    def acknowledged(self, pair: int, epoch: int) -> None:
        """The active side of ``pair`` has the standby's word for ``epoch``."""
        quiet = not self._disturbances and pair > self._disturbed_up_to
        if pair not in self._acknowledged and quiet:
            self._undisturbed[pair] = None
        self._acknowledged[pair] = max(epoch, self._acknowledged.get(pair, 0))

    def arrived(self, pair: int, epoch: int) -> None:
        """All of ``epoch``, and of those before it, was at the standby's host before it stopped receiving."""
        self._arrived[pair] = epoch

    def activated(self, copy: str, pair: int, epoch: int, resumed: Checkpoint) -> None:
        """``copy``, standby of ``pair``, resumes the guest from what it says is ``epoch``."""
        sealed = self._sealed.get((pair, epoch))
        if sealed is None:
            raise PromiseBroken(f"{copy} activates from epoch {epoch}, which was never sealed")
        if sealed != resumed:
            pages = [i for i, page in enumerate(sealed.memory) if page != resumed.memory[i]]
            raise PromiseBroken(
                f"{copy} activates from something else than epoch {epoch}: state {resumed.node} for "
                f"{sealed.node}, pages {pages} differ"
            )
        if epoch < self._acknowledged.get(pair, 0):
            acked = self._acknowledged[pair]
            raise PromiseBroken(f"{copy} activates from epoch {epoch}, but {acked} was acknowledged")
        if epoch < self._arrived.get(pair, 0):
            raise PromiseBroken(
                f"{copy} activates from epoch {epoch}, but {self._arrived[pair]} had arrived whole"
            )
        if not self._history.contains(resumed.node, self.last_seen):
            raise PromiseBroken(f"{copy} activates from epoch {epoch} and undoes output {self.last_seen}")

    # No failover without cause.

    def disturbance_began(self) -> None:
        """Something that may make one side lose the other, from here on."""
        self._disturbances += 1
        self._disturbed_up_to = self.newest_pair()
        self._undisturbed.clear()

    def disturbance_ended(self) -> None:
        """New pairs have nothing to fear of it."""
        self._disturbances -= 1
        self._disturbed_up_to = self.newest_pair()

    def peer_lost(self, copy: str, pair: int, reason: str) -> None:
        """``copy`` takes its peer for lost."""
        if pair in self._undisturbed:
            raise PromiseBroken(f"{copy} lost its peer ({reason}) though nothing had happened to either")
        self._undisturbed.pop(pair, None)
