"""Which kernel the modules are for: an installed Debian 6.12 one, or one that Debian offers."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import packages
from lab.errors import LabError, MissingError

SUPPORTED: Final = (
    "Supported are Debian's 6.12 kernels for x86-64, such as 6.12.43+deb12-cloud-amd64 or "
    "6.12.43+deb13-amd64 (for Debian 12 they are in bookworm-backports)."
)
_RELEASE: Final = re.compile(r"6\.12\.(\d+)\+deb1[23](?:\.(\d+))?(-cloud)?-amd64")
_PREFIX: Final = "linux-image-"


@dataclass(frozen=True)
class Image:
    """A kernel image: its release, its package's version, and where its files lie."""

    release: str
    version: str
    vmlinuz: Path
    config: Path
    modules: Path
    """The folder that holds modules.dep."""
    symvers: Path
    """Module.symvers of its headers package."""


def find(release: str | None = None) -> Image:
    """The image of `release`; or the newest that is installed; or else the newest that Debian offers.

    One that is not installed is unpacked into the cache. Raises LabError for a release that is not supported,
    MissingError where its packages cannot be had.
    """
    if release is not None and not _RELEASE.fullmatch(release):
        raise LabError(f"the patches do not fit kernel {release}. {SUPPORTED}")
    if release is None:
        release = _newest(_installed_releases())
    if release is None:
        release = _newest_offered()
    version = packages.installed(_PREFIX + release)
    if version is not None and Path(f"/boot/vmlinuz-{release}").exists():
        root = Path("/")
    else:
        version = packages.offered(_PREFIX + release)
        if version is None:
            raise MissingError(f"{_PREFIX}{release} is neither installed nor offered by apt. {SUPPORTED}")
        root = packages.unpacked(_PREFIX + release, version)
        _list_dependencies(root, release)
    return Image(
        release=release,
        version=version,
        vmlinuz=root / f"boot/vmlinuz-{release}",
        config=root / f"boot/config-{release}",
        modules=_modules(root, release),
        symvers=_symvers(release, version),
    )


def _list_dependencies(root: Path, release: str) -> None:
    """Does what the installation of the package would have done."""
    with cache.locked("depmod"):
        if not (_modules(root, release) / "modules.dep").exists():
            packages.require(["kmod"], why="finding the modules that KVM needs")
            run(["depmod", "--basedir", root, release], what="listing the dependencies of modules")


def _modules(root: Path, release: str) -> Path:
    candidates = [root / "lib/modules" / release, root / "usr/lib/modules" / release]
    return next((path for path in candidates if path.is_dir()), candidates[0])


def _symvers(release: str, version: str) -> Path:
    name = f"linux-headers-{release}"
    root = Path("/") if packages.installed(name) == version else packages.unpacked(name, version)
    return root / "usr/src" / name / "Module.symvers"


def _installed_releases() -> list[str]:
    return [path.name.removeprefix("vmlinuz-") for path in Path("/boot").glob("vmlinuz-6.12.*")]


def _newest_offered() -> str:
    source = packages.offered("linux-source-6.12")
    names = packages.offered_names(r"^linux-image-6\.12\..*-cloud-amd64$")
    found = _newest([name.removeprefix(_PREFIX) for name in names])
    if source is None or found is None:
        raise MissingError(
            f"no Debian 6.12 kernel is installed (this machine runs {platform.release()}), and apt offers no "
            f"linux-image-6.12 with its linux-source-6.12. {SUPPORTED}"
        )
    return found


def _newest(releases: list[str]) -> str | None:
    matches = [match for release in releases if (match := _RELEASE.fullmatch(release))]
    return max(matches, key=lambda match: (int(match[1]), int(match[2] or 0)))[0] if matches else None
