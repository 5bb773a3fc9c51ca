"""Verdicts on memory tracking, from the samples of a boot."""

import json
from collections.abc import Iterator

import pytest

from bench.kernel.figures import (
    THREADS_PAGES,
    Rounds,
    cold,
    faults,
    harvest,
    hot_set,
    overshoot,
    rounds_of,
    threads,
)
from bench.kernel.medians import METHODS, medians
from bench.kernel.samples import Cycle, Host, HotSet, Overshoot, parse, record
from bench.model import NotMeasuredError, Row


def cycle(
    method: str,
    total_us: float,
    *,
    turn: int = 1,
    memory_mib: int = 1024,
    pages: int = 1000,
    vcpus: int = 1,
    pattern: str = "sequential",
    guest_us: float = 1000,
    is_cold: bool = False,
) -> Cycle:
    return Cycle(
        round=turn,
        vcpus=vcpus,
        memory_mib=memory_mib,
        pattern=pattern,
        pages=pages,
        method=method,
        cold=is_cold,
        guest_ns=round(guest_us * 1000),
        harvest_ns=0,
        total_ns=round(total_us * 1000),
        listed=pages,
    )


def one_round(turn: int = 1, /, *, slowdown: float = 1, **totals_us: float) -> Iterator[Cycle]:
    for method, total_us in totals_us.items():
        yield cycle(method.replace("_", "-"), total_us * slowdown, turn=turn)


def row_named(rows: Iterator[Row], start: str) -> Row:
    found = [row for row in rows if row.figure.startswith(start)]
    assert len(found) == 1, [row.figure for row in found]
    return found[0]


def everything(**changed: float) -> Rounds:
    totals = {"ring": 100.0, "bitmap": 200.0, "bitmap_manual": 150.0, "mt": 80.0} | changed
    return rounds_of(one_round(**totals))


def test_ratio_is_taken_round_by_round() -> None:
    # The host became ten times slower half-way.
    cycles = [
        *one_round(1, ring=100, mt=50),
        *one_round(2, ring=100, mt=50, slowdown=10),
        *one_round(3, ring=100, mt=90, slowdown=10),
    ]
    assert row_named(harvest(rounds_of(cycles)), "MT to ring").ratio == 0.5


def test_worst_pattern_and_vcpu_count_decides() -> None:
    cycles = [
        cycle("ring", 100),
        cycle("mt", 50),
        cycle("ring", 100, vcpus=2, pattern="scattered"),
        cycle("mt", 81, vcpus=2, pattern="scattered"),
    ]
    found = row_named(harvest(rounds_of(cycles)), "MT to ring")
    assert found.passed is False
    assert "2 vCPUs scattered" in found.figure
    assert (found.product, found.reference) == (81, 100)


@pytest.mark.parametrize(("mt", "met"), [(80, True), (81, False)])
def test_few_pages_against_the_ring(mt: float, met: bool) -> None:
    assert row_named(harvest(everything(mt=mt)), "MT to ring").passed is met


@pytest.mark.parametrize(("name", "mt", "met"), [("bitmap,", 120, True), ("bitmap-manual", 91, False)])
def test_few_pages_against_both_bitmaps(name: str, mt: float, met: bool) -> None:
    assert row_named(harvest(everything(mt=mt)), f"MT to {name}").passed is met


def test_bitmap_of_small_memory_is_shown_but_not_judged() -> None:
    cycles = [cycle("mt", 300, memory_mib=64), cycle("bitmap", 100, memory_mib=64)]
    shown = [row for row in harvest(rounds_of(cycles)) if row.figure.startswith("MT to bitmap, 64 MiB")]
    assert [row.passed for row in shown] == [None]


@pytest.mark.parametrize(("mt", "met"), [(100, True), (101, False)])
def test_many_pages_against_the_best_other_of_each_round(mt: float, met: bool) -> None:
    cycles = [
        cycle(method, total, pages=60_000)
        for method, total in {"ring": 300.0, "bitmap": 200.0, "bitmap-manual": 100.0, "mt": mt}.items()
    ]
    assert row_named(harvest(rounds_of(cycles)), "MT to the best other").passed is met


@pytest.mark.parametrize(("large", "met"), [(130, True), (131, False)])
def test_flat_over_memory_sizes(large: float, met: bool) -> None:
    cycles = [cycle("mt", 100, memory_mib=64), cycle("mt", large, memory_mib=4096)]
    assert row_named(harvest(rounds_of(cycles)), "MT, dearest").passed is met


