"""Debian's Redis and the libraries that it needs: the packages' contents, nothing installed.

To install the package here would start a database on this machine.
"""

import shutil
from pathlib import Path
from typing import Final

from lab.commands import run
from lab.debian import packages
from lab.errors import MissingError

PACKAGES: Final = (
    *("redis-server", "redis-tools"),
    *("libc6", "libgcc-s1", "libstdc++6", "libatomic1", "libjemalloc2", "liblzf1", "libssl3", "libsystemd0"),
    *("libcap2", "libgcrypt20", "libgpg-error0", "liblz4-1", "liblzma5", "libzstd1"),
)
_MERGED: Final = ("bin", "sbin", "lib", "lib64")
_LOADER: Final = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"


def versions() -> dict[str, str]:
    """The packages' versions, as apt offers them. Raises MissingError, with the name of one that it lacks."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        version = packages.offered(name)
        if version is None:
            raise MissingError(
                f"the lab's guest needs the Debian package {name}, and apt does not offer it here"
            )
        found[name] = version
    return found


def lay_out(root: Path, chosen: dict[str, str]) -> None:
    """Puts the packages' files below `root`, whose /bin, /lib and so on are links into /usr, as in Debian.

    Raises MissingError, and LabError when a library is missing that the server needs.
    """
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for name, version in chosen.items():
        for top in sorted(packages.unpacked(name, version).iterdir()):
            into = root / "usr" / top.name if top.name in _MERGED else root / top.name
            shutil.copytree(top, into, symlinks=True, dirs_exist_ok=True, ignore=_not_needed)
    loader: list[str | Path] = [root / _LOADER, "--library-path", root / _LIBRARIES, "--list"]
    run(
        [*loader, root / "usr/bin/redis-server"],
        what="looking for the libraries of redis-server in the guest's root",
    )


def _not_needed(folder: str, names: list[str]) -> list[str]:
    """Documentation, and the tables of character sets, which are most of libc's files."""
    if folder.endswith("/usr/share"):
        return [name for name in names if name in ("doc", "man", "lintian", "bug")]
    return [name for name in names if name == "gconv" or name in ("init.d", "systemd")]
