"""`python -m lab pair` and `python -m lab shell`."""

import sys
from contextlib import suppress
from pathlib import Path

import click
import trio

from lab.cli_variant import build, variant_options
from lab.errors import LabError, first_of
from lab.pair import shell as terminal
from lab.pair.configuration import Configuration, ledger
from lab.pair.network import HOSTS
from lab.pair.pair import Pair, PairSpec, prepared
from lab.pair.prompt import Prompt


@click.command()
@variant_options
@click.option("--cpus", default=1, show_default=True, help="Of each host.")
@click.option("--memory", "memory_mib", default=1536, show_default=True, metavar="MIB", help="Of each host.")
@click.option("--disk", "disk_mib", default=0, metavar="MIB", help="Keep /var/lib of each from boot to boot.")
@click.option(
    "--vm",
    "vms",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="VM files for both hosts, beside that of the ledger. Repeatable.",
)
@click.option("--file", "files", multiple=True, metavar="HERE:INSIDE", help="Copy into both. Repeatable.")
def pair(
    release: str | None,
    debug: bool,
    mutant: str | None,
    upto: int | None,
    cpus: int,
    memory_mib: int,
    disk_mib: int,
    vms: tuple[Path, ...],
    files: tuple[str, ...],
) -> None:
    """Boot two hosts that run ftd, alpha and beta, and give a prompt to use and to hurt them.

    Commands come from standard input, which may be a pipe; then the exit status is 1 if one of them failed.
    Nothing is left behind.
    """
    placed = {inside: Path(here) for here, _, inside in (text.partition(":") for text in files)}
    if not all(placed):
        raise LabError("--file says where the file is to be inside: HERE:INSIDE")
    spec = PairSpec(
        modules=build(release, debug, mutant, upto),
        configuration=Configuration({"ledger": ledger(), **{path.stem: path.read_text() for path in vms}}),
        cpus=cpus,
        memory_mib=memory_mib,
        state_disk_mib=disk_mib,
        files=placed,
    )
    with suppress(KeyboardInterrupt):
        if trio.run(_serve, spec) and not sys.stdin.isatty():
            sys.exit(1)


@click.command()
@click.option("--pair", "name", metavar="NAME", help="Needed only where several are running.")
@click.argument("host", type=click.Choice(HOSTS))
def shell(name: str | None, host: str) -> None:
    """A terminal on a host of the pair that `python -m lab pair` runs. Ctrl-] leaves it."""
    path = terminal.find(host, name)
    click.echo(f"lab: {terminal.HOW_TO_LEAVE}")
    terminal.talk(path)


async def _serve(spec: PairSpec) -> bool:
    """Whether a command has failed."""
    click.echo("lab: alpha and beta boot")
    began_s = trio.current_time()
    try:
        with prepared(spec) as made:
            await made.boot()
            click.echo(f"lab: {made.folder.name} booted within {trio.current_time() - began_s:.0f} s")
            return await _prompt(made)
    except* LabError as group:
        error = first_of(group)
    raise error


async def _prompt(made: Pair) -> bool:
    prompt = Prompt(made)
    await prompt.run()
    return prompt.failed
