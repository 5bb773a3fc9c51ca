"""Source trees: a pristine one, prepared once, and one for each variant, kept for incremental builds."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import packages
from lab.errors import LabError
from lab.kernel import series
from lab.kernel.image import Image

SOURCE: Final = "linux-source-6.12"
TOOLS: Final = (
    *("make", "gcc", "binutils", "libc6-dev", "bc", "bison", "flex", "patch", "xz-utils", "kmod", "python3"),
    *("libelf-dev", "libssl-dev", "zlib1g-dev", "dwarves"),
)
"""dwarves: without pahole the configuration loses CONFIG_DEBUG_INFO_BTF, with it fields of struct module."""
# Only their Kconfig files are needed, and they are most of the source.
_LEFT_OUT: Final = [
    *(f"{SOURCE}/{folder}/*.[chSs]" for folder in ("drivers", "sound", "fs", "net")),
    *(f"{SOURCE}/drivers/{rest}" for rest in ("*.dts*", "*.asn1", "*.fw*")),
    *(f"{SOURCE}/Documentation/{folder}" for folder in ("devicetree", "translations", "ABI", "admin-guide")),
]
_TOUCHED: Final = ".ftd-touched"


def make(tree: Path, image: Image, *words: str | Path) -> None:
    """Runs make in a tree, for the release of `image`. Raises LabError with the end of what make said."""
    jobs = min(os.cpu_count() or 1, 2)
    command = ["make", f"-j{jobs}", f"KERNELRELEASE={image.release}", *words]
    run(command, what=f"building for {image.release}", cwd=tree)


def pristine(image: Image) -> Path:
    """The unpatched source of exactly the image's version, configured as it is, ready to build modules.

    Raises MissingError when the source of that version, or a tool, cannot be had.
    """

    def prepare(part: Path) -> None:
        packages.require(TOOLS, why="building the kernel's modules")
        source = archive(image)
        print(f"lab: preparing the source of {image.release}", flush=True)
        excludes = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        decompress = "--use-compress-program=xz --threads=0"
        unpack = ["tar", "--extract", decompress, "--strip-components=1", *excludes]
        run([*unpack, "--file", source, "--directory", part], what=f"unpacking {source.name}")
        shutil.copyfile(image.config, part / ".config")
        make(part, image, "olddefconfig")
        _check_configuration(part / ".config", image)
        make(part, image, "modules_prepare")
        shutil.copyfile(image.symvers, part / "Module.symvers")

    key = f"{image.release}_{cache.key_of(image.version, *_LEFT_OUT)}"
    return cache.made_once(cache.folder() / "kernel" / key / "pristine", prepare)


def patched(image: Image, name: str, patches: Sequence[Path]) -> Path:
    """The work tree called `name`, brought to `patches`: files keep their time if their content stays.

    To be called, and the tree to be built, under the tree's lock (`tree_lock`).
    """
    source = pristine(image)
    tree = source.parent / name
    if not tree.exists():
        part = tree.with_name(name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        # Links, not copies: nothing in a tree is ever written in place, and what is built is new.
        run(["cp", "--archive", "--link", source, part], what="laying out a work tree")
        part.rename(tree)
    kept = tree / _TOUCHED
    before = set(kept.read_text().split()) if kept.exists() else set()
    now = series.touched_by(patches)
    kept.unlink(missing_ok=True)
    kept.write_text("\n".join(sorted(before | now)))
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        series.apply(patches, source, Path(scratch))
        for touched in before | now:
            wanted = Path(scratch) / touched if touched in now else source / touched
            _bring(tree / touched, wanted)
    return tree


def tree_lock(image: Image, name: str) -> str:
    """The name of the lock under which a work tree is changed and built."""
    return f"tree-{image.release}-{name}"


def _bring(path: Path, wanted: Path) -> None:
    content = wanted.read_bytes() if wanted.exists() else None
    if content == (path.read_bytes() if path.exists() else None):
        return
    path.unlink(missing_ok=True)  # it may be a link into the pristine tree
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def archive(image: Image) -> Path:
    """The source's archive, of one version with the image: another's modules would not fit."""
    there = packages.installed(SOURCE)
    if there == image.version:
        root = Path("/")
    else:
        offered = packages.offered(SOURCE)
        if not packages.offers(SOURCE, image.version):
            raise LabError(
                f"kernel {image.release} is of version {image.version}; {SOURCE} is installed in version "
                f"{there}, and apt offers {offered}: modules must be built from the source of their own "
                "kernel, so install both of one version"
            )
        root = packages.unpacked(SOURCE, image.version)
    return root / "usr/src" / f"{SOURCE}.tar.xz"


def _check_configuration(config: Path, image: Image) -> None:
    """The build's configuration must not have lost what changes the layout of structures."""
    option = "CONFIG_DEBUG_INFO_BTF=y"
    if option in image.config.read_text() and option not in config.read_text():
        raise LabError(f"the configuration of {image.release} lost {option}: is there pahole (dwarves)?")
