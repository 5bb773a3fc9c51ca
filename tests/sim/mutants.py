"""Planted faults: each breaks one rule, in the production code or in the models of the C code, at run time.

The cores' own checks are off for all of them: the simulator's checkers must not lean on those.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ftd.replication.active import ActiveCore
from ftd.replication.standby import StandbyCore
from tests.sim.model_mutants import MODEL_MUTANTS
from tests.sim.planting import Mutant, Planting
from tests.sim.production_mutants import PRODUCTION_MUTANTS
from tests.sim.protection_mutants import PROTECTION_MUTANTS

MUTANTS: dict[str, Mutant] = {**PRODUCTION_MUTANTS, **PROTECTION_MUTANTS, **MODEL_MUTANTS}


@contextlib.contextmanager
def plant(name: str | None, *, core_checks: bool = False) -> Iterator[None]:
    """With the mutant of that name; None: without any. Raises KeyError."""
    planting = Planting()
    try:
        if name is not None:
            for core in () if core_checks else (ActiveCore, StandbyCore):
                planting.attribute(core, "_check", lambda *_: None)
            MUTANTS[name].plant(planting)
        yield
    finally:
        planting.take_out()
