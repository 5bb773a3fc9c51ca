"""Programs of this machine for a host's root: each with the libraries that it needs."""

import re
import shutil
from pathlib import Path
from typing import Final

from lab.commands import run
from lab.debian import packages
from lab.errors import MissingError

_LIBRARY: Final = re.compile(r"(/\S+) \(0x")


def program(name: str, *, package: str) -> dict[str, Path]:
    """For `Spec.files`: path inside to file here. Raises MissingError where the package cannot be had."""
    packages.require([package], why=f"{name} on a host of the lab")
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        raise MissingError(f"the package {package} is installed, but there is no program {name}")
    listed = run(["ldd", found], what=f"asking which libraries {name} needs")
    return {_inside(path): path.resolve() for path in map(Path, [found, *_LIBRARY.findall(listed)])}


def _inside(path: Path) -> str:
    """/lib and its like are links into /usr, and a folder of that name cannot be copied over a link."""
    return str(path.parent.resolve() / path.name)
