"""Debian packages: which are there or offered; installed as root, or unpacked into the cache by anybody."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import backports
from lab.errors import LabError, MissingError

LOCK_WAIT: Final = "DPkg::Lock::Timeout=300"


def installed(name: str) -> str | None:
    """The version of a package that is installed."""
    shown = _query("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", name)
    status, _, version = shown.partition(" ")
    return version if status == "installed" else None


def offered(name: str) -> str | None:
    """The version that apt would install; adds the suite of backports and looks again if there is none.

    Raises MissingError where the suite cannot be added.
    """
    with cache.locked("apt"):
        found = _candidate(name)
        if found is None and (backports.add() or not _updated_once()):
            update()
            found = _candidate(name)
    return found


def offers(name: str, version: str) -> bool:
    """Whether apt can fetch a package in exactly this version."""
    return bool(_query("apt-cache", "show", f"{name}={version}").strip())


def offered_names(pattern: str) -> list[str]:
    """Names of the packages that match an extended regular expression."""
    shown = _query("apt-cache", "search", "--names-only", pattern)
    return [line.split()[0] for line in shown.splitlines()]


def require(names: Sequence[str], *, why: str) -> None:
    """Installs the packages that are missing. Raises MissingError, with their names, where that cannot be."""
    missing = [name for name in names if installed(name) is None]
    if not missing:
        return
    for name in missing:
        if offered(name) is None:
            raise MissingError(f"{why} needs the Debian package {name}, and apt does not offer it here")
    install(missing, why=why)


def install(names: Sequence[str], *, why: str, suite: str | None = None) -> None:
    """Installs packages, from `suite` if one is named. Raises MissingError, with their names."""
    if os.geteuid() == 0:
        as_root: tuple[str, ...] = ()
    elif shutil.which("sudo"):
        as_root = ("sudo", "--non-interactive")
    else:
        raise MissingError(f"{why} needs Debian packages that only root can install: {' '.join(names)}")
    command = [
        *(*as_root, "env", "DEBIAN_FRONTEND=noninteractive"),
        *("apt-get", "--quiet", "--yes", "--no-install-recommends", "-o", LOCK_WAIT),
        *(("--target-release", suite) if suite else ()),
        *("install", *names),
    ]
    print(f"lab: installing {' '.join(names)}", flush=True)
    with cache.locked("apt"):
        try:
            _again_after_update(lambda: run(command, what="installing packages"))
        except LabError as error:
            raise MissingError(f"{why} needs Debian packages, which apt did not install: {error}") from error


def unpacked(name: str, version: str) -> Path:
    """The contents of a package, in the cache: nothing is installed. Raises MissingError."""

    def make(part: Path) -> None:
        print(f"lab: fetching {name} {version}", flush=True)
        with cache.locked("apt"):
            try:
                command = ["apt-get", "--quiet", "download", f"{name}={version}"]
                _again_after_update(lambda: run(command, what="fetching", cwd=part))
            except LabError as error:
                raise MissingError(f"the Debian package {name} {version} cannot be had: {error}") from error
        (archive,) = part.glob("*.deb")
        run(["dpkg-deb", "--extract", archive, part], what=f"unpacking {archive.name}")
        archive.unlink()

    return cache.made_once(cache.folder() / "packages" / f"{name}_{_filename(version)}", make)


def _filename(version: str) -> str:
    return re.sub(r"[^\w.+~-]", "_", version)


def _query(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MissingError(f"Debian's {error.filename} is needed and is not here") from error
    return done.stdout


def _candidate(name: str) -> str | None:
    found = re.search(r"^  Candidate: (\S+)$", _query("apt-cache", "policy", name), re.MULTILINE)
    return found[1] if found and found[1] != "(none)" else None


def _again_after_update(action: Callable[[], object]) -> None:
    """A list that is older than the archive names files that are gone: so fails once, then looks anew."""
    try:
        action()
    except LabError:
        if _updated_once():
            raise
        update()
        action()


_state = {"updated": False}


def _updated_once() -> bool:
    return _state["updated"]


def update() -> None:
    """Reads the lists of packages anew, where this is allowed."""
    _state["updated"] = True
    if os.geteuid() == 0:
        run(["apt-get", "--quiet", "update"], what="reading the lists of packages")
