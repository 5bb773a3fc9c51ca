"""`python -m lab demo`: the demonstration, for a machine whose KVM cannot be used."""

import sys
from typing import Final

import click

from lab.cli_variant import build, variant_options
from lab.host.spec import Spec
from lab.root.image import with_python
from lab.run import run_sync

# An emulated host needs time for what another one does at once: fewer checkpoints, more patience.
DEMONSTRATION: Final = """
import sys
from ftd.drill.demo import main
sys.exit(main(seconds=10, rate_hz=50, heartbeat_timeout_ms=10_000, tracker=sys.argv[1], deadline_s=400))
"""
MEMORY_MIB: Final = 3072
DEADLINE_S: Final = 500.0


@click.command()
@variant_options
def demo(release: str | None, debug: bool, mutant: str | None, upto: int | None) -> None:
    """Run `ftctl demo` on a host of the lab: software emulation, so its times say nothing about ftd.

    Its exit codes; or 1 when the host's kernel complained.
    """
    click.echo("lab: a host under software emulation boots, and tells the story there: some minutes")
    spec = with_python(Spec(modules=build(release, debug, mutant, upto), memory_mib=MEMORY_MIB))
    outcome = run_sync(spec, ["python", "-c", DEMONSTRATION, "auto"], timeout_s=DEADLINE_S)
    for line in outcome.trouble:
        click.echo(f"lab: the kernel says: {line}", err=True)
    sys.exit(outcome.command.status or (1 if outcome.trouble else 0))
