"""What every arbiter promises: one active copy of each VM, by generations handed out one at a time.

What "no" means: that another copy won is an answer (``Lost``); that nobody answered is an exception
(``ArbiterUnreachable``), and then nothing is known: the claim may have been recorded. So a claim carries an
id and is repeated with it until there is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

CLAIM_ID_BYTES: Final = 16
NOBODY: Final = ""
"""Holder of a generation whose guest has ended: any host may start the VM."""


@dataclass(frozen=True)
class Record:
    """Who may run the VM. ``vm_id`` is a UUID in its canonical text form; ``claim_id`` is the claim that
    won."""

    vm_id: str
    generation: int
    holder: str
    claim_id: bytes


@dataclass(frozen=True)
class Won:
    """The claim is recorded, durably: ``record`` is the claimer's."""

    record: Record


@dataclass(frozen=True)
class Lost:
    """Another claim is recorded: ``record`` is someone else's, or of a later generation."""

    record: Record


class ArbiterUnreachable(Exception):
    """No answer. ``reason`` is a sentence: what was tried, on what, why it failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Arbiter(Protocol):
    """Generations of VMs. Every method may raise ArbiterUnreachable, and returns within a bounded time."""

    # Guarantee: linearizable. Two claims of one generation are never both won, whatever crashes in between.

    async def claim(self, vm_id: str, expected: int, holder: str, claim_id: bytes) -> Won | Lost:
        """Make ``holder`` the holder of generation ``expected`` + 1 if the generation is ``expected`` now (0:
        the VM has never run). A claim that has won says Won again for as long as its generation lasts."""
        ...

    # Guarantee: what was recorded at some moment of the call. It may be outdated when it is read: decide
    # nothing by it.

    async def read(self, vm_id: str) -> Record | None:
        """The newest record; None if the VM has never run."""
        ...

    # Guarantee: done, or nothing. Only ever gives up what the caller holds.

    async def release(self, vm_id: str, generation: int, holder: str) -> bool:
        """The guest has ended: leave ``generation`` to nobody. False if ``holder`` does not hold it any
        more."""
        ...
