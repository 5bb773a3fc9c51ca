"""`python -m tests.sim`: runs seeds, prints the events of one that fails."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from functools import partial

from tests.sim.mutants import MUTANTS, plant
from tests.sim.run import Outcome, run_seed

SEEDS_SHOWN = 20


def _seeds(text: str) -> range:
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last) + 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not A..B, two numbers") from error


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, metavar="N", help="one run; its events are printed")
    which.add_argument(
        "--seeds", type=_seeds, default=range(1000), metavar="A..B", help="runs A to B (default 0..999)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes at once (default 1)")
    parser.add_argument(
        "--mutant", choices=sorted(MUTANTS), metavar="NAME", help="plant a fault, one of: %(choices)s"
    )
    parser.add_argument("--detailed", action="store_true", help="print each epoch and output as well")
    return parser.parse_args()


def _outcomes(seeds: range, mutant: str | None, jobs: int) -> Iterator[Outcome]:
    run = partial(_run_planted, mutant=mutant)
    if jobs == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds, chunksize=20)


def _run_planted(seed: int, mutant: str | None) -> Outcome:
    with plant(mutant):
        return run_seed(seed)


def main() -> int:
    """Exit code: 0 all promises held, 1 one was broken."""
    arguments = _parse()
    if arguments.seed is not None:
        with plant(arguments.mutant):
            outcome = run_seed(arguments.seed, detailed=arguments.detailed, keep_events=True)
        print(outcome.report(arguments.mutant))
        return int(outcome.failed)
    began, failed, run = time.monotonic(), [], 0
    for outcome in _outcomes(arguments.seeds, arguments.mutant, arguments.jobs):
        run += 1
        if outcome.failed:
            failed.append(outcome.seed)
            if len(failed) == 1:
                print(outcome.report(arguments.mutant))
    seconds = time.monotonic() - began
    which = f": {sorted(failed)[:SEEDS_SHOWN]}" if failed else ""
    print(f"{run} seeds in {seconds:.0f} s, {len(failed)} failed{which}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
