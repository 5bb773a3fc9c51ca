"""Convergence of the first synchronisation, against guests that do their worst."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.replication.first_sync import Decision, Verdict, after_slice, sent_pages_max

Writer = st.lists(st.integers(0, 400), min_size=1, max_size=50)


class Simulation:
    """Counts pages. The guest dirties what it likes, up to all of its memory, unless it waits."""

    def __init__(self, memory_pages: int, capacity_pages: int) -> None:
        self.memory = memory_pages
        self.capacity = capacity_pages
        self.pending = memory_pages
        self.decision = Decision(Verdict.CONTINUE, memory_pages)
        self.sent = 0
        self.dirtied_while_free = 0
        self.slices = 0

    def slice(self, wants_to_dirty: int) -> None:
        sent = min(self.pending, self.capacity)
        self.pending -= sent
        self.sent += sent
        self.slices += 1
        if self.decision.verdict is not Verdict.THROTTLE:
            dirtied = min(wants_to_dirty, self.memory - self.pending)
            self.pending += dirtied
            self.dirtied_while_free += dirtied
        self.decision = after_slice(
            limit_pages=self.decision.limit_pages,
            pending_pages=self.pending,
            sent_pages=sent,
            capacity_pages=self.capacity,
        )


def run(simulation: Simulation, writes: list[int]) -> None:
    while simulation.decision.verdict is not Verdict.SEAL:
        simulation.slice(writes[simulation.slices % len(writes)])
        assert simulation.sent <= sent_pages_max(simulation.memory, simulation.capacity)


@given(st.integers(1, 3000), st.integers(1, 200), Writer)
def test_it_ends_within_its_bound_whatever_the_guest_does(
    memory: int, capacity: int, writes: list[int]
) -> None:
    simulation = Simulation(memory, capacity)
    run(simulation, writes)
    assert simulation.pending <= capacity


@given(st.integers(1, 3000), st.integers(1, 200))
def test_it_ends_when_the_guest_rewrites_all_memory_in_every_slice(memory: int, capacity: int) -> None:
    run(Simulation(memory, capacity), [memory])


@given(st.integers(100, 3000), st.integers(20, 200))
def test_guest_that_dirties_less_than_nine_tenths_of_the_link_never_waits(memory: int, capacity: int) -> None:
    simulation = Simulation(memory, capacity)
    while simulation.decision.verdict is not Verdict.SEAL:
        simulation.slice(capacity * 8 // 10)
        assert simulation.decision.verdict is not Verdict.THROTTLE


@pytest.mark.parametrize("dirtied_per_slice", [950, 1_100, 2_000, 10_000, 100_000])
def test_guest_that_writes_faster_than_the_link_gets_at_least_half_of_it(dirtied_per_slice: int) -> None:
    simulation = Simulation(100_000, 1_000)
    run(simulation, [dirtied_per_slice])
    assert simulation.dirtied_while_free > 0.5 * (simulation.sent - simulation.memory)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 200))
def test_one_decision(limit: int, pending: int, sent: int, capacity: int) -> None:
    decision = after_slice(limit_pages=limit, pending_pages=pending, sent_pages=sent, capacity_pages=capacity)
    assert (decision.verdict is Verdict.SEAL) == (pending <= capacity)
    assert decision.limit_pages <= max(limit, capacity)
    if decision.verdict is Verdict.THROTTLE:
        assert pending > decision.limit_pages >= capacity
    if limit > capacity:
        assert decision.limit_pages < limit


def test_formula_by_example() -> None:
    # The data plane has the same four rows in its own tests.
    def decide(limit: int, pending: int, sent: int) -> Decision:
        return after_slice(limit_pages=limit, pending_pages=pending, sent_pages=sent, capacity_pages=100)

    assert decide(10_000, 9_900, 100) == Decision(Verdict.CONTINUE, 9_900)
    assert decide(10_000, 9_990, 95) == Decision(Verdict.CONTINUE, 9_990)
    assert decide(10_000, 9_991, 95) == Decision(Verdict.THROTTLE, 9_990)
    assert decide(10_000, 100, 95) == Decision(Verdict.SEAL, 100)


def test_slice_that_sends_nothing_is_a_fault() -> None:
    with pytest.raises(ValueError, match="sent nothing"):
        after_slice(limit_pages=10, pending_pages=5, sent_pages=0, capacity_pages=1)
    with pytest.raises(ValueError, match="negative"):
        after_slice(limit_pages=10, pending_pages=-1, sent_pages=1, capacity_pages=1)
