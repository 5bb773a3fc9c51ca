"""How protection ends, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from ftd.dataplane.events import EventKind, LostReason
from tests.kvm import trackers
from tests.kvm.dataplane.pairs import Pair, Setup, assert_goes_on, protected, rounds_of, wait_until
from tests.kvm.dataplane.relay import tcp_pair
from tests.kvm.dataplane.scenarios import ask, console_of

TOUCHER = [10, 100, 30, 0, 1]
CYCLES = 20
NATIVE_THREADS = {"vcpu", "io", "heartbeat", "sender", "receiver"}


def threads() -> list[str]:
    """Names of the data plane's threads in this process."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # ended meanwhile
            names.append((task / "comm").read_text().strip())
    return sorted(name for name in names if name in NATIVE_THREADS)


def open_things() -> tuple[int, list[str]]:
    """File descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threads()


def open_at_first() -> tuple[int, list[str]]:
    """The same, of a test that has not begun: a joined thread may be seen for a moment after its end."""
    wait_until(lambda: not threads(), "the threads of other tests are gone")
    return open_things()


@pytest.mark.parametrize("resume_guest", [True, False])
@pytest.mark.parametrize("release_output", [True, False])
def test_end_of_a_drained_pair(release_output: bool, resume_guest: bool) -> None:
    setup = Setup(vcpus=2)
    with protected(setup, setup.booted("toucher", TOUCHER)) as pair:
        pair.wait_for_epochs(5)
        pair.drain()
        rounds = rounds_of(pair.active)
        pair.end(release_output=release_output, resume_guest=resume_guest)
        if resume_guest:
            assert_goes_on(pair.active)
        else:
            assert rounds_of(pair.active) == rounds
            pair.active.resume()  # it can still be told to
            assert_goes_on(pair.active)


@pytest.mark.parametrize("resume_guest", [True, False])
def test_held_output_is_released_or_never(resume_guest: bool) -> None:
    """A pair that ends while the guest runs."""
    setup = Setup(rate_hz=200)
    for release_output in (True, False):
        with protected(setup, setup.booted("ledger")) as pair, console_of(pair.active) as client:
            assert ask(client, 1, "a").startswith("A 1 ")
            pair.end(release_output=release_output, resume_guest=resume_guest)
            if release_output:
                assert ask(client, 2, "b").startswith("A 2 ")
                continue
            produced, released = (
                pair.active.counter(f"output_bytes_{what}") for what in ("produced", "released")
            )
            client.sendall(b"R 2 b\n")
            wait_until(lambda: pair.active.counter("output_bytes_produced") > produced, "the guest answers")  # noqa: B023
            assert pair.active.counter("output_bytes_released") == released


@pytest.mark.parametrize("tracker", trackers.ALL)
def test_a_lost_standby_holds_the_guest_until_it_is_decided(tracker: str) -> None:
    setup = Setup(tracker=tracker, vcpus=2, hot_pages_max=16)
    with protected(setup, setup.booted("toucher", TOUCHER)) as pair:
        pair.wait_for_epochs(5)
        pair.standby.close()
        loss = pair.wait_for(EventKind.PEER_LOST)
        assert loss.reason in (LostReason.CLOSED, LostReason.RESET)
        assert loss.epoch > 0
        pair.active.pause()  # returns when the vCPUs stand; they stay there
        rounds = rounds_of(pair.active)
        pair.end(release_output=True, resume_guest=False)
        assert rounds_of(pair.active) == rounds
        pair.active.resume()
        assert_goes_on(pair.active)


def test_end_after_a_kill() -> None:
    setup = Setup(vcpus=2)
    with protected(setup, setup.booted("toucher", TOUCHER)) as pair:
        pair.active.kill()
        pair.end(release_output=False, resume_guest=False)
        assert pair.standby.epoch >= 1


def test_end_amid_the_first_synchronisation() -> None:
    """The standby is never told of a whole epoch: the guest was nobody else's."""
    setup = Setup(vcpus=2)
    open_at_first()
    machine = setup.booted("toucher", TOUCHER)
    before = open_things()
    data = tcp_pair()  # nobody reads at the other end
    beats = tcp_pair()
    primary = machine.start_primary(setup.link(data[0], beats[0]), setup.cycle())
    primary.end(release_output=True, resume_guest=True)
    for end in (data[1], beats[1]):
        end.close()
    wait_until(lambda: open_things() == before, "the threads are gone")
    assert_goes_on(machine)
    machine.close()


@pytest.mark.parametrize("tracker", trackers.ALL)
def test_twenty_pairs_leave_nothing_behind(tracker: str) -> None:
    setup = Setup(tracker=tracker, vcpus=2, hot_pages_max=16)
    at_first = open_at_first()
    machine = setup.booted("toucher", TOUCHER)
    running = open_things()
    for _ in range(CYCLES):
        pair = Pair(setup, machine, tcp_pair())
        pair.wait_for(EventKind.PROTECTED)
        pair.wait_for_epochs(3)
        pair.leave()
        pair.free_standby()
        wait_until(lambda: open_things() == running, f"{running} descriptors and threads")
    assert_goes_on(machine)
    machine.close()
    wait_until(lambda: open_things() == at_first, f"{at_first} descriptors and threads")
