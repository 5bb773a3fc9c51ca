"""The guest's own programs, compiled into static ones: they run with and without the disk's root."""

from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import packages

INSIDE: Final = Path(__file__).with_name("inside")
NAMES: Final = ("chain", "clockwatch", "diskwrite", "serve")
_FLAGS: Final = ("-std=gnu11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-Wshadow", "-Wconversion")


def build() -> Path:
    """The folder with the programs. Raises LabError with the compiler's words, MissingError."""
    packages.require(["gcc", "libc6-dev"], why="compiling the programs of the lab's guest")
    compiler = run(["gcc", "--version"], what="asking for the compiler's version")
    sources = {name: INSIDE / f"{name}.c" for name in NAMES}
    key = cache.key_of(compiler, *_FLAGS, *(path.read_bytes() for path in sources.values()))

    def make(part: Path) -> None:
        for name, source in sources.items():
            run(["gcc", *_FLAGS, "-o", part / name, source], what=f"compiling {source.name}")

    return cache.made_once(cache.folder() / "guest" / f"programs-{key}", make)
