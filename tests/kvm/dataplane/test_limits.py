"""Epochs are bounded, the first synchronisation ends, and a slow standby slows the guest down."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from ftd.dataplane.errors import DataplaneError
from ftd.dataplane.events import EventKind, LostReason
from tests.kvm import trackers
from tests.kvm.dataplane.pairs import MIB, Pair, Setup, assert_goes_on, protected, rounds_of, wait_until
from tests.kvm.dataplane.relay import Relay, tcp_pair
from tests.kvm.dataplane.scenarios import assert_same_memory

LIST_PAGES = 1024
"""Smallest ring that the data plane makes (vm.c), and the arena of these tests: the threshold of one vCPU."""
SAMPLES = 100
SAMPLE_S = 0.003


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    "tracker", [pytest.param(name, marks=trackers.needs(name)) for name in ("mt", "ring")]
)
def test_a_full_list_seals_the_epoch(tracker: str) -> None:
    setup = Setup(tracker=tracker, epoch_pages_max=LIST_PAGES, parts_max=2, rate_hz=2)
    with protected(setup, setup.booted("toucher", [3000, 0, 3000, 0, 1])) as pair:
        machine = pair.active
        epochs, pages = machine.counter("epochs_sealed"), machine.counter("pages")
        pair.wait_for_epochs(8)
        sealed = machine.counter("epochs_sealed") - epochs
        assert machine.counter("threshold_exits") > 0
        # One more than were counted: pages and epochs are not read at one instant.
        assert machine.counter("pages") - pages <= (sealed + 1) * LIST_PAGES
        pair.drain()
        assert_same_memory(pair)
        moved = pair.activate()
        assert_goes_on(moved)
        moved.close()


@pytest.mark.parametrize("vcpus", [1, 2])
def test_an_epoch_of_several_arenas(vcpus: int) -> None:
    setup = Setup(vcpus=vcpus, epoch_pages_max=64, parts_max=64, rate_hz=20)
    with protected(setup, setup.booted("toucher", [500, 0, 500, 0, 1])) as pair:
        wait_until(lambda: pair.active.counter("parts") >= 20, "parts were sent")
        pair.drain()
        assert_same_memory(pair)
        moved = pair.activate()
        assert_goes_on(moved)
        moved.close()


@trackers.needs("mt")
@pytest.mark.parametrize("vcpus", [1, 2, 4])
@pytest.mark.parametrize(("parts", "hot"), [(1, 0), (1, 64), (4, 64)])
def test_the_threshold_keeps_every_epoch_within_its_parts(parts: int, hot: int, vcpus: int) -> None:
    """With `bitmap` the same guest's protection would end at once (below)."""
    setup = Setup(
        tracker="mt", vcpus=vcpus, hot_pages_max=hot, epoch_pages_max=64, parts_max=parts, rate_hz=5
    )
    with protected(setup, setup.booted("toucher", [400, 0, 400, 0, 1])) as pair:
        pair.wait_for_epochs(50)
        assert pair.active.counter("threshold_exits") > 0
        pair.drain()
        assert_same_memory(pair)
        moved = pair.activate()
        assert_goes_on(moved)
        moved.close()


@pytest.mark.parametrize("pages", [400, 3000], ids=["a little", "far"])
def test_an_epoch_beyond_all_parts_ends_protection(pages: int) -> None:
    setup = Setup(epoch_pages_max=64, parts_max=4, rate_hz=5)
    with protected(setup, setup.booted("toucher", [pages, 0, pages, 0, 1])) as pair:
        assert pair.wait_for(EventKind.PEER_LOST).reason == LostReason.OVERFLOW
        pair.end(release_output=True, resume_guest=True)
        assert_goes_on(pair.active)


@pytest.mark.parametrize("tracker", trackers.ALL)
def test_first_sync_converges_for_a_guest_faster_than_the_link(tracker: str) -> None:
    # The bitmap has no threshold: its epochs must have room for all that the guest writes.
    setup = Setup(tracker=tracker, memory_bytes=32 * MIB, parts_max=8, rate_hz=50)
    writer = setup.booted("toucher", [2500, 0, 2500, 0, 1])
    wait_until(lambda: rounds_of(writer)[0] >= 1, "the working set is there")
    with Relay(bytes_per_s=20 * MIB) as relay, protected(setup, writer, relay) as pair:
        assert writer.counter("sync_throttle_ns") > 0
        pair.wait_for_epochs(3)
        pair.drain()
        assert_same_memory(pair)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_standby_that_stops_reading_stops_the_guest(in_flight: int) -> None:
    # Pages enough that a few epochs fill every buffer on the way.
    setup = Setup(epochs_in_flight=in_flight, rate_hz=200)
    with Relay() as relay, protected(setup, setup.booted("toucher", [300, 0, 900, 0, 1]), relay) as pair:
        machine = pair.active
        pair.wait_for_epochs(20)
        relay.block()
        wait_until(
            lambda: machine.counter("epochs_sealed") - pair.primary.acked == in_flight, "all are in flight"
        )
        wait_until_still(pair)
        stalls, sealed, memory = machine.counter("stalls"), machine.counter("epochs_sealed"), resident_bytes()
        rounds = rounds_of(machine)
        for _ in range(SAMPLES):
            assert machine.counter("epochs_sealed") == sealed
            assert sealed - pair.primary.acked == in_flight
            time.sleep(SAMPLE_S)
        assert rounds_of(machine) == rounds
        assert resident_bytes() - memory < MIB
        relay.unblock()
        pair.wait_for_epochs(20)
        assert machine.counter("stalls") > stalls
        assert machine.counter("stall_ns") > SAMPLES * SAMPLE_S * 1e9
        assert_goes_on(machine)
        pair.drain()
        assert_same_memory(pair)


def wait_until_still(pair: Pair) -> None:
    """The guest waits for room: nothing of it moves while this thread sleeps a little."""

    def is_still() -> bool:
        before = bytes(pair.active.memory)
        time.sleep(0.02)
        return bytes(pair.active.memory) == before

    wait_until(is_still, "the guest waits")


def test_in_flight_is_bounded_at_any_time() -> None:
    setup = Setup(epochs_in_flight=3, rate_hz=2000)
    toucher = setup.booted("toucher", [40, 0, 400, 0, 1])
    with Relay(bytes_per_s=30 * MIB) as relay, protected(setup, toucher, relay) as pair:
        for _ in range(2000):
            sealed = pair.active.counter("epochs_sealed")  # first: acknowledgements only grow
            assert sealed - pair.primary.acked <= 3
        pair.wait_for_epochs(1)


def test_pair_needs_sane_limits() -> None:
    setup = Setup(epoch_pages_max=1024, epochs_in_flight=17)
    machine = setup.machine()
    fds = len(os.listdir("/proc/self/fd"))
    data, beats = tcp_pair(), tcp_pair()
    with pytest.raises(DataplaneError, match="1 to 16 epochs in flight"):
        machine.start_primary(setup.link(data[0], beats[0]), setup.cycle())
    for end in (*data, *beats):
        end.close()
    assert len(os.listdir("/proc/self/fd")) == fds
    machine.close()
