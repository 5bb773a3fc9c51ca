"""kvm.ko, kvm-amd.ko and kvm-intel.ko of a variant."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.kernel import series, tree
from lab.kernel.image import Image
from lab.kernel.series import Variant

NAMES: Final = ("kvm", "kvm-amd", "kvm-intel")


@dataclass(frozen=True)
class Modules:
    """What was built, and for which image."""

    image: Image
    folder: Path
    """Holds the files NAMES with the suffix .ko. In the cache: copy what shall stay."""


def build(image: Image, variant: Variant | None = None) -> Modules:
    """Builds the modules of a variant, or finds them in the cache when the very same were built before.

    Raises LabError (a patch that does not apply, a compiler's message), MissingError (a package).
    """
    variant = variant or Variant()
    patches = series.patches_of(variant)
    contents = [patch.read_bytes() for patch in patches]
    source = tree.pristine(image)
    key = cache.key_of(source.parent.name, variant.flags, _compiler(), *contents)
    target = source.parent / "modules" / key

    def make(part: Path) -> None:
        print(f"lab: building {variant.name} for {image.release}: {len(patches)} patches", flush=True)
        with cache.locked(tree.tree_lock(image, variant.name)):
            work = tree.patched(image, variant.name, patches)
            tree.make(work, image, "M=arch/x86/kvm", f"KCFLAGS={variant.flags}", "modules")
            for name in NAMES:
                built = work / "arch/x86/kvm" / f"{name}.ko"
                run(["strip", "--strip-debug", "-o", part / f"{name}.ko", built], what=f"stripping {name}.ko")
            shutil.copyfile(work / "arch/x86/kvm/Module.symvers", part / "Module.symvers")

    return Modules(image, cache.made_once(target, make))


def _compiler() -> str:
    done = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else ""
