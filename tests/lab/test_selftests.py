"""`make kernel-test`, one test a suite. What failed is named, with the end of its output."""

import pytest

from lab.kernel.modules import Modules
from lab.selftests import ours, suite
from lab.selftests.runner import Result, tail

pytestmark = pytest.mark.lab


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", suite.SUITES)
async def test_suite(modules: Modules, name: str) -> None:
    results = await suite.run_suite(modules.image, name, on_result=print)
    assert results
    _check(results)


@pytest.mark.long
@pytest.mark.timeout(3000)
async def test_half_an_hour_of_stress_loses_no_page(modules: Modules) -> None:
    results = await suite.run_suite(modules.image, suite.LONG, on_result=print)
    assert results
    _check(results)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", ours.mutants(), ids=lambda mutant: mutant.name)
async def test_a_planted_fault_is_seen(modules: Modules, mutant: ours.Mutant) -> None:
    seen, result = await suite.run_mutant(modules.image, mutant)
    assert seen, f"{mutant.run} did not say `{mutant.says}` although {mutant.name} is planted: {result}"


def _check(results: list[Result]) -> None:
    failed = [result for result in results if result.failed]
    told = "\n".join(f"{result}\n{tail(result.output)}" for result in failed)
    assert not failed, f"{len(failed)} of {len(results)} failed:\n{told}"
