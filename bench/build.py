"""Compiles what the bench runs beside the product."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ftd.vm.microvm.guests.build import build as build_guests
from ftd.vm.microvm.guests.build import image_path

SOURCE_DIR = Path(__file__).resolve().parent
CFLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")


@dataclass(frozen=True)
class Programs:
    """Paths of the built programs and the toucher's image."""

    floor: Path
    tcpcopy: Path
    toucher: Path


def build(out_dir: Path) -> Programs:
    """Compiles into `out_dir`. Raises CalledProcessError, after the compiler has said why."""
    build_guests(out_dir)
    programs = Programs(out_dir / "floor", out_dir / "tcpcopy", image_path("toucher", out_dir))
    _compile(programs.floor, sorted((SOURCE_DIR / "floor").glob("*.c")))
    _compile(programs.tcpcopy, [SOURCE_DIR / "tcpcopy.c"])
    return programs


def _compile(program: Path, sources: list[Path]) -> None:
    subprocess.run(["gcc", *CFLAGS, "-o", str(program), *map(str, sources)], check=True)
