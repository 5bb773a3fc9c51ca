"""One claim of the next generation, repeated with the same id until the arbiter answers."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

from ftd.replication.actions import AskArbiter

RETRY_FIRST_MS: Final = 100
RETRY_MAX_MS: Final = 2_000
CLAIM_ID_BYTES: Final = 16


def retry_after_ms(failures: int, jitter: random.Random) -> int:
    """Wait before the next try after ``failures`` (at least 1) in a row: doubles up to the maximum; up to
    half of it is taken off at random, so that two copies that lost the arbiter together do not come back
    together."""
    # The exponent is bounded: an arbiter may be away for days.
    wait_ms = min(RETRY_FIRST_MS << min(failures - 1, 16), RETRY_MAX_MS)
    return wait_ms - jitter.randint(0, wait_ms // 2)


@dataclass(frozen=True)
class Claim:
    """A claim of ``expected_generation`` + 1 whose answer is not known."""

    expected_generation: int
    claim_id: bytes
    failures: int = 0

    def __post_init__(self) -> None:
        if len(self.claim_id) != CLAIM_ID_BYTES:
            raise ValueError(f"a claim id has {CLAIM_ID_BYTES} bytes, not {len(self.claim_id)}")

    def ask(self, jitter: random.Random) -> AskArbiter:
        """The question, now or, after failures, later."""
        after_ms = retry_after_ms(self.failures, jitter) if self.failures else 0
        return AskArbiter(self.expected_generation, self.claim_id, after_ms)

    def failed(self) -> Claim:
        """The same claim after one more failure to reach the arbiter."""
        return replace(self, failures=self.failures + 1)
