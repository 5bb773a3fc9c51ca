"""`python -m lab`: builds the kernel's modules, runs commands on a host that has them."""

import shutil
import sys
from pathlib import Path
from typing import Final

import click

from lab.cli_demo import demo
from lab.cli_drill import drill_command
from lab.cli_guest import guest
from lab.cli_pair import pair, shell
from lab.cli_tests import mutants, test
from lab.cli_variant import build, variant_options
from lab.errors import LabError, MissingError
from lab.host.spec import Spec
from lab.kernel import modules
from lab.root.image import with_python
from lab.run import Taken, run_sync

EXIT_LAB: Final = 125
"""The lab itself failed: no image, a patch that does not apply, a host that died."""
EXIT_MISSING: Final = 77
"""Something is missing on this machine, and could not be had."""


def main() -> None:
    """The entry point. Errors of the lab are a sentence, not a traceback."""
    try:
        cli()
    except MissingError as error:
        click.echo(f"lab: {error}", err=True)
        sys.exit(EXIT_MISSING)
    except LabError as error:
        click.echo(f"lab: {error}", err=True)
        sys.exit(EXIT_LAB)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Hosts under software emulation that run a patched KVM.

    Exit codes beyond those of the commands: 77 a package is missing and cannot be had, 125 the lab itself
    failed.
    """


@cli.command()
@variant_options
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Copy the modules there.")
def kernel(release: str | None, debug: bool, mutant: str | None, upto: int | None, to: Path | None) -> None:
    """Build kvm.ko, kvm-amd.ko and kvm-intel.ko from kernel-patches/.

    The kernel is the one given, or the newest Debian 6.12 kernel installed, or the newest that Debian offers.
    Prints the folder with the modules; a second call with nothing changed is immediate.
    """
    built = build(release, debug, mutant, upto)
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for name in modules.NAMES:
            shutil.copyfile(built.folder / f"{name}.ko", to / f"{name}.ko")
    click.echo(f"{built.image.release}: {to or built.folder}")


@cli.command(context_settings={"ignore_unknown_options": True})
@variant_options
@click.option("--cpus", default=2, show_default=True)
@click.option("--memory", "memory_mib", default=1024, show_default=True, metavar="MIB")
@click.option("--param", "parameters", multiple=True, metavar="MODULE.NAME=VALUE", help="Repeatable.")
@click.option(
    "--threads",
    type=click.Choice(["single", "multi"]),
    default="single",
    show_default=True,
    help="multi is faster, and guests inside die at random.",
)
@click.option(
    "--root",
    type=click.Choice(["none", "python"]),
    default="none",
    show_default=True,
    help="python: with Python, gcc, and this project as it is now.",
)
@click.option("--file", "files", multiple=True, metavar="HERE[:INSIDE]", help="Copy in; else to /NAME.")
@click.option("--take", "taken", multiple=True, metavar="INSIDE", help="Copy out at the end.")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Folder for --take.")
@click.option("--timeout", "timeout_s", default=60, show_default=True, metavar="SECONDS")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Keep the kernel's log.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    release: str | None,
    debug: bool,
    mutant: str | None,
    upto: int | None,
    cpus: int,
    memory_mib: int,
    parameters: tuple[str, ...],
    threads: str,
    root: str,
    files: tuple[str, ...],
    taken: tuple[str, ...],
    into: Path,
    timeout_s: int,
    log: Path | None,
    command: tuple[str, ...],
) -> None:
    """Boot a host with the modules, run COMMAND there, and exit with its status.

    A COMMAND of one word is a shell's text. Its output is streamed. Status 137: it was ended at the timeout.
    A run whose kernel log has a warning, a bug or a death in it fails (status 1) even if the command did not.

    Example: python -m lab run --cpus 2 --param kvm.tdp_mmu=N --file build/mt_basic -- /mt_basic --verbose
    """
    spec = Spec(
        modules=build(release, debug, mutant, upto),
        cpus=cpus,
        memory_mib=memory_mib,
        parameters=parameters,
        threads=threads,
        files=dict(_placed(text) for text in files),
    )
    if root == "python":
        spec = with_python(spec)
    words = command[0] if len(command) == 1 else command
    outcome = run_sync(spec, words, timeout_s=timeout_s, taken=Taken(taken, into))
    if log is not None:
        log.write_text(outcome.kernel_log)
    for line in outcome.trouble:
        click.echo(f"lab: the kernel says: {line}", err=True)
    sys.exit(outcome.command.status or (1 if outcome.trouble else 0))


def _placed(text: str) -> tuple[str, Path]:
    here, _, inside = text.partition(":")
    return inside or f"/{Path(here).name}", Path(here)


cli.add_command(demo)
cli.add_command(drill_command)
cli.add_command(pair)
cli.add_command(shell)
cli.add_command(test)
cli.add_command(mutants)
cli.add_command(guest)