@pytest.mark.parametrize(("two", "met"), [(100, True), (101, False)])
def test_two_threads(two: float, met: bool) -> None:
    cycles = [cycle("mt", 160, pages=THREADS_PAGES), cycle("mt-2t", two, pages=THREADS_PAGES)]
    assert row_named(threads(rounds_of(cycles)), "MT, two threads").passed is met


def test_pages_of_the_second_thread_are_in_no_other_row() -> None:
    cycles = [cycle(name, 100, pages=THREADS_PAGES) for name in METHODS]
    found = [row.figure for row in harvest(rounds_of(cycles)) if row.product is not None]
    assert found == []


@pytest.mark.parametrize(("mt", "met"), [(1000, True), (1001, False)])
def test_fault_is_the_guests_time_for_a_page(mt: float, met: bool) -> None:
    cycles = [cycle("ring", 1, guest_us=1000), cycle("mt", 1, guest_us=mt)]
    found = row_named(faults(rounds_of(cycles)), "guest's write fault")
    assert found.reference == 1.0
    assert found.passed is met


def test_fault_of_few_pages_does_not_count() -> None:
    cycles = [cycle("ring", 1, pages=100), cycle("mt", 1, pages=100, guest_us=9)]
    assert row_named(faults(rounds_of(cycles)), "guest's write fault").passed is False


@pytest.mark.parametrize(("over", "met"), [(2, True), (3, False)])
def test_overshoot_is_at_most_one_a_vcpu(over: int, met: bool) -> None:
    samples = [Overshoot(vcpus=2, threshold=500, rounds=10, over_max=over)]
    assert row_named(overshoot(samples), "threshold overshoot").passed is met


def test_hot_set_is_compared_turn_by_turn() -> None:
    def sample(turn: int, method: str, rounds: int) -> HotSet:
        return HotSet(
            turn=turn,
            method=method,
            pages=100,
            rate=100,
            seconds=2,
            checkpoints=200,
            guest_rounds=rounds,
            pause_ns=1,
        )

    samples = [sample(0, "ring", 10), sample(0, "mt-hot", 50), sample(1, "ring", 100), sample(1, "mt", 1)]
    found = row_named(hot_set(samples), "guest rounds")
    assert (found.product, found.reference, found.ratio) == (25, 5, 5)


@pytest.mark.parametrize("rows", [harvest, threads, faults])
def test_nothing_measured_meets_no_target(rows: object) -> None:
    assert callable(rows)
    judged = [row for row in rows({}) if row.target]
    assert all(row.passed is False for row in judged)


def test_cold_cycles_are_shown_apart_and_not_judged() -> None:
    cycles = [
        *(cycle(method, 100) for method in ("ring", "mt")),
        cycle("ring", 100, is_cold=True),
        cycle("mt", 200, is_cold=True),
    ]
    assert row_named(harvest(rounds_of(cycles)), "MT to ring").ratio == 1
    [shown] = cold(rounds_of(cycles, cold=True))
    assert (shown.ratio, shown.passed) == (2, None)
    assert "cold" in shown.figure


def test_medians_leave_out_what_did_not_run() -> None:
    cycles = [*one_round(1, ring=3), *one_round(2, ring=5), *one_round(3, ring=4)]
    [(_, values)] = medians(rounds_of(cycles))
    assert values == [4, None, None, None, None, None]


def test_lines_are_read_and_recorded() -> None:
    host = {
        "kind": "host",
        "release": "6.12",
        "processor": "emulated",
        "processors": 2,
        "memory_mib": 6000,
        "max_gfns": 1,
    }
    [sample] = parse([json.dumps(host), "", "  "])
    assert isinstance(sample, Host)
    assert sample.described()["kernel"] == "6.12"
    assert record(sample).gave == host
    assert record(cycle("mt", 1)).side == "mt"


@pytest.mark.parametrize(
    "line", ["mt_bench: KVM_RUN: Bad address", '{"kind": "host"}', '{"kind": "no"}', '{"kind": "overshoot"']
)
def test_other_lines_are_refused_and_quoted(line: str) -> None:
    with pytest.raises(NotMeasuredError) as caught:
        parse([line])
    assert line in str(caught.value)
