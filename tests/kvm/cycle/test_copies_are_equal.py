"""Promise: what the standby has is the guest as it was at one instant, all of it, and it goes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from ftd.dataplane.core import Machine
from ftd.protocol.frames import PAGE_BYTES
from tests.kvm.cycle.machines import Joined, Setup, different_pages, joined, until
from tests.kvm.trackers import ALL, needs

EPOCHS = 200
ALL_PAGES = 512
"""Hot pages that all of the guest's fit."""
TRACKERS = [("mt", 0), ("mt", 16), ("mt", 512), ("ring", 0), ("bitmap", 0), ("bitmap", 16), ("bitmap", 512)]
SETUPS = [
    Setup(tracker=tracker, hot_pages_max=hot, vcpus=vcpus, irqchip=irqchip)
    for (tracker, hot), vcpus, irqchip in itertools.product(TRACKERS, (1, 2, 4), (False, True))
    # The irqchip only adds state: one tracker is enough for it.
    if not irqchip or tracker == "ring"
]


def name_of(setup: Setup) -> str:
    hot = f"-hot{setup.hot_pages_max}" if setup.hot_pages_max else ""
    return f"{setup.tracker}{hot}-{setup.vcpus}vcpu{'-irqchip' if setup.irqchip else ''}"


def params(setups: Iterable[Setup]) -> list[object]:
    return [pytest.param(setup, marks=needs(setup.tracker), id=name_of(setup)) for setup in setups]


def assert_lines_go(pair: Joined) -> None:
    """Of what the guest writes again and again, a word a page, much less than whole pages travels."""

    def sent() -> tuple[int, int]:
        return pair.active.counter("pages"), pair.active.counter("bytes")

    before = sent()
    pair.pass_epochs(20)
    pages, length = (now - then for now, then in zip(sent(), before, strict=True))
    assert pages > 20
    assert length < pages * PAGE_BYTES / 2


@pytest.mark.parametrize("setup", params(SETUPS))
def test_memory_is_equal_and_the_guest_goes_on(setup: Setup) -> None:
    with joined(setup) as pair:
        pair.protect()
        pair.pass_epochs(EPOCHS)
        if setup.hot_pages_max:
            until(lambda: pair.active.counter("hot_shipped") > 0, "pages became hot")
            if setup.hot_pages_max >= ALL_PAGES:
                assert_lines_go(pair)
        pair.drain()
        assert different_pages(pair.active, pair.waiting) == []
        stopped_at = pair.rounds(pair.active)
        pair.take_over()
        goes_on(pair.rounds, pair.waiting, stopped_at)
        assert pair.lost_pages(pair.waiting) == []


@pytest.mark.parametrize(
    "setup",
    params(
        [
            Setup(tracker="mt", hot_pages_max=64),
            Setup(tracker="ring"),
            Setup(tracker="bitmap", hot_pages_max=64),
        ]
    ),
)
def test_a_primary_that_ends_at_any_moment_leaves_a_guest_that_goes_on(setup: Setup) -> None:
    for epochs in (1, 7, 23, 50):
        with joined(setup) as pair:
            pair.protect()
            pair.pass_epochs(epochs)
            pair.take_over()
            goes_on(pair.rounds, pair.waiting, pair.rounds(pair.waiting))
            assert pair.lost_pages(pair.waiting) == []


@pytest.mark.parametrize("tracker", ALL)
def test_guest_memory_above_the_hole_is_copied_too(tracker: str) -> None:
    high = (3 << 30) + (8 << 20)
    setup = Setup(tracker=tracker, memory_mib=3200, args=(10, 100, 40, high, 1))
    with joined(setup) as pair:
        pair.protect()
        pair.pass_epochs(50)
        pair.drain()
        window = slice(high, high + (1 << 20))
        assert any(pair.active.memory[window])
        assert pair.active.memory[window] == pair.waiting.memory[window]


def goes_on(rounds, machine: Machine, since: list[int]) -> None:  # type: ignore[no-untyped-def]
    until(
        lambda: all(now > then for now, then in zip(rounds(machine), since, strict=True)), "all vCPUs go on"
    )
