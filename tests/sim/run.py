"""Runs one seed."""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass, field

from tests.sim.checkers import PromiseBroken
from tests.sim.world import world_of

RUNS_PER_COLLECTION = 50


@dataclass(frozen=True)
class Outcome:
    """How a seed went."""

    seed: int
    failure: str = ""
    events: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """A promise was broken."""
        return bool(self.failure)

    def report(self, mutant: str | None = None) -> str:
        """The events, what was broken, and how to see it again."""
        again = f"python -m tests.sim --seed {self.seed}" + (f" --mutant {mutant}" if mutant else "")
        verdict = (
            f"seed {self.seed} FAILED: {self.failure}" if self.failed else f"seed {self.seed}: promises held"
        )
        return "\n".join([*self.events, verdict, f"replay: {again}"])


def run_seed(seed: int, *, detailed: bool = False, keep_events: bool = False) -> Outcome:
    """One run. Events are kept of runs that fail, and of others if asked for."""
    # Cycles of coroutines and sockets are many and die together: collecting amid a run only costs time.
    gc.disable()
    failure = ""
    with world_of(seed, detailed=detailed) as world:
        try:
            world.run()
        except PromiseBroken as error:
            failure = str(error)
        except Exception as error:  # the program, or a model of it, has failed: that is a finding too
            failure = f"{type(error).__name__}: {error}"
            world.timeline.note("world", "{}", traceback.format_exc())
        events = [*world.timeline.lines(), *world.describe()] if failure or keep_events else []
    if seed % RUNS_PER_COLLECTION == 0:
        gc.collect()
    return Outcome(seed, failure, events)
