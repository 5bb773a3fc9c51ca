"""What a drill is held against: each check finds what it is there for."""

from typing import Any

import pytest

from ftd.drill.catalogue import Survivor
from ftd.drill.record import Record
from ftd.drill.verdict import figures_of, verdict_of
from tests.unit.drill.records import answers, change, record, sample


def not_kept(found: Record) -> list[str]:
    return [check.what for check in verdict_of(found).checks if not check.kept]


def test_a_drill_that_went_well() -> None:
    verdict = verdict_of(record())
    assert verdict.passed
    assert len(verdict.checks) == 7


def test_figures_of_a_takeover() -> None:
    figures = figures_of(record())
    assert figures.detection_ms == pytest.approx(510)
    assert figures.decision_ms == pytest.approx(30)
    assert figures.activation_ms == pytest.approx(80)
    assert figures.blackout_ms == pytest.approx(704)
    assert figures.protected_again_s == 8.0


def test_only_the_survivor_counts_and_only_after_the_fault() -> None:
    other = [change(-1, "beta", "ClaimWon", "a", "b"), change(0.1, "alpha", "loss seen", "a", "a")]
    figures = figures_of(record(changes=[*other, *record().changes]))
    assert figures.detection_ms == pytest.approx(510)
    assert figures.decision_ms == pytest.approx(30)


def test_a_planned_move_is_noticed_by_its_handover() -> None:
    changes = [
        change(0.08, "beta", "Handover", "standby", "taking_over"),
        change(0.09, "beta", "ClaimWon", "taking_over", "simplex"),
    ]
    figures = figures_of(record(changes=changes))
    assert figures.detection_ms == pytest.approx(80)
    assert figures.activation_ms is None


UNMOVED: dict[str, Any] = {
    **{"promised": Survivor.UNMOVED, "fault": "kill-daemon", "survivor": "alpha", "active_at_end": ["alpha"]},
    **{"generation_after": 1, "changes": [], "samples": [sample(-1, "alpha"), sample(-1, "beta")]},
}


def test_a_guest_that_nobody_was_to_move() -> None:
    held = [sample(-0.1, "alpha")]
    moved = {**UNMOVED, "samples": [type(held[0])(**{**fields_of(held[0]), "at_s": 1.0})]}
    assert verdict_of(record(**moved)).passed
    assert figures_of(record(**moved)).protected_again_s is None


def fields_of(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"problem": "nobody has taken the guest over"}, "the drill comes to its end"),
        ({"survivor": "alpha"}, "the guest goes on, on beta"),
        ({"survivor": None}, "the guest goes on, on beta"),
        ({"generation_after": 3}, "one generation is won"),
        ({"generation_after": None}, "one generation is won"),
        ({"active_at_end": ["alpha", "beta"]}, "one host runs the guest at the end"),
        ({"active_at_end": []}, "one host runs the guest at the end"),
        ({"answers": answers(lost=1)}, "no answer is lost"),
        ({"answers": answers(breaches=["the hash is not the chain's"])}, "nothing that was seen is undone"),
        ({"answers": answers(answered=0)}, "nothing that was seen is undone"),
        ({"answers": answers(longest_wait_s=1.6)}, "the observer waits for 1,500 ms at most"),
        ({"answers": answers(longest_wait_s=None)}, "the observer waits for 1,500 ms at most"),
        ({"protected_again_s": None}, "protected again within 60 s"),
        ({"protected_again_s": 61.0}, "protected again within 60 s"),
        ({**UNMOVED, "samples": [sample(0.1, "alpha")]}, "the guest stays protected"),
        ({**UNMOVED, "samples": []}, "the guest stays protected"),
    ],
)
def test_what_is_not_kept_is_found(changes: dict[str, Any], what: str) -> None:
    assert not_kept(record(**changes)) == [what]


def test_a_failover_without_a_cause_is_found() -> None:
    unmoved = {**UNMOVED, "generation_after": 2, "samples": [sample(0.1, "alpha")]}
    assert "no generation is won: no failover without a cause" in not_kept(record(**unmoved))


def test_either_host_may_survive_a_cut() -> None:
    for host in ("alpha", "beta"):
        assert not not_kept(record(promised=Survivor.EITHER, survivor=host, active_at_end=[host]))
