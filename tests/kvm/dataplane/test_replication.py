"""The standby holds what the primary holds, and goes on from there: real KVM, every tracker."""

from __future__ import annotations

import dataclasses

import pytest

from tests.kvm.dataplane import scenarios
from tests.kvm.dataplane.pairs import Setup
from tests.kvm.trackers import needs

TRACKERS = {
    "mt": Setup(tracker="mt"),
    "mt with hot set": Setup(tracker="mt", hot_pages_max=64),
    "mt with a hot set too small": Setup(tracker="mt", hot_pages_max=5),
    "ring": Setup(tracker="ring"),
    "bitmap": Setup(tracker="bitmap"),
    "bitmap with hot set": Setup(tracker="bitmap", hot_pages_max=64),
    "bitmap with a hot set too small": Setup(tracker="bitmap", hot_pages_max=5),
}
SEEDS = {1: 11, 2: 12, 4: 14}


@pytest.fixture(params=[pytest.param(name, marks=needs(setup.tracker)) for name, setup in TRACKERS.items()])
def tracked(request: pytest.FixtureRequest) -> Setup:
    return TRACKERS[request.param]


@pytest.mark.parametrize("irqchip", [False, True], ids=["bare", "irqchip"])
@pytest.mark.parametrize("vcpus", [1, 2, 4])
def test_last_epoch_is_the_primary_byte_for_byte(tracked: Setup, vcpus: int, irqchip: bool) -> None:
    scenarios.switch_over(dataclasses.replace(tracked, vcpus=vcpus, irqchip=irqchip))


@pytest.mark.parametrize("irqchip", [False, True], ids=["bare", "irqchip"])
@pytest.mark.parametrize("vcpus", [1, 2, 4])
def test_a_kill_at_any_moment_loses_no_page(tracked: Setup, vcpus: int, irqchip: bool) -> None:
    scenarios.kill_at_random(dataclasses.replace(tracked, vcpus=vcpus, irqchip=irqchip), SEEDS[vcpus])


@pytest.mark.parametrize(
    ("there", "here"),
    [
        pytest.param(there, here, marks=[needs(there), needs(here)])
        for there, here in (("mt", "bitmap"), ("mt", "ring"), ("ring", "bitmap"))
    ],
)
def test_hosts_may_have_different_trackers(there: str, here: str) -> None:
    scenarios.move_between(Setup(tracker=there, hot_pages_max=64), Setup(tracker=here, hot_pages_max=64))


@pytest.mark.parametrize("vcpus", [1, 2])
def test_signals_at_any_moment_lose_no_page(tracked: Setup, vcpus: int) -> None:
    scenarios.switch_over_under_signals(dataclasses.replace(tracked, vcpus=vcpus))


@pytest.mark.parametrize("irqchip", [False, True], ids=["bare", "irqchip"])
def test_device_writes_are_replicated(tracked: Setup, irqchip: bool) -> None:
    scenarios.console_traffic(dataclasses.replace(tracked, irqchip=irqchip, rate_hz=1000))
