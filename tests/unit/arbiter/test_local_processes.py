"""The local arbiter between processes: races, and deaths at every step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ftd
from ftd.arbiter.contract import ArbiterUnreachable, Lost, Won
from ftd.arbiter.local import LocalArbiter

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
RACES = 200
STEPS = ["locked", "written", "synced", "renamed", "durable"]
CLAIMER = Path(__file__).with_name("claimer.py")
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, CLAIMER, tmp_path, VM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(ftd.__file__).parents[1])},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def order(process: subprocess.Popen[str], expected: int) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{expected}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def test_of_two_processes_exactly_one_wins_each_generation(spawn: Spawn) -> None:
    processes = {name: spawn(name) for name in ("alpha", "beta")}
    winners = set()
    for generation in range(1, RACES + 1):
        for name in sorted(processes, reverse=generation % 2 == 0):
            order(processes[name], generation - 1)
        answers = {name: answer(process) for name, process in processes.items()}
        (winner,) = [name for name, said in answers.items() if said.startswith("won")]
        (loser,) = processes.keys() - {winner}
        assert answers == {winner: f"won {generation} {winner}", loser: f"lost {generation} {winner}"}
        winners.add(winner)
    assert winners == {"alpha", "beta"}, "one process always won: this was no race"


@pytest.mark.parametrize("step", STEPS)
async def test_claimer_killed_at_a_step_leaves_a_record_that_answers(
    spawn: Spawn, tmp_path: Path, step: str
) -> None:
    arbiter = LocalArbiter(tmp_path)
    await arbiter.claim(VM, 0, "alpha", b"alpha claims it.")
    victim = spawn("beta", step)
    order(victim, 1)
    assert answer(victim) == ""
    assert victim.wait(timeout=10) == -signal.SIGKILL
    record = await arbiter.read(VM)
    assert record is not None
    beta_won = step in ("renamed", "durable")
    assert (record.generation, record.holder) == ((2, "beta") if beta_won else (1, "alpha"))
    # The lock died with its holder; whoever claims next gets a true answer at once.
    claimed = await arbiter.claim(VM, 1, "alpha", b"alpha once more.")
    assert isinstance(claimed, Lost if beta_won else Won)


@pytest.mark.parametrize("step", STEPS)
def test_claimer_that_died_and_repeats_its_claim_gets_the_true_answer(spawn: Spawn, step: str) -> None:
    victim = spawn("beta", step)
    order(victim, 0)
    victim.wait(timeout=10)
    again = spawn("beta")
    order(again, 0)
    assert answer(again) == "won 1 beta"


async def test_frozen_lock_holder_makes_the_arbiter_unreachable_in_time(spawn: Spawn, tmp_path: Path) -> None:
    frozen = spawn("beta", "locked", "SIGSTOP")
    order(frozen, 0)
    wait_until_stopped(frozen)
    began = time.monotonic()
    with pytest.raises(ArbiterUnreachable, match="lock was held by another process for 200 ms"):
        await LocalArbiter(tmp_path, lock_timeout_ms=200).claim(VM, 0, "alpha", b"alpha claims it.")
    assert 0.2 <= time.monotonic() - began < 20
    frozen.send_signal(signal.SIGCONT)
    assert answer(frozen) == "won 1 beta"
