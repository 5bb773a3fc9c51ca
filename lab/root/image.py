"""The root as an ext4 image in the cache. The project's own files are copied in at each boot."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import packages
from lab.host.spec import Spec
from lab.kernel.series import ROOT
from lab.root import contents

SPARE_MIB: Final = 64
# What changes while one works, and what the project's tests read. Everything else of the tree stays here.
_COPIED: Final = (
    "ftd",
    "tests",
    "bench",
    "config",
    "lab",
    "tools",
    "kernel-patches/include",
    "pyproject.toml",
)


def build() -> Path:
    """The image; made when a package or the venv has changed. Raises LabError, MissingError."""
    packages.require(["e2fsprogs", "tar"], why="a root with Python for a host of the lab")
    chosen = contents.closure()
    venv = Path(sys.prefix)
    system = contents.files([name for name, _ in chosen])
    key = cache.key_of(*(f"{name} {version}" for name, version in chosen), *system, str(venv), *_state(venv))

    def make(part: Path) -> None:
        print("lab: making a root with Python", flush=True)
        staging = part / "root"
        staging.mkdir()
        listed = part / "files"
        paths = [*system, *map(str, _tree(venv))]
        listed.write_bytes(b"\0".join(path.lstrip("/").encode() or b"." for path in paths))
        archive = part / "files.tar"
        take: list[str | Path] = [
            "tar",
            "--create",
            "--file",
            archive,
            "--directory",
            "/",
            "--no-recursion",
            "--null",
        ]
        run([*take, "--files-from", listed], what="collecting the root's files")
        run(["tar", "--extract", "--file", archive, "--directory", staging], what="laying out the root")
        for folder in ("dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "var/lib"):
            (staging / folder).mkdir(parents=True, exist_ok=True)
        size_mib = archive.stat().st_size // 2**20 * 5 // 4 + SPARE_MIB
        options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "no_copy_xattrs"]
        made = part / "root.ext4"
        run(["mke2fs", *options, "-d", staging, made, f"{size_mib}M"], what="making the root's image")
        run(["rm", "-rf", staging, archive, listed], what="clearing away")

    return cache.made_once(cache.folder() / "roots" / key, make) / "root.ext4"


def with_python(spec: Spec, copied: Sequence[str] = _COPIED) -> Spec:
    """The host with this root, started in the project's folder, with the project's programs to be found.

    `copied`: which files and folders of the project are there.
    """
    files = {**project(copied), **spec.files}
    search = (f"{sys.prefix}/bin", *spec.search)
    return replace(spec, root=build(), files=files, search=search, folder=str(ROOT))


def project(copied: Sequence[str] = _COPIED) -> dict[str, Path]:
    """The project's files as they are now, for `Spec.files`: inside they have the same paths as here."""
    found: dict[str, Path] = {}
    for name in copied:
        start = ROOT / name
        for path in [start] if start.is_file() else _tree(start):
            if path.is_file():
                found[str(path)] = path
    return found


def _tree(folder: Path) -> Iterator[Path]:
    yield folder
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _tree(path)
        else:
            yield path


def _state(folder: Path) -> Iterator[str]:
    """Changes with each file that is added, removed or written."""
    for path in _tree(folder):
        if path.parent.name == "__pycache__":  # made by the interpreter whenever it runs
            continue
        stat = path.lstat()
        yield f"{path} {stat.st_size} {stat.st_mtime_ns}" if not path.is_dir() else f"{path}/"
