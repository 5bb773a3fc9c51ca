"""`python -m lab test` and `python -m lab mutants`."""

import sys
from functools import partial

import click
import trio

from lab.errors import LabError
from lab.kernel import image
from lab.selftests import ours, suite
from lab.selftests.runner import Result, tail


@click.command()
@click.option(
    "--kernel", "release", metavar="RELEASE", help="e.g. 6.12.43+deb12-cloud-amd64; else the newest"
)
@click.option(
    "--suite",
    "suites",
    type=click.Choice([*suite.SUITES, suite.LONG]),
    multiple=True,
    help="ours, debug, long: run.list, run-debug.list, run-long.list; kernel: its own. Else all but long.",
)
@click.argument("names", nargs=-1)
def test(release: str | None, suites: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Run the kernel selftests, or those of NAMES, on hosts with the patched modules.

    One line a test; ends with 1 and the names of the tests that failed.
    """
    results: list[Result] = []
    found = image.find(release)
    for name in suites or suite.SUITES:
        results += trio.run(partial(suite.run_suite, found, name, names=names, on_result=_show))
    failed = [result.run.name for result in results if result.failed]
    if not results:
        raise LabError(f"there is no test {' '.join(names)}")
    skipped = sum(result.outcome == "skipped" for result in results)
    passed = len(results) - len(failed) - skipped
    click.echo(f"{passed} passed, {len(failed)} failed, {skipped} skipped")
    if failed:
        click.echo(f"failed: {' '.join(failed)}")
        sys.exit(1)


@click.command()
@click.option(
    "--kernel", "release", metavar="RELEASE", help="e.g. 6.12.43+deb12-cloud-amd64; else the newest"
)
@click.argument("names", nargs=-1)
def mutants(release: str | None, names: tuple[str, ...]) -> None:
    """Plant each fault of kernel-patches/mutants/, or those of NAMES: the test named for it must fail.

    Ends with 1 and the names of the faults that no test saw.
    """
    found = image.find(release)
    unseen: list[str] = []
    for mutant in ours.mutants():
        if names and mutant.name not in names:
            continue
        seen, result = trio.run(suite.run_mutant, found, mutant)
        verdict = "seen" if seen else "NOT SEEN"
        click.echo(f"{verdict:10}{mutant.name:30} by {mutant.run}: {result.reason or 'it passed'}")
        if not seen:
            unseen.append(mutant.name)
    if unseen:
        click.echo(f"not seen: {' '.join(unseen)}")
        sys.exit(1)


def _show(result: Result) -> None:
    click.echo(str(result))
    if result.failed:
        click.echo(tail(result.output))
