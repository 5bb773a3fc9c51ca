"""Debian's etcd: installed, or the package's contents in the cache. To install it would start a service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.debian import packages
from lab.errors import MissingError

PACKAGE: Final = "etcd-server"


def find() -> Path:
    """The program. Raises MissingError, with the package's name, where it cannot be had."""
    installed = Path("/usr/bin/etcd")
    if installed.exists():
        return installed
    version = packages.offered(PACKAGE)
    if version is None:
        raise MissingError(
            f"etcd is needed, from the Debian package {PACKAGE}, and apt does not offer it here"
        )
    return packages.unpacked(PACKAGE, version) / "usr/bin/etcd"
