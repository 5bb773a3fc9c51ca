"""When the first synchronisation lets the guest run, slows it down, and ends. The data plane follows the same
formula.

All numbers are pages. *Pending* is what is known to be dirty and not yet sent; it begins as the whole memory.
The sender works in slices of at most one arena (*capacity*) and harvests the tracker after each. With
``limit`` begun at the whole memory, after a slice in which ``sent`` pages left:

    allowed = max(capacity, limit - ceil(sent / 10))

    pending <= capacity     SEAL       what is left fits the arena: it becomes epoch 1
    pending >  allowed      THROTTLE   the guest waits until pending <= allowed     limit = allowed
    otherwise               CONTINUE                                                limit = pending

So in each slice the guest may dirty nine pages for every ten that the link carries. One that stays below
never waits; one that writes faster waits for slices at a time and comes to between half and nine tenths of
the link's rate.

Why it always ends: the limit never rises and loses at least a tenth of what is sent until it reaches the
capacity, and a guest that waits dirties nothing, so pending falls below any limit. Hence at most 10 * (memory
- capacity) pages, one slice more, and one last time all of memory are sent before the seal, whatever the
guest does.

What the guest dirties between the last harvest and the seal comes on top, so ``capacity`` is to be the arena
less the threshold of dirty pages at which vCPUs exit.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

SHRINK_DIVISOR: Final = 10


class Verdict(enum.Enum):
    """What to do after a slice."""

    CONTINUE = "continue"
    THROTTLE = "throttle"
    SEAL = "seal"


@dataclass(frozen=True)
class Decision:
    """``limit_pages`` goes into the next call; while throttled it is also where the guest may run again."""

    verdict: Verdict
    limit_pages: int


def after_slice(*, limit_pages: int, pending_pages: int, sent_pages: int, capacity_pages: int) -> Decision:
    """Decide after a slice of ``sent_pages``. Raises ValueError for a slice that sent nothing though pages
    are pending."""
    if capacity_pages < 1 or limit_pages < 0 or pending_pages < 0 or sent_pages < 0:
        raise ValueError("page counts may not be negative, and the capacity not zero")
    if pending_pages <= capacity_pages:
        return Decision(Verdict.SEAL, capacity_pages)
    if sent_pages == 0:
        raise ValueError(
            f"a slice sent nothing with {pending_pages} pages pending: nothing would ever converge"
        )
    shrink = (sent_pages + SHRINK_DIVISOR - 1) // SHRINK_DIVISOR
    allowed = max(capacity_pages, limit_pages - shrink)
    if pending_pages > allowed:
        return Decision(Verdict.THROTTLE, allowed)
    return Decision(Verdict.CONTINUE, pending_pages)


def sent_pages_max(memory_pages: int, capacity_pages: int) -> int:
    """Most pages that a synchronisation sends before it seals, whatever the guest does."""
    return SHRINK_DIVISOR * max(0, memory_pages - capacity_pages) + capacity_pages + memory_pages
