"""The whole of the kernel tests, and the proof that they see what they are there to see."""

from collections.abc import Callable, Sequence
from typing import Final

from lab.errors import LabError
from lab.kernel import modules
from lab.kernel.image import Image
from lab.kernel.series import Variant
from lab.selftests import ours, run_list, upstream
from lab.selftests.run_list import Run
from lab.selftests.runner import Result, run_all

OURS: Final = "ours"
KERNELS: Final = "kernel"
DEBUG: Final = "debug"
LONG: Final = "long"
SUITES: Final = (OURS, DEBUG, KERNELS)
"""Those of `make kernel-test`."""
TRIES: Final = 3


async def run_suite(
    image: Image, suite: str, *, names: Sequence[str] = (), on_result: Callable[[Result], object]
) -> list[Result]:
    """Builds and runs one of SUITES, or LONG, or of it the runs whose names are given.

    Raises LabError when something does not build, MissingError for a package.
    """
    runs = {OURS: ours.RUNS, DEBUG: ours.DEBUG_RUNS, LONG: ours.LONG_RUNS}
    chosen = _chosen(upstream.RUNS if suite == KERNELS else run_list.read(runs[suite]), names)
    if not chosen:
        return []
    programs = upstream.build(image) if suite == KERNELS else ours.build(chosen)
    built = modules.build(image, Variant(debug=suite in (DEBUG, LONG)))
    return await run_all(built, chosen, programs, on_result=on_result)


async def run_mutant(image: Image, mutant: ours.Mutant) -> tuple[bool, Result]:
    """Runs, on modules with a planted fault, the test that must fail. Whether it saw the fault; the last run.

    Races are a matter of chance, and a guest that dies for another reason shows nothing: up to TRIES runs.
    Raises LabError when there is no such run.
    """
    chosen = _chosen(run_list.read(ours.MUTANT_RUNS), [mutant.run])
    if not chosen:
        raise LabError(
            f"{ours.MUTANTS} names {mutant.run} for {mutant.name}; {ours.MUTANT_RUNS} has no such run"
        )
    built = modules.build(image, Variant(debug=True, mutant=mutant.name))
    programs = ours.build(chosen)
    for _ in range(TRIES):
        results = await run_all(built, chosen, programs)
        result = next(result for result in results if result.run.name == mutant.run)
        if result.failed and mutant.says in result.reason:
            return True, result
    return False, result


def _chosen(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    return [run for run in runs if not names or run.name in names]
