"""The selftests of kernel-patches/: how they are built, and which lists there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.commands import run
from lab.debian import packages
from lab.errors import LabError
from lab.kernel.series import PATCHES, ROOT
from lab.selftests.run_list import Run

SOURCES: Final = PATCHES / "selftests"
BUILT: Final = ROOT / "build" / "selftests"
RUNS: Final = SOURCES / "run.list"
DEBUG_RUNS: Final = SOURCES / "run-debug.list"
LONG_RUNS: Final = SOURCES / "run-long.list"
MUTANT_RUNS: Final = SOURCES / "run-mutants.list"
MUTANTS: Final = SOURCES / "mutants.list"


@dataclass(frozen=True)
class Mutant:
    """A planted fault: the run that must fail on it, and a part of the reason that it gives."""

    name: str
    run: str
    says: str


def build(runs: Iterable[Run]) -> dict[str, Path]:
    """Builds all selftests and returns where each run's program lies. Raises LabError, MissingError."""
    packages.require(["make", "gcc", "libc6-dev", "linux-libc-dev"], why="building the selftests")
    BUILT.mkdir(parents=True, exist_ok=True)
    run(["make", "-C", SOURCES, f"O={BUILT}"], what="building the selftests")
    programs = {wanted.program: BUILT / wanted.program for wanted in runs}
    for name, path in programs.items():
        if not path.is_file():
            raise LabError(f"{RUNS.parent} names the program {name}, and building it gave no {path}")
    return programs


def mutants() -> list[Mutant]:
    """The planted faults. Raises LabError for a line that does not say how the fault shows."""
    found = []
    for line in MUTANTS.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, _, rest = text.partition(":")
        words = rest.split(maxsplit=1)
        if len(words) != 2:
            raise LabError(f"{MUTANTS}: `{text}` is not `MUTANT: RUN TEXT`")
        found.append(Mutant(name.strip(), *words))
    return found
