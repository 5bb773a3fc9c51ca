"""Options that say which modules a host loads."""

from collections.abc import Callable
from typing import TypeVar

import click

from lab.kernel import image, modules
from lab.kernel.series import Variant

F = TypeVar("F", bound=Callable[..., object])


def variant_options(command: F) -> F:
    """`--kernel`, `--debug`, `--mutant`, `--upto`: what `build` takes."""
    options = (
        click.option(
            "--kernel", "release", metavar="RELEASE", help="e.g. 6.12.43+deb12-cloud-amd64; else the newest"
        ),
        click.option("--debug", is_flag=True, help="Compile with -DKVM_MT_DEBUG: delays can be injected."),
        click.option("--mutant", metavar="NAME", help="Apply kernel-patches/mutants/NAME.patch on top."),
        click.option("--upto", type=int, metavar="N", help="Only the first N patches; 0: unpatched."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def build(release: str | None, debug: bool, mutant: str | None, upto: int | None) -> modules.Modules:
    """The modules. Raises LabError, MissingError."""
    return modules.build(image.find(release), Variant(debug=debug, mutant=mutant, upto=upto))
