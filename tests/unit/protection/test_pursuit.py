"""When a VM is tried again, with which host, and what is said meanwhile."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.protection.pursuit import (
    AT_ONCE_PER_HOST,
    AWAY_FIRST_S,
    AWAY_MAX_S,
    REFUSED_MAX_S,
    Facts,
    Pursuits,
)

ALONE = Facts(candidates=("beta", "gamma"), runs_alone=True)
ONLY_BETA = Facts(candidates=("beta",), runs_alone=True)


@pytest.fixture
def pursuits() -> Pursuits:
    return Pursuits(random.Random(1))


def fail(pursuits: Pursuits, vm: str, host: str, now_s: float, *, away: bool, reason: str = "no") -> None:
    pursuits.begun(vm, host)
    pursuits.failed(vm, reason, now_s, away=away)


def test_the_first_host_is_tried_at_once(pursuits: Pursuits) -> None:
    assert pursuits.next_host("web", ALONE, 0) == "beta"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(("beta",), runs_alone=False), ""),
        (Facts(("beta",), runs_alone=True, busy=True), "the command that is under way"),
        (Facts(("beta",), runs_alone=True, kept_off=frozenset({"beta"})), "beta: in maintenance"),
        (Facts((), runs_alone=True), "a host that may have the standby: name one in `peers` of its file"),
    ],
)
def test_nothing_is_begun(pursuits: Pursuits, facts: Facts, said: str) -> None:
    assert pursuits.next_host("web", facts, 0) is None
    assert pursuits.waits_for("web", facts) == said


def test_one_try_at_a_time(pursuits: Pursuits) -> None:
    pursuits.begun("web", "beta")
    assert pursuits.next_host("web", ALONE, 0) is None
    assert pursuits.waits_for("web", ALONE) == "beta is being asked for a standby"


def test_another_host_takes_the_place_of_one_that_is_away(pursuits: Pursuits) -> None:
    fail(pursuits, "web", "beta", 0, away=True)
    assert pursuits.next_host("web", ALONE, 0) == "gamma"
    fail(pursuits, "web", "gamma", 0, away=False, reason="too little memory")
    assert pursuits.next_host("web", ALONE, 0) is None
    assert pursuits.waits_for("web", ALONE) == "beta: no; gamma: too little memory"


def test_a_host_that_is_away_is_looked_after_by_one_vm(pursuits: Pursuits) -> None:
    fail(pursuits, "web", "beta", 0, away=True)
    assert pursuits.next_host("db", ONLY_BETA, 0.01) is None, "what one VM has learnt holds for all"
    assert pursuits.next_host("db", ONLY_BETA, AWAY_MAX_S) == "beta"
    pursuits.begun("db", "beta")
    assert pursuits.next_host("web", ONLY_BETA, AWAY_MAX_S) is None
    pursuits.succeeded("db")
    assert pursuits.next_host("web", ONLY_BETA, AWAY_MAX_S) == "beta", "it is back"


def test_a_few_first_synchronisations_at_once(pursuits: Pursuits) -> None:
    for number in range(AT_ONCE_PER_HOST):
        pursuits.begun(f"vm{number}", "beta")
    assert pursuits.next_host("web", ONLY_BETA, 0) is None
    assert pursuits.waits_for("web", ONLY_BETA) == "beta: receives vm0 and vm1 first"
    pursuits.succeeded("vm0")
    assert pursuits.next_host("web", ONLY_BETA, 0) == "beta"


def test_what_a_host_said_before_it_was_away_counts_no_more(pursuits: Pursuits) -> None:
    for _ in range(6):
        fail(pursuits, "web", "beta", 0, away=False)
    assert pursuits.next_host("web", ONLY_BETA, 2) is None
    fail(pursuits, "db", "beta", 2, away=True)
    fail(pursuits, "db", "beta", 2, away=False)
    assert pursuits.next_host("web", ONLY_BETA, 2) == "beta"


def test_a_refusal_concerns_one_vm(pursuits: Pursuits) -> None:
    fail(pursuits, "web", "beta", 0, away=False)
    assert pursuits.next_host("web", ONLY_BETA, 0) is None
    assert pursuits.next_host("db", ONLY_BETA, 0) == "beta"


def test_a_try_that_is_given_up_says_nothing_about_the_host(pursuits: Pursuits) -> None:
    pursuits.begun("web", "beta")
    pursuits.given_up("web")
    assert pursuits.next_host("web", ONLY_BETA, 0) == "beta"


def test_a_vm_that_was_protected_meanwhile_begins_anew(pursuits: Pursuits) -> None:
    for _ in range(6):
        fail(pursuits, "web", "beta", 0, away=False)
    pursuits.forget("web")
    assert pursuits.next_host("web", ONLY_BETA, 0) == "beta"


@given(st.integers(0, 999), st.booleans(), st.integers(1, 200))
def test_waits_are_bounded_on_both_sides(seed: int, away: bool, failures: int) -> None:
    """However long it goes on: never at once, never later than the bound."""
    pursuits = Pursuits(random.Random(seed))
    max_s = AWAY_MAX_S if away else REFUSED_MAX_S
    for _ in range(failures):
        fail(pursuits, "web", "beta", 0, away=away)
    assert pursuits.next_host("web", ONLY_BETA, AWAY_FIRST_S / 2 - 0.001) is None
    assert pursuits.next_host("web", ONLY_BETA, max_s) == "beta"


def test_two_hosts_that_failed_together_do_not_come_back_together() -> None:
    def comes_back_s(seed: int) -> float:
        pursuits = Pursuits(random.Random(seed))
        for _ in range(5):
            fail(pursuits, "web", "beta", 0, away=True)
        return next(ms / 1000 for ms in range(2000) if pursuits.next_host("web", ONLY_BETA, ms / 1000))

    assert len({comes_back_s(seed) for seed in range(20)}) > 10
