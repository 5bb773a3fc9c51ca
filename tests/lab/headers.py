"""Debian's kernel headers, laid out in a folder: installing them would install a kernel."""

import os
from pathlib import Path

from lab.commands import run
from lab.debian import packages
from lab.errors import MissingError
from lab.kernel.image import Image


def lay_out(image: Image, root: Path) -> Path:
    """Unpacks the headers of `image` below `root` and returns the folder to build modules against.

    Raises MissingError when a package cannot be had.
    """
    base = image.release.removesuffix("-amd64").removesuffix("-cloud")
    for name in (f"linux-headers-{image.release}", f"linux-headers-{base}-common", f"linux-kbuild-{base}"):
        if not packages.offers(name, image.version):
            raise MissingError(f"the Debian package {name} {image.version} is not offered by apt")
        tree = packages.unpacked(name, image.version)
        run(["cp", "-a", f"{tree}/.", root], what=f"laying out {name}")
    sources = root / "usr/src"
    folder = sources / f"linux-headers-{image.release}"
    for makefile in (
        folder / "Makefile",
        folder / ".kernelvariables",
        sources / f"linux-headers-{base}-common/Makefile",
    ):
        if makefile.exists():
            text = makefile.read_text()
            os.unlink(makefile)
            makefile.write_text(text.replace("/usr/src/", f"{sources}/"))
    return folder
