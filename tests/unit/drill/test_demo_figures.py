"""Which figures break a promise, and what the closing lines say."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ftd.drill.demo_figures import (
    Outcome,
    Step,
    broken_promises,
    closing_figures,
    latency,
    steps_of,
)
from tests.unit.drill.demo_outcomes import ACCOUNT, GOOD, PROTECTION, RATES, TAKEOVER


def test_nothing_is_broken_when_all_went_well() -> None:
    assert broken_promises(GOOD) == []


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (replace(GOOD, problem="beta did not start"), "beta did not start"),
        (replace(GOOD, protection=None), "never protected"),
        (replace(GOOD, takeover=None), "did not answer for the guest"),
        (replace(GOOD, takeover=replace(TAKEOVER, blackout_ms=None)), "did not answer for the guest"),
        (replace(GOOD, takeover=replace(TAKEOVER, generation=1)), "nothing was taken over"),
        (replace(GOOD, account=None), "not closed"),
        (replace(GOOD, account=replace(ACCOUNT, answered=4998)), "2 requests were never answered"),
        (replace(GOOD, account=replace(ACCOUNT, answered=0, asked=0)), "answered nothing"),
        (replace(GOOD, account=replace(ACCOUNT, breaches=("a page was lost",))), "a page was lost"),
        (replace(GOOD, account=replace(ACCOUNT, ledger=(5000, 0xBAD))), "the chain broke"),
        (replace(GOOD, account=replace(ACCOUNT, ledger=(4999, 0xFEED))), "the chain broke"),
        (replace(GOOD, account=replace(ACCOUNT, ledger=None)), "the chain broke"),
    ],
)
def test_each_breach_is_found_and_named(spoilt: Outcome, said: str) -> None:
    (sentence,) = broken_promises(spoilt)
    assert said in sentence


def test_an_early_end_is_told_once_but_a_breach_before_it_as_well() -> None:
    early = Outcome(problem="the guest is gone", account=replace(ACCOUNT, breaches=("order",)))
    assert [sentence.split(":")[0] for sentence in broken_promises(early)] == [
        "the guest is gone",
        "the chain broke",
    ]


@pytest.mark.parametrize(("rate", "held"), [(2490.0, True), (2489.9, False), (2600.0, True)])
def test_a_rate_that_was_not_held_is_said_but_breaks_nothing(rate: float, held: bool) -> None:
    protection = replace(PROTECTION, rates=replace(RATES, checkpoints_per_s=rate))
    outcome = replace(GOOD, protection=protection)
    assert broken_promises(outcome) == []
    assert ("NOT HELD" in dict(closing_figures(outcome))["acknowledged checkpoints a second"]) != held


def test_closing_figures() -> None:
    assert closing_figures(GOOD) == [
        ("acknowledged checkpoints a second", "2,499.0 (asked for 2,500, over 10.0 s)"),
        ("pause of the guest, p50 / p99", "40 / 90 µs"),
        ("seal to acknowledgement, p50 / p99", "150 / 1,234 µs"),
        ("dirty pages an epoch", "2.5"),
        ("blackout, as the client saw it", "73 ms"),
        ("requests answered", "5,000 of 5,000"),
        ("requests lost", "0"),
        ("requests repeated", "3 (asked again, found done, not done twice)"),
        ("chain", "5,000 requests end in 000000000000feed: as computed here"),
    ]


def test_closing_figures_of_what_was_not_reached() -> None:
    assert closing_figures(Outcome(problem="no")) == []
    unanswered = Outcome(takeover=replace(TAKEOVER, blackout_ms=None))
    assert closing_figures(unanswered) == [("blackout, as the client saw it", "no answer any more")]
    broken = Outcome(account=replace(ACCOUNT, ledger=None))
    assert dict(closing_figures(broken))["chain"].endswith("BROKEN")


def test_a_latency_that_nobody_counted() -> None:
    assert latency(replace(RATES.pause, p50_ns=None, p99_ns=None)) == "none counted"


LOG = """
{"event": "peer lost", "reason": "silent for 101 ms", "epoch": 3, "timestamp": "2026-01-02T03:04:04.000000Z"}
Traceback (most recent call last):
[1, 2]
{"event": "peer lost", "reason": "connection closed", "epoch": 9, "timestamp": "2026-01-02T03:04:05.012000Z"}
{"event": "state", "on": "PeerLost", "after": "failing_over", "timestamp": "2026-01-02T03:04:05.013000Z"}
{"event": "state", "on": "ClaimWon", "after": "simplex", "timestamp": "2026-01-02T03:04:05.020000Z"}
{"event": "activated", "generation": 7, "timestamp": "2026-01-02T03:04:05.031000Z"}
{"event": "activated"}
"""


def test_the_steps_of_a_takeover_are_read_from_the_log() -> None:
    steps = steps_of(LOG, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())
    assert [(round(step.after_kill_ms), step.text.split(":")[0]) for step in steps] == [
        (12, "beta notices"),
        (20, "beta wins the next generation from the arbiter"),
        (31, "the guest runs on beta, in generation 7"),
    ]
    assert isinstance(steps[0], Step)
    assert steps[0].text.endswith("connection closed")
    assert [step.is_last for step in steps] == [False, False, True]
