"""Claims: same id until answered, retries that back off and do not march in step."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.replication.claim import RETRY_FIRST_MS, RETRY_MAX_MS, Claim, retry_after_ms


@given(st.integers(1, 10**9), st.integers())
def test_retries_stay_within_bounds_however_long_the_arbiter_is_away(failures: int, seed: int) -> None:
    assert RETRY_FIRST_MS // 2 <= retry_after_ms(failures, random.Random(seed)) <= RETRY_MAX_MS


def test_retries_double_up_to_the_maximum() -> None:
    class NoJitter(random.Random):
        def randint(self, a: int, b: int) -> int:
            return 0

    assert [retry_after_ms(n, NoJitter()) for n in range(1, 8)] == [100, 200, 400, 800, 1600, 2000, 2000]


def test_two_seeds_do_not_march_in_step() -> None:
    waits = [[retry_after_ms(n, jitter) for n in range(1, 9)] for jitter in map(random.Random, (1, 2))]
    assert waits[0] != waits[1]


def test_claim_is_asked_at_once_and_after_failures_later_with_the_same_id() -> None:
    claim = Claim(3, b"sixteen bytes id")
    jitter = random.Random(0)
    assert claim.ask(jitter).after_ms == 0
    again = claim.failed().ask(jitter)
    assert again.after_ms > 0
    assert (again.claim_id, again.expected_generation) == (claim.claim_id, 3)
    with pytest.raises(ValueError, match="16 bytes"):
        Claim(3, b"short")
