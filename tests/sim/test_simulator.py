"""Promises hold in a thousand runs, every planted fault is found, and a seed is one run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftd.replication.states import ActiveState, StandbyState
from tests.sim.mutants import MUTANTS, plant
from tests.sim.run import Outcome, run_seed
from tests.sim.world import World

SEEDS = 1000
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_promises_hold_in_a_thousand_runs() -> None:
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        failed = [outcome for outcome in pool.imap(run_seed, range(SEEDS), chunksize=20) if outcome.failed]
    assert not failed, failed[0].report()


def _first_failure(name: str) -> Outcome | None:
    with plant(name):
        outcomes = (run_seed(seed) for seed in range(SEEDS))
        return next((outcome for outcome in outcomes if outcome.failed), None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_planted_fault_is_found(name: str) -> None:
    found = _first_failure(name)
    assert found is not None, f"{name} ({MUTANTS[name].why}) was not found in {SEEDS} seeds"
    assert not run_seed(found.seed).failed, "the seed fails without the mutant"


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.seen_by_core])
def test_core_refuses_to_act_on_a_planted_fault(name: str) -> None:
    """The second net: with the cores' own checks on, a wrong table ends in an exception, not in an action."""
    with plant(name, core_checks=True):
        failures = (run_seed(seed).failure for seed in range(SEEDS))
        assert any(failure.startswith(("InvariantBroken", "LocalProtocolError")) for failure in failures)


def test_runs_reach_every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[object] = set()
    at_transition = World.at_transition

    def record(world: World, state: object) -> None:
        reached.add(state)
        at_transition(world, state)

    monkeypatch.setattr(World, "at_transition", record)
    for seed in range(SEEDS // 2):
        run_seed(seed)
    begun_in = {ActiveState.IDLE, ActiveState.UNCONFIRMED, StandbyState.STANDBY_SYNCING}
    assert {state.value for state in {*ActiveState, *StandbyState} - begun_in} <= reached


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_seed_replays_the_same_events(seed: int) -> None:
    once, again = (run_seed(seed, detailed=True, keep_events=True) for _ in range(2))
    assert once.events == again.events
    assert len(once.events) > 50


def test_seed_replays_in_another_process_with_another_hash_seed() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seed", "7", "--detailed"]
    outputs = {
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_failing_run_tells_its_events_the_seed_and_how_to_see_it_again() -> None:
    found = _first_failure("active-goes-on-though-it-lost")
    assert found is not None
    report = found.report("active-goes-on-though-it-lost")
    assert "guest starts in generation 1" in report
    assert f"python -m tests.sim --seed {found.seed} --mutant active-goes-on-though-it-lost" in report


def test_mutant_is_taken_out_again() -> None:
    failing = _first_failure("standby-activates-without-the-arbiter")
    assert failing is not None
    with contextlib.suppress(RuntimeError), plant("standby-activates-without-the-arbiter"):
        raise RuntimeError
    assert not run_seed(failing.seed).failed
