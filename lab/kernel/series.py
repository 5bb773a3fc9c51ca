"""The series of patches, and what is applied of it."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.commands import run
from lab.errors import LabError

ROOT: Final = Path(__file__).resolve().parents[2]
PATCHES: Final = ROOT / "kernel-patches"


@dataclass(frozen=True)
class Variant:
    """What is built: the series or its first patches, a planted fault on top, a debug build."""

    debug: bool = False
    """Compiled with -DKVM_MT_DEBUG: delays can be injected at the hooks."""
    mutant: str | None = None
    """The name of a patch in kernel-patches/mutants/ that is applied last."""
    upto: int | None = None
    """Only the first that many patches; None: all of them."""

    @property
    def name(self) -> str:
        """Names the variant's work tree: builds of one variant are incremental."""
        parts = (
            "debug" if self.debug else "plain",
            f"mutant-{self.mutant}" if self.mutant else "",
            f"upto-{self.upto}" if self.upto is not None else "",
        )
        return "-".join(part for part in parts if part)

    @property
    def flags(self) -> str:
        """Compiler flags beyond the kernel's own."""
        return "-DKVM_MT_DEBUG" if self.debug else ""


def patches_of(variant: Variant, folder: Path = PATCHES) -> list[Path]:
    """The patches of a variant, in order. Without a series there are none: the modules are Debian's.

    Raises LabError for a name in the series, or of a mutant, to which there is no file.
    """
    listed = folder / "series"
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if variant.upto is not None:
        if not 0 <= variant.upto <= len(names):
            raise LabError(f"{listed} has {len(names)} patches, so there are no first {variant.upto}")
        names = names[: variant.upto]
    paths = [folder / name for name in names]
    if variant.mutant is not None:
        paths.append(folder / "mutants" / f"{variant.mutant}.patch")
    for path in paths:
        if not path.is_file():
            raise LabError(f"there is no patch {path}")
    return paths


def touched_by(patches: Sequence[Path]) -> set[str]:
    """The files, relative to the tree, that the patches change, make or remove."""
    found: set[str] = set()
    for patch in patches:
        for name in re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", patch.read_text(), re.MULTILINE):
            found.add(name)
    return found


def apply(patches: Sequence[Path], pristine: Path, into: Path) -> None:
    """Lays the patched versions of the touched files, and only those, into an empty folder.

    Raises LabError naming the patch that does not apply.
    """
    for name in touched_by(patches):
        if (pristine / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pristine / name, into / name)
    for patch in patches:
        # Without fuzz: a patch that only nearly fits was made for another source.
        command: list[str | Path] = [
            "patch",
            "--strip=1",
            "--fuzz=0",
            "--no-backup-if-mismatch",
            "--force",
            "--input",
            patch,
        ]
        run(command, what=f"applying {patch.name}", cwd=into)
