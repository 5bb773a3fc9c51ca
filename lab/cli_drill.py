"""`python -m lab drill`: `ftctl drill` on two emulated hosts."""

import sys
from pathlib import Path

import click
import trio

from ftd.drill.catalogue import FAULTS
from ftd.errors import ControlError
from lab.cli_variant import build, variant_options
from lab.errors import LabError, first_of
from lab.kernel.modules import Modules
from lab.pair import drilling
from lab.pair.pair import prepared


@click.command("drill")
@variant_options
@click.option("--fault", type=click.Choice(list(FAULTS)), default="freeze", show_default=True)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Keep the page here.")
def drill_command(
    release: str | None, debug: bool, mutant: str | None, upto: int | None, fault: str, report: Path | None
) -> None:
    """Boot two hosts, protect the ledger, and run `ftctl drill` there.

    Its exit codes. Software emulation, so its times say little about ftd.
    """
    done = trio.run(_drill, build(release, debug, mutant, upto), fault)
    if report is not None and done.page:
        report.write_text(done.page)
    sys.exit(done.status)


async def _drill(modules: Modules, fault: str) -> drilling.Drilled:
    try:
        with prepared(drilling.spec(modules)) as pair:
            await pair.boot()
            return await drilling.drill(pair, fault, lambda data: click.echo(data, nl=False))
    except* (LabError, ControlError) as group:
        error = first_of(group)
    raise error if isinstance(error, LabError) else LabError(str(error))
