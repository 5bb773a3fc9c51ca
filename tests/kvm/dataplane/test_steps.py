"""Checkpoints by hand, for a machine whose state comes from somewhere else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ftd.dataplane.core import Machine
from ftd.dataplane.errors import DataplaneError
from tests.kvm.dataplane.pairs import (
    COUNTERS_ADDRESS,
    PAGE_BYTES,
    Pair,
    Setup,
    differing_pages,
    protected,
    rounds_of,
    wait_until,
)
from tests.kvm.trackers import needs

TOUCHED_FROM = 4 << 20
TOUCHED_PAGES = 30


@pytest.mark.parametrize("vcpus", [1, 2])
@pytest.mark.parametrize(
    ("tracker", "hot"),
    [
        pytest.param(tracker, hot, marks=needs(tracker))
        for tracker, hot in (("mt", 0), ("mt", 20), ("ring", 0), ("bitmap", 0), ("bitmap", 20))
    ],
)
def test_each_step_by_hand(tracker: str, hot: int, vcpus: int) -> None:
    setup = Setup(tracker=tracker, hot_pages_max=hot, vcpus=vcpus, rate_hz=0)
    args = [TOUCHED_PAGES, 100, TOUCHED_PAGES, TOUCHED_FROM]
    touched = {TOUCHED_FROM // PAGE_BYTES + page for page in range(vcpus * TOUCHED_PAGES)} | {
        COUNTERS_ADDRESS // PAGE_BYTES
    }
    with protected(setup, setup.booted("toucher", args)) as pair:
        machine = pair.active
        for epoch in range(2, 12):
            # Two rounds at least: the one in which the vCPU was stopped had begun before.
            wait_until(
                partial(all_went_on, machine, [was + 1 for was in rounds_of(machine)]), "all was touched"
            )
            machine.pause()
            gfns = pair.primary.harvest()
            assert touched <= set(gfns)
            pair.primary.copy()
            blob = bytes([epoch]) * (1000 * epoch)
            assert pair.primary.seal(blob) == epoch
            wait_until(partial(is_committed, pair, epoch), f"epoch {epoch}")
            assert differing_pages(machine, pair.passive) == []
            machine.resume()
        pair.standby.stop()
        assert pair.standby.state() == blob


def test_steps_out_of_order_are_refused() -> None:
    """Each would lose pages silently."""
    setup = Setup(rate_hz=0)
    with protected(setup, setup.booted("toucher", [5, 100])) as pair:
        pair.active.pause()
        steps: dict[str, Callable[[], object]] = {
            "harvest": pair.primary.harvest,
            "copy": pair.primary.copy,
            "seal": lambda: pair.primary.seal(b"state"),
        }
        for epoch in (2, 3):
            for due, make_step in steps.items():
                for other in steps.keys() - {due}:
                    with pytest.raises(DataplaneError, match=f"the next step is to {due}, not to {other}"):
                        steps[other]()
                if due == "seal":
                    with pytest.raises(DataplaneError, match="more than the limit"):
                        pair.primary.seal(bytes((1 << 20) + 1))
                made = make_step()
            assert made == epoch
            wait_until(partial(is_committed, pair, epoch), f"epoch {epoch}")
            assert differing_pages(pair.active, pair.passive) == []
            pair.active.resume()
            pair.active.pause()


def is_committed(pair: Pair, epoch: int) -> bool:
    return pair.standby.epoch == epoch


def all_went_on(machine: Machine, since: list[int]) -> bool:
    return all(now > was for now, was in zip(rounds_of(machine), since, strict=True))


def test_a_paced_cycle_takes_no_steps() -> None:
    setup = Setup()
    with (
        protected(setup, setup.booted("toucher", [5, 100])) as pair,
        pytest.raises(DataplaneError, match="not paced by hand"),
    ):
        pair.primary.harvest()
