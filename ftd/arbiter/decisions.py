"""What a record says to a claim or a release: the same for every arbiter, whatever keeps its records. Pure.

Whoever calls makes read, decide and replace one step: by a lock, or by a comparison in the same transaction.
"""

from __future__ import annotations

import uuid

from ftd.arbiter.contract import CLAIM_ID_BYTES, NOBODY, Lost, Record, Won
from ftd.arbiter.record import DamagedRecord


def canonical(vm_id: str) -> str:
    """Through UUID, so that a VM id can never name another file or key. Raises ValueError."""
    return str(uuid.UUID(vm_id))


def wanted(vm_id: str, expected: int, holder: str, claim_id: bytes) -> Record:
    """The record that a claim would leave. Raises ValueError for what cannot be a claim."""
    if not holder:
        raise ValueError("a claim needs a holder")
    if expected < 0 or len(claim_id) != CLAIM_ID_BYTES:
        raise ValueError(f"a claim needs a generation and an id of {CLAIM_ID_BYTES} bytes")
    return Record(canonical(vm_id), expected + 1, holder, claim_id)


def judge(current: Record | None, claim: Record, where: object) -> Won | Lost | None:
    """What becomes of a claim where ``current`` is recorded; None: record it. Raises DamagedRecord."""
    if current is not None and current.claim_id == claim.claim_id:
        if current != claim:
            raise DamagedRecord(f"{where} has this claim's id with another generation or holder")
        return Won(current)
    generation = current.generation if current else 0
    if generation < claim.generation - 1:
        raise DamagedRecord(f"{where} says generation {generation}, but {claim.generation - 1} was held")
    if current is not None and generation >= claim.generation:
        return Lost(current)
    return None


def released(current: Record | None, generation: int, holder: str) -> Record | None:
    """What to record for a holder that gives its generation up; None: it does not hold it."""
    if current is None or current.generation != generation or current.holder not in (holder, NOBODY):
        return None
    return Record(current.vm_id, generation, NOBODY, b"")
